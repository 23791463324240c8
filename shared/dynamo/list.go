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
			if candidates, err = t.read(ctx, candidates, false); err != nil {
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

// read reads the items of deliveries of which only the keys are known. Those that are gone are left out. consistent
// says that they must be as they are now.
func (t *Deliveries) read(ctx context.Context, deliveries []*webhook.Delivery, consistent bool) ([]*webhook.Delivery, error) {
	request := types.KeysAndAttributes{ConsistentRead: &consistent}
	for _, d := range deliveries {
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

// Find returns the deliveries with any of these keys that there are, as they are now, newest first.
func (t *Deliveries) Find(ctx context.Context, keys []webhook.Key) ([]webhook.Delivery, error) {
	var found []webhook.Delivery
	for from := 0; from < len(keys); from += maxChunk {
		var wanted []*webhook.Delivery
		for _, k := range keys[from:min(from+maxChunk, len(keys))] {
			wanted = append(wanted, &webhook.Delivery{ConfigID: k.ConfigID, Event: webhook.Event{ID: k.EventID}})
		}
		read, err := t.read(ctx, wanted, true)
		if err != nil {
			return nil, err
		}
		for _, d := range read {
			if slices.ContainsFunc(keys, func(k webhook.Key) bool { return k == d.Key() }) {
				found = append(found, *d)
			}
		}
	}
	slices.SortFunc(found, func(a, b webhook.Delivery) int { return newestFirst(&a, &b) })
	return found, nil
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
	var sources []*source
	for _, id := range s.ConfigIDs {
		one := &source{
			deliveries: t,
			config:     id,
			sort:       "event_id",
			oldest:     oldest,
			latest:     latest,
			after:      s.After,
			// Most pages take a little of each config; the next chunk is larger.
			chunk: min(maxChunk, s.Limit+1, max(2, 2*(s.Limit+1)/len(s.ConfigIDs))),
			done:  oldest > latest,
		}
		if s.Unsettled() {
			one.index, one.sort = unsettledIndex, "unsettled"
		}
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
	deliveries     *Deliveries
	index          string // "" for the table
	config         string
	sort           string // the attribute that holds the event id
	oldest, latest string // event ids, inclusive
	after          *webhook.Place
	chunk          int

	ready []*webhook.Delivery
	start item
	done  bool
}

// fill reads chunks until a delivery is ready or the end is reached.
func (s *source) fill(ctx context.Context) error {
	for len(s.ready) == 0 && !s.done {
		input := &dynamodb.QueryInput{
			TableName: &s.deliveries.Table, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(s.chunk)), ExclusiveStartKey: s.start,
			KeyConditionExpression:    aws.String("config_id = :config AND #sort BETWEEN :oldest AND :latest"),
			ExpressionAttributeNames:  map[string]string{"#sort": s.sort},
			ExpressionAttributeValues: item{":config": str(s.config), ":oldest": str(s.oldest), ":latest": str(s.latest)},
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
		found, err := toDeliveries(out.Items) // items of an index have only their keys
		if err != nil {
			return err
		}
		for _, d := range found {
			if s.after == nil || newer(&webhook.Delivery{ConfigID: s.after.ConfigID, Event: webhook.Event{ID: s.after.EventID}}, d) {
				s.ready = append(s.ready, d)
			}
		}
	}
	return nil
}
