// Package clients lets other people's tools read the contract: linters, and generators, whose clients then use the API
// of the local stack. Libraries that know JSON:API and nothing of the contract use it too.
//
// The programs are in go, node and python. Whatever they send and get is held against the contract, and every resource
// that they get has one attribute more than the contract names, as those of a later release may have.
package clients

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/contract"
	"github.com/docuhook/docuhook/infra/local/localtest"
)

var (
	tools   = flag.String("tools", "", "the `folder` of the Python environment with what infra/tools/clients.txt lists")
	modules = flag.String("modules", "", "the `folder` with the node_modules that node/package-lock.json lists")
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// step is a command that must succeed.
type step struct {
	name    string
	folder  string // of its language
	command []string
	tells   string // what it prints; "" for whatever it likes
}

// installed returns the path of a program that pip has installed.
func installed(name string) string { return filepath.Join(*tools, "bin", name) }

// module returns the path of a program that npm has installed.
func module(name string) string { return filepath.Join(*modules, "node_modules", ".bin", name) }

// preparations returns the steps that read the contract, which is in each folder, and those that compile what they made.
func preparations() []step {
	generator := func(language, folder string, options ...string) []string {
		command := []string{installed("openapi-generator-cli"), "generate", "-i", "openapi.yaml", "-g", language, "-o", folder}
		return append(command, options...)
	}
	return []step{
		{name: "redocly", folder: "node", command: []string{module("redocly"), "lint", "--extends=recommended", "openapi.yaml"}},
		{name: "spectral", folder: "node", command: []string{
			module("spectral"), "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint", "openapi.yaml",
		}},
		{name: "openapi-python-client generates", folder: "python", command: []string{
			installed("openapi-python-client"), "generate", "--path", "openapi.yaml", "--meta", "none",
			"--output-path", "docuhook_client", "--fail-on-warning",
		}},
		{name: "openapi-generator generates Python", folder: "python", command: generator("python", ".")},
		// By default its Go client refuses attributes that it does not know, and so a later release.
		{name: "openapi-generator generates Go", folder: "go", command: generator("go", "generated/generator", "--additional-properties",
			"packageName=generator,withGoMod=false,enumClassPrefix=true,disallowAdditionalPropertiesIfNotPresent=false")},
		{name: "openapi-generator generates TypeScript", folder: "node", command: generator("typescript-fetch", "generated/client",
			"--additional-properties", "importFileExtension=.js")},
		{name: "oapi-codegen generates", folder: "go", command: []string{
			"go", "tool", "oapi-codegen", "-config", "oapi.yaml", "-o", "generated/oapi/client.go", "openapi.yaml",
		}},
		{name: "openapi-typescript generates", folder: "node", command: []string{
			module("openapi-typescript"), "openapi.yaml", "-o", "generated/contract.ts",
		}},
		{name: "Go compiles", folder: "go", command: []string{"go", "vet", "./oapi", "./generator", "./jsonapi"}},
		{name: "TypeScript compiles", folder: "node", command: []string{module("tsc")}},
	}
}

// What programs tell that they have done.
const (
	withClient = "created\nlisted 3 on 2 pages\nchanged\nrotated\nrefused not_found\n" +
		"3 deliveries on 2 pages\ndelivered processed\ndeleted\n"
	withLibrary = "created\nread\nchanged\nlisted 3 on 2 pages\n"
)

// programs returns those that use the API.
func programs() []step {
	python := func(file string) []string { return []string{installed("python"), "-B", file} }
	return []step{
		{name: "openapi-python-client", folder: "python", command: python("openapi_python_client.py"), tells: withClient},
		{name: "openapi-generator's Python", folder: "python", command: python("openapi_generator.py"), tells: withClient},
		{name: "openapi-generator's Go", folder: "go", command: []string{"go", "run", "./generator"}, tells: withClient},
		{name: "openapi-generator's TypeScript", folder: "node", command: []string{"node", "out/openapi-generator.js"}, tells: withClient},
		{name: "oapi-codegen", folder: "go", command: []string{"go", "run", "./oapi"}, tells: withClient},
		{name: "openapi-typescript", folder: "node", command: []string{"node", "out/openapi-typescript.js"}, tells: withClient},
		{name: "jsonapi-client", folder: "python", command: python("jsonapi_client_library.py"), tells: withLibrary},
		{name: "hashicorp/jsonapi", folder: "go", command: []string{"go", "run", "./jsonapi"}, tells: withLibrary},
		{name: "kitsu", folder: "node", command: []string{"node", "out/kitsu.js"}, tells: withLibrary},
		{name: "jsona", folder: "node", command: []string{"node", "out/jsona.js"}, tells: withLibrary},
		{name: "devour-client", folder: "node", command: []string{"node", "out/devour.js"}, tells: withLibrary},
	}
}

func TestClients(t *testing.T) {
	if *tools == "" || *modules == "" {
		t.Skip("make clients runs this: it needs what it installs")
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Fatal("openapi-generator needs a Java runtime: ", err)
	}
	work := workplace(t)
	for _, one := range preparations() {
		if !t.Run(one.name, func(t *testing.T) { one.run(t, work, nil) }) {
			t.Fatal("what comes next needs it")
		}
	}
	var arguments []string
	for i := range programs() {
		arguments = append(arguments, "-organization", fmt.Sprintf("%s=%s", organization(i), key(i)))
	}
	api := localtest.Start(t, append(arguments, "-demo=false")...)
	endpoint := newEndpoint(t)
	for i, one := range programs() {
		t.Run(one.name, func(t *testing.T) {
			watched := watch(t, api)
			one.run(t, work, []string{
				"API=" + watched, "API_KEY=" + key(i), "ENDPOINT=" + endpoint, "SENT_TO=" + delivered(t, watched, key(i), endpoint),
			})
		})
	}
}

func organization(i int) string { return "org_" + strconv.Itoa(i) }

func key(i int) string { return "dk_test_" + strconv.Itoa(i) }

// workplace copies the programs, with the contract beside those of each language, to where the generators may write.
func workplace(t *testing.T) string {
	t.Helper()
	specification, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	for folder, generated := range map[string]string{"go": "generated/oapi", "node": "generated", "python": "."} {
		if err := os.CopyFS(filepath.Join(work, folder), os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(work, folder, generated), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, folder, "openapi.yaml"), specification, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(*modules, "node_modules"), filepath.Join(work, "node", "node_modules")); err != nil {
		t.Fatal(err)
	}
	return work
}

// run runs a step and compares what it tells.
func (s step) run(t *testing.T, work string, environment []string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.command[0], s.command[1:]...)
	command.Dir = filepath.Join(work, s.folder)
	command.Env = append(os.Environ(), append(environment,
		"PATH="+filepath.Join(*tools, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")...)
	var told, said bytes.Buffer
	command.Stdout, command.Stderr = &told, &said
	if err := command.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%.4000s", command, err, &told, &said)
	}
	// Redocly's linter succeeds in spite of warnings.
	if warnings := regexp.MustCompile(`You have \d+ (?:warning|error)s?`).Find(said.Bytes()); warnings != nil {
		t.Errorf("%s\n%s\n%s", warnings, &told, &said)
	}
	if diff := cmp.Diff(s.tells, told.String()); s.tells != "" && diff != "" {
		t.Errorf("what it tells (-want +got):\n%s", diff)
	}
}

// newEndpoint returns the URL of an endpoint that accepts everything.
func newEndpoint(t *testing.T) string {
	t.Helper()
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	t.Cleanup(endpoint.Close)
	return endpoint.URL
}

// later is the attribute that resources of a later release have.
const later = "of_a_later_release"

// watch returns the URL of a proxy before an API. It checks all exchanges against the contract, and makes the API that
// of a later release, whose resources have another attribute, which may be sent back as it was read.
func watch(t *testing.T, api string) string {
	t.Helper()
	target, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err == nil {
			sent, err = edit(sent, func(attributes map[string]any) { delete(attributes, later) })
		}
		if err != nil {
			t.Error(err)
		}
		(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
				r.Out.Header.Set("Accept-Encoding", "identity")
			},
			ModifyResponse: func(r *http.Response) error {
				answer, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				contract.Check(t, r.Request, sent, r, answer)
				answer, err = edit(answer, func(attributes map[string]any) { attributes[later] = map[string]any{"known": false} })
				if err != nil {
					return err
				}
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
				r.Header.Set("Content-Length", strconv.Itoa(len(answer)))
				return nil
			},
		}).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// edit changes the attributes of the resources of a document.
func edit(text []byte, change func(attributes map[string]any)) ([]byte, error) {
	var document map[string]any
	if len(text) == 0 {
		return text, nil
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	resources, ok := document["data"].([]any)
	if !ok {
		resources = []any{document["data"]}
	}
	for _, one := range resources {
		resource, _ := one.(map[string]any)
		if attributes, ok := resource["attributes"].(map[string]any); ok {
			change(attributes)
		}
	}
	return json.Marshal(document)
}

// delivered makes a config and returns its id once three test events have been delivered to it.
func delivered(t *testing.T, api, key, endpoint string) string {
	t.Helper()
	type resource struct{ ID string }
	var config struct{ Data resource }
	call(t, "POST", api+"/v1/webhooks/configs", key, `{"data":{"type":"webhook_config","attributes":{"url":"`+endpoint+
		`","subscribed_statuses":["processed"]}}}`, &config)
	for range 3 {
		call(t, "POST", api+"/v1/webhooks/configs/"+config.Data.ID+"/test", key, "", nil)
	}
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	timeout := time.After(patience)
	for {
		var page struct{ Data []resource }
		call(t, "GET", api+"/v1/webhooks/deliveries?filter[status]=delivered&filter[webhook_config_id]="+config.Data.ID, key, "", &page)
		if len(page.Data) == 3 {
			return config.Data.ID
		}
		select {
		case <-ticks.C:
		case <-timeout:
			t.Fatalf("%d deliveries after %s, want 3", len(page.Data), patience)
		}
	}
}

// call makes a request that must succeed, and decodes its answer.
func call(t *testing.T, method, target, key, body string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", key)
	if body != "" {
		request.Header.Set("Content-Type", "application/vnd.api+json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, target, response.Status, err, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
}
