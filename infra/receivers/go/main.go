// Command go is an example of a webhook receiver, to copy.
//
//	WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 go run .
//
// A request proves its origin twice, and either proof will do: register the endpoint with the path
// /standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check
// it with the standard library alone. The first also refuses old requests, so prefer it.
//
// During a rotation set both variables to the previous and the new value with a space between them:
// "whtok_old whtok_new" and "whsec_old whsec_new".
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	tokens, secrets := strings.Fields(os.Getenv("WEBHOOK_TOKEN")), strings.Fields(os.Getenv("WEBHOOK_SECRET"))
	if len(secrets) == 0 || len(tokens) != len(secrets) {
		log.Fatal("set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered")
	}
	inbox := &inbox{seen: map[string]bool{}, events: make(chan event, 1000)}
	go inbox.work()
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
		} `json:"attributes"`
	} `json:"data"`
}

// inbox remembers which events have come: an event may be delivered more than once. In production
// let a database do both, with a unique key on the event's id, so that nothing is forgotten on a restart.
type inbox struct {
	mu     sync.Mutex
	seen   map[string]bool
	events chan event
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
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		}
		var e event
		if err := json.Unmarshal(body, &e); err != nil || e.Data.ID == "" {
			http.Error(w, "not an event", http.StatusBadRequest)
			return
		}
		if !i.put(e) {
			http.Error(w, "busy", http.StatusServiceUnavailable) // it will be tried again
			return
		}
		w.WriteHeader(http.StatusNoContent) // at once: whoever answers after 15 seconds gets the event again
	}
}

// put keeps an event that is new and reports whether it, or the first of its kind, is kept. The id in
// the body equals the header webhook-id, and unlike that header it is covered by both signatures.
func (i *inbox) put(e event) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen[e.Data.ID] {
		return true
	}
	select {
	case i.events <- e:
		i.seen[e.Data.ID] = true
		return true
	default:
		return false
	}
}

// work does with the events what has to be done, after they were answered.
func (i *inbox) work() {
	for e := range i.events {
		fmt.Printf("%s: document %s is %s\n", e.Data.ID, e.Data.Attributes.DocumentID, e.Data.Attributes.Status)
	}
}
