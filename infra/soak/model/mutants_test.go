package model

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mutants = flag.Bool("mutants", false, "turn one safeguard after the other off and see it noticed")

// mutant is the product with one safeguard turned off.
type mutant struct {
	name  string
	file  string
	edits []string // what is replaced, by what, and so on
	by    suite    // what must notice it
}

// suite is tests, as arguments of go test.
type suite []string

// theModel is what runs with all tests, with more random ways.
func theModel() suite {
	return suite{
		"-run=^TestModel$", "-failfast", "./infra/soak/model", "-depth=2",
		"-rapid.checks=500", "-rapid.nofailfile", "-rapid.seed=1", "-rapid.shrinktime=1s",
	}
}

func unit(folder, run string) suite { return suite{"-run=" + run, folder} }

// safeguards returns what is turned off.
func safeguards() []mutant {
	return []mutant{
		{
			name: "acknowledge before the log", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{
				"\t\treturn kept\n\t}\n\tp.Delivery = recorded.Delivery\n",
				"\t\treturn fate{}\n\t}\n\tp.Delivery = recorded.Delivery\n",
			},
		},
		{
			name: "send the next message before the log", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{
				"\trecorded := b.recorder.record(ctx, o)\n",
				"\tif after, counts := o.Known.After(o); counts && o.Queued() && after.Follows(&m.Message) {\n" +
					"\t\tb.sendNext(ctx, &after)\n\t}\n" +
					"\trecorded := b.recorder.record(ctx, o)\n",
				"case recorded.Counts && o.Queued()", "case false && o.Queued()",
			},
		},
		{
			name: "no sweep", by: theModel(), file: "shared/delivery/sweep.go",
			edits: []string{"if len(page) == 0 {", "if len(page) >= 0 {"},
		},
		{
			name: "a round named after the message", by: theModel(), file: "shared/delivery/delivery.go",
			edits: []string{
				"\tm.receives, _ = ", "\tif m.Round == webhook.FirstRound {\n\t\tm.Round = \"0-\" + m.id\n\t}\n\tm.receives, _ = ",
			},
		},
		{
			name: "ignore keys that were not read", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{"if !p.readable {", "if false {"},
		},
		{
			name: "ignore unprocessed keys", by: unit("./shared/dynamo", "TestLogLoad"), file: "shared/dynamo/dynamo.go",
			edits: []string{"request = out.UnprocessedKeys", "request = nil"},
		},
		{
			name: "no check of what has succeeded", by: theModel(), file: "shared/delivery/rules.go",
			edits: []string{"if d != nil && !d.DoneFor.Before(m.RequestedAt.Time) {", "if false {"},
		},
		{
			name: "attempts told apart by the millisecond alone",
			by:   unit("./shared/delivery", "TestTheLogKeepsTheMicrosecondOfAnAttempt"), file: "shared/delivery/attempt.go",
			edits: []string{"StartedAt: webhook.Precise(", "StartedAt: webhook.At("},
		},
		{
			name: "no condition of the revision", by: unit("./shared/dynamo", "TestTheTableIsALog"), file: "shared/dynamo/delivery.go",
			edits: []string{`aws.String("revision = :known")`, `aws.String("revision = :known OR attribute_exists(event_id)")`},
		},
		{
			name: "attempt although another has logged it", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{"if p.Delivery = recorded.Delivery; conflict {", "if p.Delivery = recorded.Delivery; false {"},
		},
		{
			name: "SDK retries on sends", by: unit("./shared/queue", "TestSendOnceIsNotRepeated"), file: "shared/queue/queue.go",
			edits: []string{"o.RetryMaxAttempts = 1", "o.RetryMaxAttempts = 3"},
		},
		{
			name: "groups by config", by: unit("./shared/queue", "TestSend"), file: "shared/queue/queue.go",
			edits: []string{"newLetter(string(body), message.OrganizationID,", "newLetter(string(body), message.ConfigID,"},
		},
		{
			name: "no hand-over of a slow config", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{"\tcase slow:\n\t\treturn b.handOver(ctx, m)\n", "\tcase slow:\n"},
		},
		{
			name: "no hand-over of what could not be sent", by: unit("./shared/delivery", "TestRule7"), file: "shared/delivery/attempt.go",
			edits: []string{"\tif m.fast {\n\t\treturn b.handOver(ctx, m)\n\t}\n", ""},
		},
		{
			name: "no RecursiveLoop of deliver", by: unit("./infra", "TestRunbookHasTheNumbersOfTheTemplate"), file: "template.yaml",
			edits: []string{
				"      # It sends messages to RetryQueue, which it consumes: every retry is one of them.\n      RecursiveLoop: Allow\n", "",
			},
		},
		{
			name: "no log of the start on a second receive", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{"if m.receives > 1 || m.Again {", "if m.Again {"},
		},
		{
			name: "acknowledge the fifth failure", by: theModel(), file: "shared/delivery/attempt.go",
			edits: []string{"case p.Delivery.CompareRound(&m.Message) == 0 && ", "case false && "},
		},
		{
			name: "no wake-up for what a queue holds back", by: theModel(), file: "shared/webhook/outcome.go",
			edits: []string{"return At(o.NextAttemptAt.Add(wakeAfter))", "return Time{}"},
		},
		{
			name: "an earlier round counts", by: theModel(), file: "shared/webhook/outcome.go",
			edits: []string{"case order > 0:", "case order != 0:"},
		},
		{
			name: "a success is forgotten", by: theModel(), file: "shared/webhook/outcome.go",
			edits: []string{"d.DoneFor = o.Message.RequestedAt", "_ = o"},
		},
		{
			name: "a late copy is taken for a redriven message", by: theModel(), file: "shared/delivery/rules.go",
			edits: []string{" && m.sentAt.After(d.EndedAt.Time)", ""},
		},
		{
			name: "send to inactive configs", by: theModel(), file: "shared/delivery/rules.go",
			edits: []string{"case config == nil || !config.Receives():", "case config == nil:"},
		},
		{
			name: "send before it is due", by: theModel(), file: "shared/delivery/rules.go",
			edits: []string{"case now.Before(m.NotBefore.Time):", "case false:"},
		},
		{
			name: "no copy of a first attempt on its third receive",
			by:   unit("./shared/delivery", "Outage|Rule7"), file: "shared/delivery/attempt.go",
			edits: []string{"if m.receives > len(restAfterReceive) ||", "if m.receives >= len(restAfterReceive) ||"},
		},
		{
			name: "go on with a delivery whose result is not logged",
			by:   unit("./shared/delivery", "."), file: "shared/delivery/attempt.go",
			edits: []string{"if p.unlogged {", "if false {"},
		},
	}
}

