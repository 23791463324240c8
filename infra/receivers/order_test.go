package receivers

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/embed"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// sequence returns the sequence of the n-th change.
func sequence(t *testing.T, n int) string {
	t.Helper()
	s, err := webhook.NewSequence(fmt.Sprint(n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// orders returns every order of 0 to n-1.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, rest := range orders(n - 1) {
		for at := range n {
			one := append([]int{}, rest[:at]...)
			all = append(all, append(append(one, n-1), rest[at:]...))
		}
	}
	return all
}

// known returns what the database in a file knows of documents, and how many events it has seen.
func known(t *testing.T, file string) (documents map[string]string, events int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM events").Scan(&events); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT id, status, sequence FROM documents")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	documents = map[string]string{}
	for rows.Next() {
		var id, status, sequence string
		if err := rows.Scan(&id, &status, &sequence); err != nil {
			t.Fatal(err)
		}
		documents[id] = status + " " + sequence
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return documents, events
}

// TestExamplesKeepTheLatestStatus sends four events of a document in every order, each twice, to two instances with
// one database at the same time.
func TestExamplesKeepTheLatestStatus(t *testing.T) {
	statuses := []webhook.Status{webhook.Pending, webhook.Submitted, webhook.Processing, webhook.Processed}
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		credentials := mint(t)
		file := filepath.Join(t.TempDir(), "webhooks.db")
		instances := []*receiver{startWith(t, command, file, credentials), startWith(t, command, file, credentials)}
		want := map[string]string{}
		paths := []string{"/standard-webhooks", "/hmac"}
		for n, order := range orders(len(statuses)) {
			id := fmt.Sprint("doc_", n)
			want[id] = "processed " + sequence(t, 11)
			var wait sync.WaitGroup
			for i, instance := range instances {
				wait.Go(func() {
					for _, at := range order {
						request := eventOf(t, credentials, webhook.Event{
							DocumentID: id, Status: statuses[at], Sequence: sequence(t, 8+at), // of one digit and of two
						})
						if got := post(t, instance.url+paths[(i+n)%2], 0, request); got != 204 {
							t.Errorf("%s in the order %v is answered %d", statuses[at], order, got)
						}
					}
				})
			}
			wait.Wait()
		}
		got, events := known(t, file)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("known (-want +got):\n%s", diff)
		}
		if all := len(want) * len(statuses); events != all {
			t.Errorf("%d events, want %d", events, all)
		}
	})
}

func TestExamplesSayWhatAnEventHasTold(t *testing.T) {
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		own, other := mint(t), mint(t)
		file := filepath.Join(t.TempDir(), "webhooks.db")
		r := startWith(t, command, file, own)
		tell := func(signer signature.Credentials, e webhook.Event, status int, want string) {
			t.Helper()
			request := eventOf(t, signer, e)
			for _, path := range []string{"/standard-webhooks", "/hmac"} {
				if got := post(t, r.url+path, 0, request); got != status {
					t.Errorf("%s is answered %d on %s, want %d", e.Status, got, path, status)
				}
				line := strings.ReplaceAll(want, "ID", request.EventID)
				if got := r.line(t); got != line {
					t.Errorf("printed %q, want %q", got, line)
				}
				if status == 204 {
					want = "ID: had come already"
				}
			}
		}
		processed := webhook.Event{DocumentID: "doc_1", Status: webhook.Processed, Sequence: sequence(t, 20)}
		tell(own, processed, 204, "ID: document doc_1 is processed")
		tell(own, webhook.Event{DocumentID: "doc_1", Status: webhook.Processing, Sequence: sequence(t, 3)}, 204,
			"ID: document doc_1 was processing before what is known of it")
		tell(own, webhook.Event{DocumentID: "doc_2", Status: webhook.Failed, Sequence: sequence(t, 4)}, 204, "ID: document doc_2 is failed")
		tell(own, webhook.Event{DocumentID: "doc_1", Status: webhook.Pending}, 204,
			"ID: document doc_1 was pending before what is known of it") // a snapshot compares with nothing
		tell(own, webhook.Event{DocumentID: "doc_3", Status: webhook.Pending}, 204, "ID: document doc_3 is pending")
		tell(own, webhook.Event{DocumentID: "doc_3", Status: webhook.Failed, Sequence: sequence(t, 5)}, 204, "ID: document doc_3 is failed")
		tell(own, webhook.Event{DocumentID: "doc_4", Status: webhook.Failed, Test: true}, 204, "ID: a test")
		tell(other, processed, 401, `refused "ID": not signed with these credentials, or not now`)
		want := map[string]string{
			"doc_1": "processed " + sequence(t, 20), "doc_2": "failed " + sequence(t, 4), "doc_3": "failed " + sequence(t, 5),
		}
		if got, _ := known(t, file); cmp.Diff(want, got) != "" {
			t.Errorf("known (-want +got):\n%s", cmp.Diff(want, got))
		}
	})
}

func TestExamplesRememberOverARestart(t *testing.T) {
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		credentials := mint(t)
		file := filepath.Join(t.TempDir(), "webhooks.db")
		request := eventOf(t, credentials, webhook.Event{DocumentID: "doc_1", Status: webhook.Failed, Sequence: sequence(t, 1)})
		for _, want := range []string{"document doc_1 is failed", "had come already"} {
			r := startWith(t, command, file, credentials)
			if got := post(t, r.url+"/hmac", 0, request); got != 204 {
				t.Fatalf("answered %d", got)
			}
			if got := r.line(t); got != request.EventID+": "+want {
				t.Errorf("printed %q, want %q", got, want)
			}
		}
	})
}

func TestExamplesRefuseMalformedCredentials(t *testing.T) {
	const token, secret = "whtok_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		for name, values := range map[string][2]string{
			"none":                          {"", ""},
			"no token":                      {"", secret},
			"no secret":                     {token, ""},
			"what the README shows":         {"whtok_…", "whsec_…"},
			"a secret that is cut off":      {token, secret[:len(secret)-1]},
			"a secret that goes on":         {token, secret + "A"},
			"a secret without its prefix":   {token, secret[6:]},
			"a secret in quotation marks":   {token, `"` + secret + `"`},
			"a secret in another alphabet":  {token, strings.Replace(secret, "I", "-", 1)},
			"a token that is cut off":       {token[:20], secret},
			"the two the other way round":   {secret, token},
			"two tokens and one secret":     {token + " " + token, secret},
			"a good secret and a malformed": {token + " " + token, secret + " whsec_…"},
		} {
			again := exec.Command(command.Path, command.Args[1:]...)
			again.Env = append(os.Environ(), "PORT=0", "WEBHOOK_TOKEN="+values[0], "WEBHOOK_SECRET="+values[1])
			out, err := again.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown") {
				t.Errorf("started with %s: %v\n%s", name, err, out)
			}
		}
	})
}
