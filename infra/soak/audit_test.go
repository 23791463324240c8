package soak

import (
	"bytes"
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
	Attempts       []struct {
		Response int    `dynamodbav:"status"`
		Code     string `dynamodbav:"code"`
	} `dynamodbav:"attempts"`
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
	posts := w.ledger()
	measured.row(w.t, true, "requests in all", "", "%d", len(posts))
	if problem := w.genuine(posts); problem != nil {
		measured.row(w.t, false, "requests", "signed, and the same on every attempt", "%v", problem)
	}
	missing, err := w.unrecorded()
	if err != nil {
		measured.row(w.t, false, "events", "every change in EventsTable", "%v", err)
		return
	}
	measured.row(w.t, missing == 0, "changes without an event, and events without a change", "0", "%d of %d", missing, len(w.changes))
	items, err := scan[logged](w, "DeliveriesTable")
	if err != nil {
		w.t.Fatal(err)
	}
	unlike := w.unlike(items, posts)
	must := "0"
	if crashes > 0 {
		must = fmt.Sprintf("at most %d", crashes)
	}
	measured.row(w.t, unlike <= crashes, "attempts that only one of endpoint and log knows", must, "%d", unlike)
}

// unrecorded returns how many changes have no event, or more than one, and how many events no change.
func (w *world) unrecorded() (n int, err error) {
	events, err := scan[struct {
		DocumentKey string `dynamodbav:"document_key"`
		Status      string `dynamodbav:"status"`
	}](w, "EventsTable")
	if err != nil {
		return 0, err
	}
	known := map[string]int{}
	for _, e := range events {
		known[e.DocumentKey+" "+e.Status]++
	}
	for _, d := range w.changes {
		name := d.organization + "#" + d.name()
		if known[name] != 1 {
			n++
		}
		delete(known, name)
	}
	return n + len(known), nil
}

// genuine returns what is wrong with requests.
func (w *world) genuine(posts []post) error {
	configs := map[string]*config{}
	for _, c := range w.configs {
		configs[c.endpoint] = c
	}
	owners := map[string]string{}
	for _, d := range w.changes {
		owners[d.name()] = d.organization
	}
	bodies := map[[2]string][]byte{}
	for _, p := range posts {
		c, ok := configs[p.endpoint]
		if owner := owners[p.change]; !ok || owner != c.organization {
			return fmt.Errorf("%s got a change of %q", p.endpoint, owner)
		}
		if err := verify(p, c); err != nil {
			return fmt.Errorf("at %s: %w", p.endpoint, err)
		}
		key := [2]string{p.endpoint, p.event}
		if before, again := bodies[key]; again && !bytes.Equal(before, p.body) {
			return fmt.Errorf("%s of %s changed from %s to %s", p.event, p.endpoint, before, p.body)
		}
		bodies[key] = p.body
	}
	return nil
}

// verify verifies a request with any of the credentials that its config had: the previous ones are valid beside the
// last. Requests are some minutes old when they are checked, so what they say of the time does not count.
func verify(p post, c *config) (err error) {
	for _, credentials := range c.credentials {
		err = signature.Verify(p.header, p.body, credentials)
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
