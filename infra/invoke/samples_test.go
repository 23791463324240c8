package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/localtest"
)

var (
	containers = flag.String("containers", "", "run the sample events in SAM's containers of `architectures`, such as arm64 x86_64")
	samCLI     = flag.String("sam", "", "SAM CLI, a `file`")
	samFlags   = flag.String("sam-flags", "", "what sam local invoke gets beside what it must")
)

// unequal is what differs from one stack and run to the next.
var unequal = []struct {
	of      string // the event; "" for all
	pattern *regexp.Regexp
}{
	{pattern: regexp.MustCompile(`http://(hooks\.example|[0-9.]+:[0-9]+)`)},
	{pattern: regexp.MustCompile(`whtok_[A-Za-z0-9_-]+`)},
	{pattern: regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)},
	{of: "create-config/create", pattern: regexp.MustCompile(`<new id>|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)},
	{of: "resend/test", pattern: regexp.MustCompile(`(dlv|evt)_[A-Za-z0-9_-]+`)},
}

// comparable returns JSON without what differs.
func comparable(t *testing.T, event string, answer []byte) string {
	t.Helper()
	for _, u := range unequal {
		if u.of == "" || u.of == event {
			answer = u.pattern.ReplaceAll(answer, []byte("…"))
		}
	}
	var value any
	if err := json.Unmarshal(answer, &value); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	encoded, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// golden returns what the answer to an event must be.
func golden(t *testing.T, root, event string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, "functions", "testdata", event+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Answer json.RawMessage }
	if err := json.Unmarshal(source, &file); err != nil {
		t.Fatal(err)
	}
	return comparable(t, event, file.Answer)
}

// everySample runs every sample event on a stack with their world, which flags tells how, and compares the answers.
func everySample(t *testing.T, stack string, start func(*exec.Cmd) error, flags ...string) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range (&command{root: root}).functions() {
		events, err := filepath.Glob(filepath.Join(root, "functions", folder, "events", "*.json"))
		if err != nil || len(events) == 0 {
			t.Fatalf("no events of %s: %v", folder, err)
		}
		for _, file := range events {
			event := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(event, func(t *testing.T) {
				var out, log bytes.Buffer
				c := &command{root: root, out: &out, err: &log, now: time.Now, start: start}
				arguments := append([]string{"-local", stack, "-function", folder, "-event", file}, flags...)
				if code := c.run(t.Context(), arguments); code != 0 {
					t.Fatalf("exit code %d:\n%s", code, log.String())
				}
				if diff := cmp.Diff(golden(t, root, event), comparable(t, event, out.Bytes())); diff != "" {
					t.Errorf("%s\n%s", diff, log.String())
				}
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				t.Log(lines[len(lines)-1])
			})
		}
	}
}

func TestSampleEventsOnTheLocalStack(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles all functions")
	}
	everySample(t, localtest.Start(t, "-samples"), nil, "-docker", "no")
}

func TestSampleEventsInContainers(t *testing.T) {
	if *containers == "" {
		t.Skip("needs Docker and -containers")
	}
	stack := localtest.Start(t, "-samples", "-docker")
	for architecture := range strings.FieldsSeq(*containers) {
		t.Run(architecture, func(t *testing.T) {
			built := map[string]bool{}
			start := func(cmd *exec.Cmd) error {
				// A function is built once for all of its events.
				if text := fmt.Sprint(cmd.Args); cmd.Args[0] == "make" {
					if built[text] {
						return nil
					}
					built[text] = true
				}
				return cmd.Run()
			}
			flags := []string{"-docker", "yes", "-architecture", architecture, "-sam", *samCLI, "--"}
			everySample(t, stack, start, append(flags, strings.Fields(*samFlags)...)...)
		})
	}
}
