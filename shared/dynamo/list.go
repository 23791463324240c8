package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	documentIndex  = "by_document"
	unsettledIndex = "unsettled"

	// maxExamined is how many items beyond the limit one List looks at before it stops short.
	maxExamined = 300
	// maxChunk is the number of items one query reads.
	maxChunk = 100
	// maxParallel is how many queries run at once.
	maxParallel = 16
)

// List returns at most s.Limit deliveries of s, newest first, and the place to go on from, nil at
// the end. It examines a bounded number of items, so under a filter it may stop short.
func (t *Deliveries) List(ctx context.Context, s webhook.Selection) ([]webhook.Delivery, *webhook.Place, error) {
	sources := t.sources(s)
	if err := t.fill(ctx, sources); err != nil {
		return nil, nil, err
	}
	var found []webhook.Delivery
	var last *webhook.Place
	for examined := 0; ; {
		next, err := newest(ctx, sources)
		if err != nil {
			return nil, nil, err
		}
		if next == nil {
			return found, nil, nil
		}
		if len(found) == s.Limit || examined == s.Limit+maxExamined {
			return found, last, nil
		}
		most, byKey := 1, next.index != ""
		if byKey {
			// An index holds keys alone, and every item behind them costs a read: first as many are read as
			// are still wanted, then ever more, so that what matches rarely does not take many requests.
			most = min(maxChunk, max(s.Limit-len(found), examined), s.Limit+maxExamined-examined)
		}
		candidates, err := take(ctx, sources, most)
		if err != nil {
			return nil, nil, err
		}
		examined += len(candidates)
		last = placeOf(candidates[len(candidates)-1])
		if byKey {
			if candidates, err = t.read(ctx, candidates); err != nil {
				return nil, nil, err
			}
		}
		for _, d := range candidates {
			if len(found) == s.Limit {
				return found, placeOf(&found[s.Limit-1]), nil
			}
			if s.Matches(d) {
				found = append(found, *d)
			}
		}
	}
}

func placeOf(d *webhook.Delivery) *webhook.Place {
	return &webhook.Place{EventID: d.Event.ID, ConfigID: d.ConfigID}
}

// read reads the items of deliveries of which only the keys are known. Those that are gone are left out.
func (t *Deliveries) read(ctx context.Context, keys []*webhook.Delivery) ([]*webhook.Delivery, error) {
	request := types.KeysAndAttributes{}
	for _, d := range keys {
		request.Keys = append(request.Keys, deliveryKey(d.ConfigID, d.Event.ID))
	}
	var items []item
	_, err := batchGet(ctx, t.Client, map[string]types.KeysAndAttributes{t.Table: request}, func(_ string, found item) {
		items = append(items, found)
	})
	if err != nil {
		return nil, fmt.Errorf("reading deliveries: %w", err)
	}
	return toDeliveries(items)
}

// toDeliveries returns deliveries from new to old.
func toDeliveries(items []item) ([]*webhook.Delivery, error) {
	var deliveries []*webhook.Delivery
	for _, one := range items {
		d, err := toDelivery(one)
		if err != nil {
			return nil, err
		}
		deliveries = append(deliveries, d)
	}
	slices.SortFunc(deliveries, newestFirst)
	return deliveries, nil
}

// sources returns one source for each query whose results are merged.
func (t *Deliveries) sources(s webhook.Selection) []*source {
	oldest, latest := webhook.FirstEventID(time.Time{}), webhook.FirstEventID(maxTime())
	if !s.CreatedAfter.IsZero() {
		oldest = webhook.FirstEventID(s.CreatedAfter)
	}
	if !s.CreatedBefore.IsZero() {
		latest = webhook.FirstEventID(s.CreatedBefore)
	}
	if s.After != nil {
		latest = min(latest, s.After.EventID)
	}
	make := func(index, hash, sort, value string) *source {
		return &source{
			deliveries: t, index: index, hash: hash, sort: sort, value: value, oldest: oldest, latest: latest, after: s.After,
			chunk: min(maxChunk, s.Limit+1), done: oldest > latest,
		}
	}
	if s.DocumentID != "" {
		one := make(documentIndex, "document_key", "event_id", documentKey(s.OrganizationID, s.DocumentID))
		one.ties = true
		return []*source{one}
	}
	var sources []*source
	for _, id := range s.ConfigIDs {
		one := make("", "config_id", "event_id", id)
		if s.Unsettled() {
			one = make(unsettledIndex, "config_id", "unsettled", id)
		}
		// Most pages take a little of each config; the next chunk is larger.
		one.chunk = min(one.chunk, max(2, 2*(s.Limit+1)/len(s.ConfigIDs)))
		sources = append(sources, one)
	}
	return sources
}

