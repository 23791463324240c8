package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	watchedRecords = 100 // read from the stream at once
	watchPause     = 50 * time.Millisecond
)

// Watch tells the journal what happens to documents until ctx ends.
func (c *Control) Watch(ctx context.Context) {
	if stream := c.Stack.Database.Stream(template.StreamARN(c.Stack.DocumentsTable())); stream != nil {
		watch(ctx, stream, c.Journal)
	}
}

// watch tells the journal of every change of a document until ctx ends. When more changes
// than it can show, it goes on with the latest.
func watch(ctx context.Context, stream *dynamodb.Stream, told *journal.Journal) {
	after := ""
	pause := time.NewTicker(watchPause)
	defer pause.Stop()
	for {
		records, err := stream.Read(ctx, after, watchedRecords)
		if err != nil {
			return // ctx has ended: the stream gives no other reason to a reader of its own positions
		}
		for _, record := range records {
			if change, ok := documentChange(record); ok {
				told.Changed(change)
			}
		}
		after = records[len(records)-1].SequenceNumber()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		if skipped, latest := stream.Skip(after, watchedRecords); skipped > 0 {
			told.PassOver(skipped)
			after = latest
		}
	}
}

// documentChange reads a record of the stream of documents; ok is false if the status has not changed.
func documentChange(record *dynamodb.Record) (change journal.Change, ok bool) {
	type image map[string]struct{ S string }
	var r struct {
		DynamoDB struct{ NewImage, OldImage image } `json:"dynamodb"`
	}
	raw, err := json.Marshal(record)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return journal.Change{}, false // an item that is no document changes no status, so no event comes of it
	}
	document, before := r.DynamoDB.NewImage, r.DynamoDB.OldImage
	change = journal.Change{
		// The stream tells its time to the second.
		EventID:        webhook.NewEventID(record.Created().Truncate(time.Second), record.EventID()),
		OrganizationID: document["organization_id"].S,
		DocumentID:     document["id"].S,
		Status:         document["status"].S,
		PreviousStatus: before["status"].S,
		At:             record.Created(),
	}
	return change, change.Status != "" && change.Status != change.PreviousStatus
}
