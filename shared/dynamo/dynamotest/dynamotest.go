// Package dynamotest runs the tables of template.yaml in this process, for tests alone.
//
// The engine is the local stack's, behind the real SDK client. It never throttles, its transactions never
// conflict, its indexes are always up to date and nothing expires by itself: Intercept plays what a test
// needs of it.
package dynamotest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/docuhook/docuhook/infra/local/tables"
)

// DB is a DynamoDB with the tables of the template, which have their logical ids as names. It is
// safe for concurrent use.
type DB struct {
	Client *dynamodb.Client
	URL    string // where it listens

	engine http.Handler

	mu        sync.Mutex
	intercept func(operation string, body []byte) *Fault
}

// Fault is an answer in the place of the engine's.
type Fault struct {
	Status int
	Body   string // JSON
}

// Refusal is a Fault with which DynamoDB refuses a request: an exception such as
// "ThrottlingException", with status 400.
func Refusal(exception, message string) *Fault {
	body, _ := json.Marshal(map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#" + exception, "message": message})
	return &Fault{http.StatusBadRequest, string(body)}
}

// New starts a DB that ends with the test.
func New(t testing.TB) *DB {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(Root(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := tables.New(source)
	if err != nil {
		t.Fatal(err)
	}
	db := &DB{engine: engine}
	server := httptest.NewServer(db)
	t.Cleanup(server.Close)
	db.URL = server.URL
	db.Client = dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: &db.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		RetryMaxAttempts: 1, // a test says itself what is tried again
		HTTPClient:       shortcut{db},
	})
	return db
}

// shortcut is the way from the client to a DB that takes no connections, which are what costs most.
type shortcut struct{ db *DB }

// Do implements dynamodb.HTTPClient.
func (s shortcut) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	s.db.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// Intercept makes f see every request before the engine does: it may count, change nothing and
// return nil, or return an answer of its own. Requests come to it one at a time. nil ends it.
func (db *DB) Intercept(f func(operation string, body []byte) *Fault) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.intercept = f
}

// ServeHTTP implements http.Handler.
func (db *DB) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if fault := db.fault(operation, body); fault != nil {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(fault.Status)
		io.WriteString(w, fault.Body)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	db.engine.ServeHTTP(w, r)
}

func (db *DB) fault(operation string, body []byte) *Fault {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.intercept == nil {
		return nil
	}
	return db.intercept(operation, body)
}

// Items returns all items of a table as JSON, one each, in an order that does not change. Intercept does
// not see this.
func (db *DB) Items(t testing.TB, table string) []string {
	t.Helper()
	var texts []string
	for from := json.RawMessage("null"); from != nil; {
		scan := `{"TableName":"` + table + `","ExclusiveStartKey":` + string(from) + `}`
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(scan))
		request.Header.Set("X-Amz-Target", "DynamoDB_20120810.Scan")
		answer := httptest.NewRecorder()
		db.engine.ServeHTTP(answer, request)
		var page struct {
			Items            []json.RawMessage
			LastEvaluatedKey json.RawMessage
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil || answer.Code != http.StatusOK {
			t.Fatalf("scanning %s: %v: %s", table, err, answer.Body)
		}
		for _, item := range page.Items {
			texts = append(texts, string(item))
		}
		from = page.LastEvaluatedKey
	}
	slices.Sort(texts)
	return texts
}

// Root returns the folder of the module, where template.yaml is.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test")
		}
		folder = parent
	}
}