// maxTime is after every event.
func maxTime() time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }

// fill reads the first chunk of all sources.
func (t *Deliveries) fill(ctx context.Context, sources []*source) error {
	errs := make([]error, len(sources))
	limit := make(chan struct{}, maxParallel)
	var wait sync.WaitGroup
	for i, one := range sources {
		limit <- struct{}{}
		wait.Go(func() {
			errs[i] = one.fill(ctx)
			<-limit
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// newest returns the source with the newest delivery, nil if all are at their end.
func newest(ctx context.Context, sources []*source) (*source, error) {
	var best *source
	for _, one := range sources {
		if err := one.fill(ctx); err != nil {
			return nil, err
		}
		if len(one.ready) > 0 && (best == nil || newer(one.ready[0], best.ready[0])) {
			best = one
		}
	}
	return best, nil
}

// take removes the newest deliveries of all sources, at most so many.
func take(ctx context.Context, sources []*source, most int) ([]*webhook.Delivery, error) {
	var taken []*webhook.Delivery
	for len(taken) < most {
		next, err := newest(ctx, sources)
		if err != nil || next == nil {
			return taken, err
		}
		taken = append(taken, next.ready[0])
		next.ready = next.ready[1:]
	}
	return taken, nil
}

// newestFirst compares deliveries by their places in a list.
func newestFirst(a, b *webhook.Delivery) int {
	return cmp.Or(strings.Compare(b.Event.ID, a.Event.ID), strings.Compare(b.ConfigID, a.ConfigID))
}

func newer(a, b *webhook.Delivery) bool { return newestFirst(a, b) < 0 }

// source reads one partition of the table or of an index from new to old, a chunk at a time.
type source struct {
	deliveries        *Deliveries
	index, hash, sort string
	value             string
	oldest, latest    string // event ids, inclusive
	after             *webhook.Place
	chunk             int
	ties              bool // several deliveries, to different configs, may have one event id

	ready []*webhook.Delivery
	held  []*webhook.Delivery
	start item
	done  bool
}

// fill reads chunks until a delivery is ready or the end is reached.
func (s *source) fill(ctx context.Context) error {
	for len(s.ready) == 0 && !s.done {
		input := &dynamodb.QueryInput{
			TableName: &s.deliveries.Table, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(s.chunk)), ExclusiveStartKey: s.start,
			KeyConditionExpression:    aws.String("#hash = :value AND #sort BETWEEN :oldest AND :latest"),
			ExpressionAttributeNames:  map[string]string{"#hash": s.hash, "#sort": s.sort},
			ExpressionAttributeValues: item{":value": str(s.value), ":oldest": str(s.oldest), ":latest": str(s.latest)},
		}
		if s.index != "" {
			input.IndexName = &s.index
		}
		out, err := s.deliveries.Client.Query(ctx, input)
		if err != nil {
			return fmt.Errorf("listing deliveries: %w", err)
		}
		if s.start = out.LastEvaluatedKey; s.start == nil {
			s.done = true
		}
		s.chunk = min(maxChunk, 2*s.chunk)
		found, err := toDeliveries(out.Items) // of an index only their keys
		if err != nil {
			return err
		}
		if s.ties {
			found = s.hold(found)
		}
		for _, d := range found {
			if s.after == nil || newer(&webhook.Delivery{ConfigID: s.after.ConfigID, Event: webhook.Event{ID: s.after.EventID}}, d) {
				s.ready = append(s.ready, d)
			}
		}
	}
	return nil
}

// hold returns what may be listed of found and of what was held back before: all but the oldest
// event, of which the next chunk may bring more. The index does not say in which order it holds the
// deliveries of one event, but a place in the list needs one.
func (s *source) hold(found []*webhook.Delivery) []*webhook.Delivery {
	all := append(s.held, found...)
	slices.SortFunc(all, newestFirst)
	s.held = nil
	if s.done || len(all) == 0 {
		return all
	}
	oldest := all[len(all)-1].Event.ID
	n := slices.IndexFunc(all, func(d *webhook.Delivery) bool { return d.Event.ID == oldest })
	s.held = all[n:]
	return all[:n:n]
}
