package control

import (
	"context"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
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
	document, before := record.Images()
	change = journal.Change{
		// The stream tells its time to the second.
		EventID:        webhook.NewEventID(record.Created().Truncate(time.Second), record.EventID()),
		OrganizationID: text(document["organization_id"]),
		DocumentID:     text(document["id"]),
		Status:         text(document["status"]),
		PreviousStatus: text(before["status"]),
		At:             record.Created(),
	}
	return change, change.Status != "" && change.Status != change.PreviousStatus
}

// text is the value of an attribute, "" if it is no string or not there.
func text(v *attribute.Value) string {
	if v == nil || v.S == nil {
		return ""
	}
	return *v.S
}
