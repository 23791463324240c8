package signature_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/signature"
)

// An endpoint checks what it receives with the token and the secret that were shown at creation.
// The body must be the bytes as they came, before any JSON is decoded.
func ExampleVerify() {
	credentials := signature.Credentials{
		Token:  "whtok_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
	endpoint := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil || signature.Verify(r.Header, body, credentials) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})

	for _, sent := range []string{`{"data":{}}`, `{"data":{"forged":true}}`} {
		request := httptest.NewRequest(http.MethodPost, "/hook", strings.NewReader(sent))
		if err := signature.Sign(request.Header, "evt_1", []byte(`{"data":{}}`), time.Now(), credentials, nil); err != nil {
			fmt.Println(err)
		}
		answer := httptest.NewRecorder()
		endpoint(answer, request)
		fmt.Println(sent, answer.Code)
	}
	// Output:
	// {"data":{}} 204
	// {"data":{"forged":true}} 401
}

// During a rotation, a receiver accepts the new credentials and the ones before.
func ExampleSign_rotation() {
	before, _ := signature.NewCredentials(nil)
	after, _ := signature.NewCredentials(nil)
	body := []byte(`{"data":{}}`)
	header := http.Header{}
	if err := signature.Sign(header, "evt_1", body, time.Now(), after, &before); err != nil {
		fmt.Println(err)
	}
	for _, credentials := range []signature.Credentials{after, before} {
		if signature.Verify(header, body, credentials) == nil {
			fmt.Println("accepted")
			return
		}
	}
	fmt.Println("refused")
	// Output: accepted
}

func ExampleSecret() {
	credentials, _ := signature.NewCredentials(nil)
	fmt.Println(credentials)
	fmt.Println(len(credentials.Secret.Reveal()), "characters")
	// Output:
	// {[redacted] [redacted] map[]}
	// 50 characters
}
