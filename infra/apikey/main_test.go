package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
)

// result is what a run has left.
type result struct {
	code     int
	out, err string
}

// start runs the command against a database and nothing else that the machine may know of AWS.
func start(t *testing.T, db *dynamotest.DB, in string, arguments ...string) result {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE":             none,
		"AWS_SHARED_CREDENTIALS_FILE": none,
		"AWS_PROFILE":                 "",
		"AWS_ACCESS_KEY_ID":           "",
		"AWS_SECRET_ACCESS_KEY":       "",
		"AWS_REGION":                  "",
		"AWS_DEFAULT_REGION":          "",
	} {
		t.Setenv(name, value)
	}
	if db != nil {
		arguments = append(arguments, "-endpoint", db.URL)
	}
	var out, err bytes.Buffer
	c := &command{
		in:  strings.NewReader(in),
		out: &out,
		err: &err,
		now: func() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC) },
	}
	code := c.run(t.Context(), arguments)
	return result{code, out.String(), err.String()}
}

func TestLifeOfAKey(t *testing.T) {
	db := dynamotest.New(t)
	issued := start(t, db, "", "issue", "-organization", "acme", "-name", "back office")
	if issued.code != 0 || !regexp.MustCompile(`^dk_test_[a-z2-7]{32}\n$`).MatchString(issued.out) {
		t.Fatalf("issue: %+v; want the key alone on standard output", issued)
	}
	key := strings.TrimSpace(issued.out)
	hash := apikey.Hash(key)
	if strings.Contains(issued.err, key) || !strings.Contains(issued.err, hash) {
		t.Errorf("issue says %q on standard error; want the hash and not the key", issued.err)
	}
	if items := strings.Join(db.Items(t, "ApiKeysTable"), ""); strings.Contains(items, key) || !strings.Contains(items, hash) {
		t.Errorf("the table holds %s; want the hash and not the key", items)
	}
	live := start(t, db, "", "issue", "-live", "-organization", "umbrella", "-name", "live")
	if live.code != 0 || !strings.HasPrefix(live.out, "dk_live_") {
		t.Fatalf("issue -live: %+v", live)
	}

	listed := start(t, db, "", "list")
	lines := strings.Split(strings.TrimSpace(listed.out), "\n")
	if listed.code != 0 || len(lines) != 3 ||
		!strings.HasPrefix(lines[1], hash) || !strings.Contains(lines[1], "back office  2026-03-14T15:09:26.000Z") {
		t.Errorf("list: %+v; want both keys, by organization", listed)
	}
	one := start(t, db, "", "list", "-organization", "umbrella")
	if one.code != 0 || strings.Contains(one.out, "acme") || !strings.Contains(one.out, "umbrella") {
		t.Errorf("list -organization: %+v", one)
	}

	revoked := start(t, db, key+"\n", "revoke", "-key", "-")
	if revoked.code != 0 || revoked.out != "" || strings.Contains(revoked.err, key) {
		t.Errorf("revoke -key -: %+v", revoked)
	}
	if revoked := start(t, db, "", "revoke", "-hash", strings.ToUpper(apikey.Hash(strings.TrimSpace(live.out)))); revoked.code != 0 {
		t.Errorf("revoke -hash: %+v", revoked)
	}
	listed = start(t, db, "", "list")
	for _, line := range strings.Split(strings.TrimSpace(listed.out), "\n")[1:] {
		if strings.Count(line, "2026-03-14T15:09:26.000Z") != 2 {
			t.Errorf("%s is not revoked", line)
		}
	}
}

