package control

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
)

// documents is a database with a table of documents, and its stream.
func documents(t *testing.T) (*dynamodb.Database, *dynamodb.Stream) {
	t.Helper()
	database := dynamodb.New(dynamodb.Options{})
	err := database.CreateTable(dynamodb.Schema{
		Name: "Documents", HashKey: dynamodb.Key{
			Name: "id", Type: attribute.String,
		}, TTLAttribute: "end", Stream: true, StreamARN: "arn:stream",
	})
	if err != nil {
		t.Fatal(err)
	}
	return database, database.Stream("arn:stream")
}

func putRaw(t *testing.T, database *dynamodb.Database, item string) {
	t.Helper()
	if _, err := database.Service().Serve(
		t.Context(), "PutItem", []byte(`{"TableName":"Documents","Item":`+item+`}`), stack.Administrator,
	); err != nil {
		t.Fatal(err)
	}
}

func TestWatchersSeeChangesOfStatusOnly(t *testing.T) {
	for name, test := range map[string]struct {
		items []string
		want  []string // document, previous and new status
	}{
		"a new document is a change": {[]string{`{"id":{"S":"d"},"status":{"S":"pending"}}`}, []string{"d  pending"}},
		"another status is one": {
			[]string{`{"id":{"S":"d"},"status":{"S":"pending"}}`, `{"id":{"S":"d"},"status":{"S":"failed"}}`},
			[]string{"d  pending", "d pending failed"},
		},
		"the same status with another title is none": {
			[]string{`{"id":{"S":"d"},"status":{"S":"pending"}}`, `{"id":{"S":"d"},"status":{"S":"pending"},"title":{"S":"x"}}`},
			[]string{"d  pending"},
		},
		"a document without a status is none": {[]string{`{"id":{"S":"d"}}`}, nil},
		"attributes of every type are no obstacle to one": {
			[]string{`{"id":{"S":"d"},"status":{"S":"pending"},"a":{"L":[{"M":{"b":{"NULL":true}}}]},"c":{"BOOL":true},"n":{"N":"1"}}`},
			[]string{"d  pending"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			database, stream := documents(t)
			for _, item := range test.items {
				putRaw(t, database, item)
			}
			records, err := stream.Read(t.Context(), "", 10)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				if c, ok := documentChange(r); ok {
					got = append(got, strings.Join([]string{c.DocumentID, c.PreviousStatus, c.Status}, " "))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatcherThatFallsBehindGoesOnWithTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		database, stream := documents(t)
		told := journal.New(journal.Options{})
		for range 5 * watchedRecords {
			putRaw(t, database, `{"id":{"S":"`+strings.Repeat("x", 1+len(stream.Latest()))+stream.Latest()+`"},"status":{"S":"pending"}}`)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); watch(ctx, stream, told) }()
		<-time.After(time.Second)
		putRaw(t, database, `{"id":{"S":"last"},"status":{"S":"pending"}}`)
		<-time.After(time.Second)
		cancel()
		<-done
		watch := told.Subscribe()
		defer watch.Close()
		flows := watch.Take()
		if got := told.PassedOver(); got != 4*watchedRecords || flows[len(flows)-1].DocumentID != "last" {
			t.Errorf("passed over %d and shows %s at last, want %d and the last one", got, flows[len(flows)-1].DocumentID, 4*watchedRecords)
		}
	})
}
