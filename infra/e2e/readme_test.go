package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/shared/signature"
)

// TestReadmeKeepsItsPromises runs the commands of the README's "The API by example" as they are printed
// there, and compares what they answer with what it shows.
func TestReadmeKeepsItsPromises(t *testing.T) {
	if under.local == nil {
		t.Skip("the examples are those of the local stack")
	}
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## The API by example\n")
	if !found {
		t.Fatal("the README has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")

	c, endpoint, id := newClient(t), newReceiver(t), newDocument()
	variables := []string{"KEY=" + c.key, "API=" + under.api}
	run := func(command string) string {
		t.Helper()
		shell := exec.CommandContext(t.Context(), "sh", "-eu", "-c", command)
		shell.Env = append(os.Environ(), variables...)
		out, err := shell.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	// The values that a reader puts in, and those that are this test's own.
	assignment := regexp.MustCompile(`(?m)^(?:API|DELIVERY)=.*$`)
	own := strings.NewReplacer("http://127.0.0.1:9000/standard-webhooks", endpoint.url, "doc_1", id,
		`-d '{"status"`, `-d '{"organization_id": "`+c.organization+`", "status"`)
	checked, credentials := 0, signature.Credentials{}
	for _, match := range regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:```json\n(.*?)```\n)?").FindAllStringSubmatch(section, -1) {
		command, promise := own.Replace(assignment.ReplaceAllString(match[1], "")), match[2]
		if strings.Contains(command, "go run ") {
			continue // the receivers and the commands have tests of their own
		}
		answer := run(command)
		if promise == "" {
			continue
		}
		checked++
		var want any
		if err := json.Unmarshal([]byte(own.Replace(promise)), &want); err != nil {
			t.Fatalf("%v: %s", err, promise)
		}
		var got document
		if !strings.Contains(command, " -d ") { // what it looks at takes a moment
			answer = eventually(t, func() (string, bool) {
				latest := run(command)
				return latest, holds(want, decoded(t, latest))
			}, func() string { return promise })
		} else if !holds(want, decoded(t, answer)) {
			t.Errorf("%s\nanswers %s\nthe README shows %s", command, answer, promise)
		}
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Data.Type == "webhook_config":
			variables = append(variables, "CONFIG="+got.Data.ID)
			credentials = credentialsOf(got)
		case got.Data.many[0].Type == "webhook_delivery":
			variables = append(variables, "DELIVERY="+got.Data.many[0].ID)
		}
	}
	if checked != 3 {
		t.Errorf("%d answers were compared, the README has three", checked)
	}
	endpoint.verified(t, credentials)
	endpoint.verified(t, credentials) // sent again; the rotation leaves them valid
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// holds reports whether got has all that want has; "…" in a text stands for anything.
func holds(want, got any) bool {
	switch want := want.(type) {
	case string:
		text, ok := got.(string)
		parts := strings.Split(regexp.QuoteMeta(want), "…")
		return ok && regexp.MustCompile("^"+strings.Join(parts, ".*")+"$").MatchString(text)
	case map[string]any:
		object, ok := got.(map[string]any)
		for name, value := range want {
			have, found := object[name]
			ok = ok && found && holds(value, have)
		}
		return ok
	case []any:
		list, ok := got.([]any)
		ok = ok && len(list) == len(want)
		for i := range want {
			ok = ok && holds(want[i], list[i])
		}
		return ok
	}
	return want == got
}
