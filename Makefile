# Everything that is done with this repository. `make run` and `make test` need Go and make alone;
# what else is needed is installed below .build, as infra/tools and the variables here pin it.
DYNOXIDE := 3.2.0

PYTHON   ?= python3
FUZZTIME ?= 5m
ENV      ?= sandbox
F        ?= deliver
ARCHITECTURE ?= $(or $(patsubst Architecture=%,%,$(filter Architecture=%,$(FLAGS))),arm64)
SAM      := .build/aws-sam-cli/bin/sam
# The release, by Git's tag of it, and between two releases also by the commit; dev where there is no tag.
VERSION  ?= $(or $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null)),dev)
LDFLAGS   = -X github.com/docuhook/docuhook/shared/endpoint.Version=$(VERSION)
export SAM_CLI_TELEMETRY := 0
ifdef AWS_REGION # which SAM does not ask
export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

.DEFAULT_GOAL := help
.PHONY: help run test race check lint template build reproducible deploy invoke start-api samples e2e receivers servers browser conformance contract clients fuzz soak model mutants bench cost scale clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
run: ## start the local stack and show a webhook delivered (FLAGS=-help lists what can be set)
	@command -v go >/dev/null && ! go version | grep -Eq 'go1\.(1?[0-9]|20)[. ]' || { echo "make run needs Go 1.26 or newer"; exit 1; }
	@echo "Compiling the local stack; the first time takes a minute or two …"
	@(while sleep 10; do echo "… still compiling"; done) & clock=$$!; go build -ldflags '$(LDFLAGS)' -o .build/local ./infra/local; status=$$?; kill $$clock; exit $$status
	@exec .build/local $(FLAGS)
test: ## run all tests: unit, adapters, end to end
	go test ./...
# Apart from test, since the race detector needs a C compiler. What -short leaves out repeats for long what other tests do. The
# other commands of infra do one thing after the other; each binary would sleep for a second before it ends.
race: ## run what is concurrent again with the race detector, end to end included (needs a C compiler)
	@test "$$(go env CGO_ENABLED)" = 1 || { echo "make race needs a C compiler, which the race detector is linked with"; exit 1; }
	GORACE=atexit_sleep_ms=100 go test -race -short -vet=off ./functions/... ./shared/... ./infra/local/... ./infra/bench/... ./infra/e2e ./infra/soak/...
check: lint template test race model ## what CI runs: lint, template, test, race, model, and the short ones of soak
	$(MAKE) soak FLAGS=-short
soak: ## show what faults, floods and bad neighbours do to deliveries (FLAGS='-run TestSlowTenant', FLAGS=-short)
	go test -count=1 -v -timeout 90m ./infra/soak -soak $(FLAGS)
# An err or ok of an inner scope is how Go is written; every other name that hides one which is used afterwards is a mistake waiting.
lint: ## gofmt, go mod tidy, go vet, staticcheck, shadow, deadcode
	@unformatted=$$(gofmt -l functions shared infra); test -z "$$unformatted" || { echo "not formatted with gofmt: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./... && go tool staticcheck ./...
	@shadowed=$$(go tool shadow ./... 2>&1 | grep -Ev 'declaration of "(err|ok)" shadows'); test -z "$$shadowed" || { echo "$$shadowed"; exit 1; }
	@dead=$$(go tool deadcode -test ./... 2>&1); test -z "$$dead" || { echo "$$dead"; exit 1; }
template: $(SAM) .build/checkov/bin/checkov ## cfn-lint, which SAM CLI brings, checkov, sam validate
	$(dir $(SAM))cfn-lint template.yaml
	.build/checkov/bin/checkov --config-file .checkov.yaml
	AWS_DEFAULT_REGION=us-east-1 $(SAM) validate --lint
# Not stripped and trimmed, a function would be twice as large and hold the path of this folder.
build: $(SAM) ## build the functions as they are deployed, into .aws-sam
	umask 022 && CGO_ENABLED=0 GOFLAGS="-tags=lambda.norpc -trimpath -buildvcs=false '-ldflags=-s -w -buildid= $(LDFLAGS)'" $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) $(BUILDFLAGS)
reproducible: build ## show that the same source, in another folder, gives the same packages
	@copy=$$(mktemp -d) && trap 'rm -rf '$$copy EXIT && \
	tar -cf - --exclude=./.git --exclude=./.build --exclude=./.aws-sam . | tar -xf - -C $$copy && \
	$(MAKE) -s -C $$copy build SAM=$(abspath $(SAM)) VERSION=$(VERSION) >/dev/null 2>&1 && \
	$(dir $(SAM))python infra/packages.py .aws-sam/build $$copy/.aws-sam/build
deploy: ## deploy to ENV, sandbox (default) or production: the stacks of samconfig.toml
	@go run ./infra/concurrency -environment '$(ENV)' -- $(FLAGS)
	@$(MAKE) --no-print-directory build
	$(SAM) deploy --config-env $(ENV) $(FLAGS)
invoke: ## run function F with event EVENT beside make run: in SAM's container, without Docker in the local stack itself
	@go run ./infra/invoke -function '$(F)' -event '$(EVENT)' -docker '$(or $(DOCKER),auto)' -stack '$(STACK)' $(LOCAL:%=-local '%') -sam '$(SAM)' -- $(FLAGS)
start-api: ## serve the API from SAM's containers beside make run, on http://127.0.0.1:3001 (needs Docker)
	@go run ./infra/invoke -function start-api -stack '$(STACK)' $(LOCAL:%=-local '%') -sam '$(SAM)' -- $(FLAGS)