// apply returns the source of a mutant. Each part that is replaced must be there once.
func (m *mutant) apply(t *testing.T, source string) string {
	t.Helper()
	for edit := range slices.Chunk(m.edits, 2) {
		if n := strings.Count(source, edit[0]); n != 1 {
			t.Fatalf("%s has %q %d times; adapt the mutant", m.file, edit[0], n)
		}
		source = strings.Replace(source, edit[0], edit[1], 1)
	}
	return source
}

// The table of mutants in the README is of those there are, and names what must notice each.
func TestTheTableNamesEachMutant(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| Turned off | Noticed by |")
	table, _, _ = strings.Cut(table, "\n\n")
	all := safeguards()
	for _, m := range all {
		row := regexp.MustCompile(`\n\| ` + regexp.QuoteMeta(m.name) + ` \| (Test\w+)`).FindStringSubmatch(table)
		if row == nil {
			t.Errorf("%q is not in the table", m.name)
			continue
		}
		wanted := regexp.MustCompile(strings.TrimPrefix(m.by[0], "-run="))
		if !wanted.MatchString(row[1]) {
			t.Errorf("%q is to be noticed by %s, and not by %s", m.name, m.by[0], row[1])
		}
	}
	if rows := strings.Count(table, "\n| "); rows != len(all) {
		t.Errorf("the table has %d rows for %d mutants", rows, len(all))
	}
}

func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range safeguards() {
		t.Run(m.name, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join("..", "..", "..", m.file))
			if err != nil {
				t.Fatal(err)
			}
			m.apply(t, string(source))
		})
	}
}

func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("takes minutes; make mutants runs it")
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range safeguards() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			changed := filepath.Join(folder, filepath.Base(m.file))
			test := exec.Command("go", "test", "-count=1", "-timeout=5m")
			if test.Dir = root; filepath.Ext(m.file) == ".go" {
				overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): changed}})
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(folder, "overlay.json"), overlay)
				test.Args = append(test.Args, "-overlay="+filepath.Join(folder, "overlay.json"))
			} else { // a test reads it
				copyTree(t, root, folder)
				test.Dir, changed = folder, filepath.Join(folder, m.file)
			}
			write(t, changed, []byte(m.apply(t, string(source))))
			test.Args = append(test.Args, m.by...)
			out, err := test.CombinedOutput()
			noticed := regexp.MustCompile(`--- FAIL: (\S+) .*\n\s*\w+\.go:\d+: (.*)`).FindStringSubmatch(string(out))
			var exit *exec.ExitError
			if !errors.As(err, &exit) || noticed == nil {
				t.Fatalf("nothing noticed it: %v\n%s", err, out)
			}
			t.Logf("caught by %s: %s", noticed[1], noticed[2])
		})
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies what the tests of a repository read.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && slices.Contains([]string{".git", ".build", ".aws-sam", "node_modules"}, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, relative), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
