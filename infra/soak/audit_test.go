package soak

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/shared/signature"
)

// logged is what DeliveriesTable holds of a delivery.
type logged struct {
	ConfigID       string `dynamodbav:"config_id"`
	EventID        string `dynamodbav:"event_id"`
	DocumentID     string `dynamodbav:"document_id"`
	DocumentStatus string `dynamodbav:"document_status"`
	Status         string `dynamodbav:"status"`
	Round          string `dynamodbav:"round"`

	Attempts []loggedAttempt `dynamodbav:"attempts"`
}

type loggedAttempt struct {
	Number    int    `dynamodbav:"n"`
	MessageID string `dynamodbav:"by"`
	At        int64  `dynamodbav:"at"` // Unix microseconds of the stack's clock
	Status    int    `dynamodbav:"status"`
	Code      string `dynamodbav:"code"`
}

// scan reads a whole table.
func scan[T any](w *world, table string) ([]T, error) {
	var all []T
	pages := dynamodb.NewScanPaginator(w.dynamo, &dynamodb.ScanInput{TableName: aws.String(table), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.WithoutCancel(w.t.Context()))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", table, err)
		}
		var items []T
		if err := attributevalue.UnmarshalListOfMaps(page.Items, &items); err != nil {
			return nil, fmt.Errorf("reading %s: %w", table, err)
		}
		all = append(all, items...)
	}
	return all, nil
}

// maxLogged is how many attempts a delivery remembers.
const maxLogged = 20

// audit compares the ledgers with the tables. What is sent to an endpoint must be signed with its config's credentials and
// be the same each time; every change must have its event; and the log must tell of what the endpoints saw, and
// of nothing else. crashes is how many requests the log may not know, or know without the endpoint, because somebody
// ended in between.
func (w *world) audit(crashes int) {
	w.t.Helper()
	l, err := w.collect()
	if err != nil {
		w.t.Fatal(err)
	}
	measured.row(w.t, true, "requests in all", "", "%d", len(l.posts))
	found := findings{}
	l.checkEvents(found)
	l.checkRequests(found)
	found.rows(w.t, noEvent, noChange, foreign, unsigned, differing)
	unlike := w.unlike(l.items, l.posts)
	must := "0"
	if crashes > 0 {
		must = fmt.Sprintf("at most %d", crashes)
	}
	measured.row(w.t, unlike <= crashes, "attempts that only one of endpoint and log knows", must, "%d", unlike)
}

// collect reads what the tables hold, and what ledgers and log say.
func (w *world) collect() (*ledgers, error) {
	events, err := scan[recorded](w, "EventsTable")
	if err != nil {
		return nil, err
	}
	items, err := scan[logged](w, "DeliveriesTable")
	if err != nil {
		return nil, err
	}
	return &ledgers{
		changes: w.changes, configs: w.configs, posts: w.ledger(), events: events, items: items,
		resends: w.resends, ordered: w.ordered, redrives: w.redrives, evidence: w.output.heard(),
	}, nil
}

// verify verifies a request with any of the credentials that its config had then: the previous ones are valid beside the
// last. Requests are some minutes old when they are checked, so what they say of the time does not count.
func verify(p post, c *config) error {
	err := errors.New("its config had no credentials then")
	for _, credentials := range c.credentials {
		if !credentials.covers(p.at, batchTime) {
			continue
		}
		err = signature.Verify(p.header, p.body, credentials.Credentials)
		if errors.Is(err, signature.ErrSignature) || errors.Is(err, signature.ErrCredentials) {
			continue
		}
		standard, err := standardwebhooks.NewWebhook(credentials.Secret.Reveal())
		if err != nil {
			return err
		}
		return standard.VerifyIgnoringTimestamp(p.body, p.header)
	}
	return err
}

// unlike returns how many attempts only the endpoints or only the log know.
func (w *world) unlike(items []logged, posts []post) int {
	endpoints := map[string]string{}
	for _, c := range w.configs {
		endpoints[c.id] = c.endpoint
	}
	seen := map[[2]string]int{}
	for _, p := range posts {
		seen[[2]string{p.endpoint, p.event}]++
	}
	unlike := 0
	for _, item := range items {
		endpoint, ours := endpoints[item.ConfigID]
		if !ours {
			continue
		}
		sent := 0
		for _, a := range item.Attempts {
			if a.Code != "credentials" { // which nobody was sent
				sent++
			}
		}
		key := [2]string{endpoint, item.EventID}
		if difference := seen[key] - sent; len(item.Attempts) < maxLogged {
			unlike += max(difference, -difference)
		}
		delete(seen, key)
	}
	for _, n := range seen {
		unlike += n
	}
	return unlike
}