samples: $(SAM) ## run every sample event in SAM's containers of ARCHITECTURES, arm64 and x86_64, and compare the answers (needs Docker)
	go test -count=1 -v -timeout 150m -run '^TestSampleEventsInContainers$$' ./infra/invoke -containers '$(or $(ARCHITECTURES),arm64 x86_64)' -sam $(abspath $(SAM)) -sam-flags '$(FLAGS)'
e2e: $(if $(filter emulated,$(STACK)),.build/ministack/bin/ministack $(SAM)) ## run the end-to-end suite on the local stack, on STACK=NAME RECEIVER=URL, or on STACK=emulated (MiniStack)
	go test -count=1 ./infra/e2e $(if $(filter emulated,$(STACK)),-ministack $(abspath $<) -sam $(abspath $(SAM)),$(if $(STACK),-stack $(STACK) -receiver '$(RECEIVER)')) $(FLAGS)
receivers: ## run the example receivers and the libraries of Standard Webhooks (needs Node.js, Python, Rust, Java, Maven)
	PYTHON=$(PYTHON) go test -count=1 ./infra/receivers -prepare
servers: ## show what PHP, Tomcat, Apache with a firewall, Node.js, Python and nginx make of our requests (needs Debian)
	PYTHON=$(PYTHON) go test -count=1 -v ./infra/servers -prepare
browser: .build/axe/node_modules/axe-core/axe.min.js ## click through the local stack's page in headless Chromium (needs chromium, chromedriver and Node.js)
	go test -count=1 ./infra/local/browser -browser -axe $(abspath $<) $(FLAGS)
conformance: .build/moto/bin/moto_server .build/dynalite/node_modules/.bin/dynalite .build/dynoxide-$(DYNOXIDE)/bin/dynoxide ## compare the local services with moto, dynalite and dynoxide (needs Node.js and Rust)
	go test -count=1 ./infra/local/conformance -moto $(abspath $<) -dynalite $(abspath $(word 2,$^)) -dynoxide $(abspath $(word 3,$^)) $(FLAGS)
contract: .build/schemathesis/bin/st ## check the local stack's API against infra/openapi.yaml with made-up requests
	go test -count=1 -v -timeout 30m -run '^TestSchemathesis$$' ./infra/contract -schemathesis $(CURDIR)/$<
clients: .build/clients/bin/openapi-python-client .build/clients-node/node_modules/.bin/redocly ## lint the contract, generate clients from it and use them, and JSON:API libraries (needs Java, Node.js)
	go test -count=1 -v -timeout 30m ./infra/clients -tools $(abspath .build/clients) -modules $(abspath .build/clients-node) $(FLAGS)
fuzz: ## run every fuzz target for FUZZTIME (default 5m)
	@for file in $$(grep -rl --include='*_test.go' '^func Fuzz' shared infra functions); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$file); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s ./$$(dirname $$file) || exit 1; \
		done; done
model: ## explore the rules of a delivery as a model, with faults at every step, and count how often each was taken (FLAGS=-rapid.seed=0 for other ways)
	go test -count=1 -v -run '^TestModel$$' ./infra/soak/model -depth 3 -rapid.checks=8000 -rapid.seed=1 $(FLAGS)
mutants: ## turn one safeguard after the other off and see the model or a test notice it
	go test -count=1 -v -timeout 60m -run '^TestMutants$$' ./infra/soak/model -mutants
bench: ## measure the hot paths and the whole system beside a bare loop, in 12 min (FLAGS='-only latency', FLAGS=-json)
	@go run ./infra/bench/system $(FLAGS)
cost: ## what a million deliveries cost, beside EventBridge and SNS
	go run ./infra/bench/cost $(FLAGS)
scale: ## count what a delivery and API calls read and write, from large tables too
	go run ./infra/bench/scale
clean: ## remove what the other targets have made
	rm -rf .build .aws-sam
.build/%/bin/checkov .build/%/bin/sam .build/%/bin/moto_server .build/%/bin/ministack .build/%/bin/st .build/%/bin/openapi-python-client: infra/tools/%.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "this target needs Python 3.11 or newer (set PYTHON)"; exit 1; }
	$(PYTHON) -m venv --clear .build/$*
	.build/$*/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r $<
	@touch $@
.build/dynalite/node_modules/.bin/dynalite: infra/local/conformance/package-lock.json
.build/clients-node/node_modules/.bin/redocly: infra/clients/node/package-lock.json
.build/axe/node_modules/axe-core/axe.min.js: infra/local/browser/package-lock.json
.build/dynalite/node_modules/.bin/dynalite .build/clients-node/node_modules/.bin/redocly .build/axe/node_modules/axe-core/axe.min.js:
	@command -v npm >/dev/null || { echo "this target needs Node.js with npm"; exit 1; }
	mkdir -p $(firstword $(subst /node_modules/, ,$@)) && cp $(dir $<)package.json $< $(firstword $(subst /node_modules/, ,$@))
	npm ci --prefix $(firstword $(subst /node_modules/, ,$@)) --ignore-scripts --no-audit --no-fund
	@touch $@
.build/dynoxide-%/bin/dynoxide:
	@command -v cargo >/dev/null || { echo "make conformance needs Rust with cargo"; exit 1; }
	cargo install --quiet --locked --root .build/dynoxide-$* --version $* dynoxide-rs
