# Everything that is done with this repository. `make run` and `make test` need Go and make alone;
# what else is needed is installed below .build, at the versions pinned here.

CFN_LINT       := 1.51.0
DYNAMODB_LOCAL := 2.6.1

PYTHON ?= python3
VENV   := .build/venv
FLAGS  ?=
FUZZTIME ?= 5m

.DEFAULT_GOAL := help
.PHONY: help run test check lint template build fuzz receivers scale bench e2e clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the local stack and show a webhook delivered (FLAGS="-time-scale 60 …")
	@echo "Compiling the local stack …"
	@go build -o .build/local ./infra/local
	@exec .build/local $(FLAGS)

test: ## run all tests, with the race detector: unit, adapters, end to end
	go test -race ./...

check: lint template test ## what CI runs: lint, template, test

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@unformatted=$$(gofmt -l functions shared infra); test -z "$$unformatted" || { echo "not formatted with gofmt: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff

template: $(VENV)/cfn-lint-$(CFN_LINT) ## cfn-lint
	$(VENV)/bin/cfn-lint template.yaml

build: ## build the functions as they are deployed, into .build/functions
	@mkdir -p .build/functions
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -tags lambda.norpc -trimpath -ldflags "-s -w -buildid=" -o .build/functions ./functions/...

fuzz: ## run every fuzz target for FUZZTIME (default 5m)
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' shared infra); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$file); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
		done; \
	done

receivers: ## run the example receivers in Go, Node.js and Python against real requests
	PYTHON=$(PYTHON) go test -count=1 ./infra/receivers -prepare

scale: ## measure what API calls read from large tables (needs Maven and a JDK of version 17 or newer)
	go run ./infra/bench/scale -dynamodb-local $(DYNAMODB_LOCAL)

bench: ## benchmarks of the hot paths and of the local stack, and what a million deliveries cost
	go test -run '^$$' -bench . ./infra/bench
	go run ./infra/bench/cost

e2e: ## run the end-to-end suite, against a deployed stack with FLAGS="-stack NAME -receiver URL"
	go test -count=1 ./infra/e2e $(FLAGS)

clean: ## remove what the other targets have made
	rm -rf .build .aws-sam

$(VENV)/cfn-lint-$(CFN_LINT):
	$(call install,cfn-lint==$(CFN_LINT))

define install
	@command -v $(PYTHON) >/dev/null || { echo "this target needs Python 3 (set PYTHON)"; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $(1)
	@touch $@
endef