func TestFailures(t *testing.T) {
	db := dynamotest.New(t)
	hash := apikey.Hash("none")
	for name, test := range map[string]struct {
		db        *dynamotest.DB
		in        string
		arguments []string
		code      int
		says      string
	}{
		"no operation is misuse":                {db: db, code: 2, says: "issue, list or revoke?"},
		"an unknown operation is misuse":        {db: db, arguments: []string{"delete"}, code: 2, says: `no operation "delete"`},
		"an unknown flag is misuse":             {db: db, arguments: []string{"list", "-colour", "red"}, code: 2, says: "-colour"},
		"a flag of another operation is misuse": {db: db, arguments: []string{"list", "-live"}, code: 2, says: "-live"},
		"an argument too many is misuse":        {db: db, arguments: []string{"list", "all"}, code: 2, says: `unexpected argument "all"`},
		"issue needs an organization": {
			db:        db,
			arguments: []string{"issue", "-name", "n"},
			code:      2,
			says:      "-organization is missing",
		},
		"issue needs a name": {
			db:        db,
			arguments: []string{"issue", "-organization", "acme"},
			code:      2,
			says:      "-name is missing",
		},
		"an organization with a space is misuse": {
			db:        db,
			arguments: []string{"issue", "-organization", "acme ", "-name", "n"},
			code:      2,
			says:      "-organization must be text",
		},
		"an organization of two lines is misuse": {
			db:        db,
			arguments: []string{"issue", "-organization", "ac\nme", "-name", "n"},
			code:      2,
			says:      "-organization must be text",
		},
		"a name that is too long is misuse": {
			db:        db,
			arguments: []string{"issue", "-organization", "acme", "-name", strings.Repeat("n", 101)},
			code:      2,
			says:      "101 characters",
		},
		"revoke needs to know which": {db: db, arguments: []string{"revoke"}, code: 2, says: "-hash or -key"},
		"revoke takes one of both": {
			db:        db,
			in:        "k",
			arguments: []string{"revoke", "-hash", hash, "-key", "-"},
			code:      2,
			says:      "-hash or -key",
		},
		"a key on the command line is refused": {db: db, arguments: []string{"revoke", "-key", "dk_test_secret"}, code: 2, says: "history"},
		"a hash that is none is misuse":        {db: db, arguments: []string{"revoke", "-hash", "abc"}, code: 2, says: "64 characters"},
		"no key on standard input is misuse": {
			db:        db,
			in:        " \n",
			arguments: []string{"revoke", "-key", "-"},
			code:      2,
			says:      "no key on standard input",
		},
		"a key that there is not fails": {
			db:        db,
			in:        "none",
			arguments: []string{"revoke", "-key", "-"},
			code:      1,
			says:      "there is no key with hash " + hash,
		},
		"a table that there is not fails": {
			db:        db,
			arguments: []string{"list", "-table", "nowhere"},
			code:      1,
			says:      "ResourceNotFoundException",
		},
		"AWS without a region fails": {arguments: []string{"list"}, code: 1, says: "no AWS region"},
	} {
		t.Run(name, func(t *testing.T) {
			got := start(t, test.db, test.in, test.arguments...)
			if got.code != test.code || !strings.Contains(got.err, test.says) || got.out != "" {
				t.Errorf("got %+v, want exit code %d and %q on standard error", got, test.code, test.says)
			}
			if strings.Contains(got.err, "dk_test_secret") {
				t.Error("the key is repeated")
			}
		})
	}
	if items := db.Items(t, "ApiKeysTable"); len(items) != 0 {
		t.Errorf("misuse has left %v", items)
	}
}

func TestHelp(t *testing.T) {
	for _, arguments := range [][]string{{"-h"}, {"issue", "-h"}, {"revoke", "--help"}} {
		got := start(t, nil, "", arguments...)
		if got.code != 0 || !strings.Contains(got.err, "apikey revoke -key -") || !strings.Contains(got.err, "-endpoint URL") {
			t.Errorf("%v: %+v", arguments, got)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestKeyThatCouldNotBeShown(t *testing.T) {
	db := dynamotest.New(t)
	start(t, nil, "", "-h") // takes away what the machine knows of AWS
	var err bytes.Buffer
	c := &command{out: broken{}, err: &err, now: time.Now}
	code := c.run(t.Context(), []string{"issue", "-organization", "acme", "-name", "n", "-endpoint", db.URL})
	if code != 1 || !strings.Contains(err.String(), "revoke it by its hash") {
		t.Errorf("exit code %d, %s", code, &err)
	}
}
