// Command go is an example of a webhook receiver, to copy.
//
//	WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 go run .
//
// A request proves its origin twice, and either proof will do: register the endpoint with the path
// /standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check
// it with the standard library alone. The first also refuses old requests, so prefer it.
//
// During a rotation set both variables to the previous and the new value with a space between them:
// "whtok_old whtok_new" and "whsec_old whsec_new". Set DATABASE to a file that outlives the program.
package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/embed"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// shown are the forms of the credentials as they were shown.
var shown = regexp.MustCompile(`^(whtok_[A-Za-z0-9_-]{43} )+(whsec_[A-Za-z0-9+/]{43}= )+$`)

func main() {
	tokens, secrets := strings.Fields(os.Getenv("WEBHOOK_TOKEN")), strings.Fields(os.Getenv("WEBHOOK_SECRET"))
	if all := strings.Join(append(tokens, secrets...), " ") + " "; len(tokens) != len(secrets) || !shown.MatchString(all) {
		log.Fatal("set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered: " +
			"whtok_ and 43 characters, whsec_ and 44")
	}
	inbox, err := open(cmp.Or(os.Getenv("DATABASE"), ":memory:"))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("POST /standard-webhooks", inbox.receive(func(header http.Header, body []byte) bool {
		return verifyStandard(header, body, secrets)
	}))
	http.Handle("POST /hmac", inbox.receive(func(header http.Header, body []byte) bool {
		return verifyHMAC(header, body, tokens, secrets)
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{ReadTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}

// verifyStandard checks webhook-id, webhook-timestamp and webhook-signature. During a rotation a
// request carries a signature for each secret, and the library looks for any that matches.
func verifyStandard(header http.Header, body []byte, secrets []string) bool {
	for _, secret := range secrets {
		if webhook, err := standardwebhooks.NewWebhook(secret); err == nil && webhook.Verify(body, header) == nil {
			return true
		}
	}
	return false
}

// verifyHMAC checks X-Webhook-Token and X-Webhook-Signature, in a time that tells nothing about
// either. The key is the secret as it was shown, "whsec_" included.
func verifyHMAC(header http.Header, body []byte, tokens, secrets []string) bool {
	valid := false
	for i := range tokens {
		mac := hmac.New(sha256.New, []byte(secrets[i]))
		mac.Write(body)
		token := hmac.Equal([]byte(header.Get("X-Webhook-Token")), []byte(tokens[i]))
		signature := hmac.Equal([]byte(header.Get("X-Webhook-Signature")), []byte(hex.EncodeToString(mac.Sum(nil))))
		valid = valid || token && signature
	}
	return valid
}

// event is the part of the body that this example uses.
type event struct {
	Data struct {
		ID         string `json:"id"`
		Attributes struct {
			DocumentID string `json:"document_id"`
			Status     string `json:"status"`
			Sequence   string `json:"sequence"` // "" for null
		} `json:"attributes"`
	} `json:"data"`
	Meta struct {
		Test bool `json:"test"`
	} `json:"meta"`
}

// inbox is the state of documents, which follows the events. What is known of a document, and that an event has
// come, is written in one transaction: an event may come twice, and an older one after a newer one.
type inbox struct{ db *sql.DB }

const tables = `
	CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY);
	CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, status TEXT NOT NULL, sequence TEXT NOT NULL);`

// newer takes a status whose sequence is greater than the one that is known. Where nothing is known it takes any; an
// event without a sequence, which is "" here, compares with none and changes nothing that is known.
const newer = `
	INSERT INTO documents (id, status, sequence) VALUES (?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET status = excluded.status, sequence = excluded.sequence
	WHERE excluded.sequence > documents.sequence`

// open opens the database in a file. Several processes may have it open.
func open(file string) (*inbox, error) {
	db, err := sql.Open("sqlite3", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(tables)
	return &inbox{db}, err
}

func (i *inbox) receive(verify func(http.Header, []byte) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// The signature covers these bytes: do not parse and write them again before it is checked.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil || !verify(r.Header, body) {
			fmt.Printf("refused %q: not signed with these credentials, or not now\n", r.Header.Get("webhook-id"))
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		}
		var e event
		if err := json.Unmarshal(body, &e); err != nil || e.Data.ID == "" {
			http.Error(w, "not an event", http.StatusBadRequest)
			return
		}
		news, err := i.put(r.Context(), e)
		if err != nil {
			log.Print(err)
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Printf("%s: %s\n", e.Data.ID, news)
		// What takes longer than a transaction belongs behind the answer: whoever answers after 15 seconds gets the event again.
		w.WriteHeader(http.StatusNoContent)
	}
}

// put takes an event and says what it has told. The id in the body equals the header webhook-id, and unlike that
// header it is covered by both signatures.
func (i *inbox) put(ctx context.Context, e event) (news string, err error) {
	document := e.Data.Attributes
	tx, err := i.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // which does nothing after Commit
	added, err := changes(tx.ExecContext(ctx, "INSERT INTO events (id) VALUES (?) ON CONFLICT DO NOTHING", e.Data.ID))
	if err != nil || added == 0 {
		return "had come already", err
	}
	if e.Meta.Test {
		return "a test", tx.Commit()
	}
	changed, err := changes(tx.ExecContext(ctx, newer, document.DocumentID, document.Status, document.Sequence))
	if err != nil {
		return "", err
	}
	news = fmt.Sprintf("document %s is %s", document.DocumentID, document.Status)
	if changed == 0 {
		news = fmt.Sprintf("document %s was %s before what is known of it", document.DocumentID, document.Status)
	}
	return news, tx.Commit()
}

func changes(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
