// Package dynamotest runs the tables of template.yaml in this process, for tests alone.
//
// The engine is minidyn, behind the real SDK client. What it gets wrong is corrected here or left to
// the end-to-end suite:
//
//   - Its secondary indexes keep an item whose index key was removed and lose another one when an
//     update adds the key, so sparse indexes do not work. Query is therefore answered from a scan
//     of the table: see query.go. An index is always up to date here, on AWS only a local one is.
//   - Its UpdateItem lets the clause REMOVE leave top-level attributes where they are: see update.go.
//   - Its PutItem never returns the item on which a condition failed: see put.go.
//   - It serves a batch that names a key twice, which DynamoDB refuses, and so does this package.
//   - Its transactions never conflict, time to live never deletes, nothing is throttled and there
//     is no limit of sizes. Intercept plays what a test needs of it.
//   - It knows no reserved words, no streams and no IAM: the end-to-end suite covers those.
package dynamotest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	minidyn "github.com/truora/minidyn/server"
)

// DB is a DynamoDB with the tables of the template, which have their logical ids as names. It is
// safe for concurrent use.
type DB struct {
	Client *dynamodb.Client
	URL    string // where it listens

	tables map[string]*tableDefinition

	mu        sync.Mutex // serializes requests: the engine encodes answers outside of its own lock
	engine    http.Handler
	intercept func(operation string, body []byte) *Fault
	scanned   map[string][]map[string]wire // all items of a table, until the next write
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
	db := &DB{tables: tables(t), engine: minidyn.NewServer(), scanned: map[string][]map[string]wire{}}
	server := httptest.NewServer(db)
	t.Cleanup(server.Close)
	db.URL = server.URL
	db.Client = dynamodb.New(dynamodb.Options{
		Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		RetryMaxAttempts: 1, // a test says itself what is tried again
		HTTPClient:       shortcut{db},
	})
	for name, definition := range db.tables {
		if _, err := db.Client.CreateTable(context.Background(), definition.create(name)); err != nil {
			t.Fatalf("creating %s: %v", name, err)
		}
	}
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
// return nil, or return an answer of its own. Requests come one at a time. nil ends it.
func (db *DB) Intercept(f func(operation string, body []byte) *Fault) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.intercept = f
}

// ServeHTTP implements http.Handler.
func (db *DB) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	db.mu.Lock()
	defer db.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var fault *Fault
	if db.intercept != nil {
		fault = db.intercept(operation, body)
	}
	if fault == nil {
		fault = db.check(operation, body)
	}
	if fault == nil && operation == "Query" {
		fault = db.query(body)
	}
	if fault != nil {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(fault.Status)
		io.WriteString(w, fault.Body)
		return
	}
	if !slices.Contains([]string{"GetItem", "BatchGetItem", "Scan"}, operation) {
		clear(db.scanned)
	}
	answer := db.ask(operation, body)
	if answer.Code == http.StatusOK {
		err = db.remove(operation, body)
	} else if operation == "PutItem" {
		err = db.bring(body, answer)
	}
	if err != nil {
		answer.Code, answer.Body = http.StatusInternalServerError, bytes.NewBufferString(err.Error())
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(answer.Code)
	answer.Body.WriteTo(w)
}

// ask hands a request to the engine.
func (db *DB) ask(operation string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	answer := httptest.NewRecorder()
	db.engine.ServeHTTP(answer, request)
	return answer
}

// wire is an attribute value as it travels, {"S":"…"}.
type wire map[string]any

// call makes a request of the engine itself.
func (db *DB) call(operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer := db.ask(operation, body)
	if answer.Code != http.StatusOK {
		return fmt.Errorf("%s: %s", operation, answer.Body)
	}
	return json.Unmarshal(answer.Body.Bytes(), out)
}

// check refuses the batches that DynamoDB refuses and the engine does not.
func (db *DB) check(operation string, body []byte) *Fault {
	var request struct{ RequestItems map[string]json.RawMessage }
	if !strings.HasPrefix(operation, "Batch") || json.Unmarshal(body, &request) != nil {
		return nil
	}
	most, total := 100, 0
	for table, raw := range request.RequestItems {
		definition := db.tables[table]
		if definition == nil {
			return Refusal("ResourceNotFoundException", "Requested resource not found")
		}
		var keys []map[string]wire
		if operation == "BatchGetItem" {
			var wanted struct{ Keys []map[string]wire }
			_ = json.Unmarshal(raw, &wanted)
			keys = wanted.Keys
		} else {
			most = 25
			var writes []struct {
				PutRequest struct{ Item map[string]wire }
			}
			_ = json.Unmarshal(raw, &writes)
			for _, write := range writes {
				keys = append(keys, write.PutRequest.Item)
			}
		}
		total += len(keys)
		seen := map[string]bool{}
		for _, key := range keys {
			one := identity(key, definition.KeySchema.names())
			if seen[one] {
				return Refusal("ValidationException", "Provided list of item keys contains duplicates")
			}
			seen[one] = true
		}
	}
	if total > most {
		return Refusal("ValidationException", "Too many items requested for the "+operation+" call")
	}
	return nil
}

// identity returns the values of some attributes of an item as one string.
func identity(item map[string]wire, names []string) string {
	values := map[string]wire{}
	for _, name := range names {
		values[name] = item[name]
	}
	text, _ := json.Marshal(values) // sorts the names
	return string(text)
}

// Items returns all items of a table as JSON, one each, in an order that does not change.
func (db *DB) Items(t testing.TB, table string) []string {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	items, err := db.scan(table)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	return texts
}

// scan returns all items of a table, which must not be changed.
func (db *DB) scan(table string) ([]map[string]wire, error) {
	if items, ok := db.scanned[table]; ok {
		return items, nil
	}
	var answer struct{ Items []map[string]wire }
	if err := db.call("Scan", map[string]any{"TableName": table}, &answer); err != nil {
		return nil, err
	}
	db.scanned[table] = answer.Items
	return answer.Items, nil
}
