package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

// lists are the calls that read what grows, and the tables that it is in.
var lists = []struct{ name, path, table string }{
	{"list-events", "/v1/webhooks/events", "EventsTable"},
	{"list-deliveries", "/v1/webhooks/deliveries", "DeliveriesTable"},
}

// listCalls is how often each list is read.
const listCalls = 100

// measureLists reads lists of organizations that have more and more, in turn.
func (b *bench) measureLists(ctx context.Context) error {
	lengths := []int{10, 10_000, b.items}
	names := make([]string, len(lengths))
	for i, length := range lengths {
		names[i] = "org_list_" + strconv.Itoa(length)
	}
	for _, list := range lists { // each on a stack of its own, whose memory holds one long table
		s, err := b.startWarm(ctx, organizationFlags(names...)...)
		if err != nil {
			return err
		}
		for i, length := range lengths {
			if err := s.register(ctx, names[i], "/fast"); err != nil {
				return err
			}
			if err := s.fill(ctx, names[i], list.table, length); err != nil {
				return err
			}
		}
		took := make([][]time.Duration, len(lengths))
		for range listCalls {
			for i, name := range names {
				d, err := s.page(ctx, name, list.path, min(100, lengths[i]))
				if err != nil {
					return err
				}
				took[i] = append(took[i], d)
			}
		}
		for i, length := range lengths {
			b.compare(
				fmt.Sprintf("%s, a page of 100 in the middle of %d", list.name, length), milli(median(took[i])), "ms",
				strconv.Itoa(lengths[1]), milli(median(took[1])),
			)
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// oldest is how long ago the first of the listed events was.
const oldest = 30 * 24 * time.Hour

// page reads a page from the middle of a list, and returns how long that took.
func (s *stack) page(ctx context.Context, organization, path string, want int) (time.Duration, error) {
	var answer struct{ Data []struct{ ID string } }
	middle := time.Now().Add(-oldest / 2)
	if want < 100 {
		middle = time.Now()
	}
	path += "?page[size]=100&filter[created_before]=" + middle.UTC().Format(time.RFC3339)
	began := time.Now()
	err := s.call(ctx, http.MethodGet, path, keyOf(organization), nil, &answer)
	took := time.Since(began)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &s.errors) // where the function says why
	} else if len(answer.Data) != want {
		err = fmt.Errorf("%s of %s has %d items on a page, not %d", path, organization, len(answer.Data), want)
	}
	return took, err
}

// fill lets a table have n items of an organization: the functions make the first, and the others are copies of it.
func (s *stack) fill(ctx context.Context, organization, table string, n int) error {
	first, err := s.write(ctx, organization, 0)
	if err != nil {
		return err
	}
	if _, _, err := s.endpoint.latencies(ctx, []written{first}); err != nil {
		return err
	}
	if err := s.drained(ctx); err != nil {
		return err
	}
	item, err := s.itemOf(ctx, table, organization)
	if err != nil {
		return err
	}
	return s.multiply(ctx, table, item, n-1)
}

// itemOf returns the item of an organization in a table.
func (s *stack) itemOf(ctx context.Context, table, organization string) (map[string]types.AttributeValue, error) {
	filter := "organization_id = :o"
	pages := dynamodb.NewScanPaginator(s.dynamo, &dynamodb.ScanInput{
		TableName: &table, FilterExpression: &filter,
		ExpressionAttributeValues: map[string]types.AttributeValue{":o": &types.AttributeValueMemberS{Value: organization}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			return page.Items[0], nil
		}
	}
	return nil, fmt.Errorf("%s has nothing of %s", table, organization)
}

// multiply writes n copies of an item, whose events were at times of the days before.
func (s *stack) multiply(ctx context.Context, table string, item map[string]types.AttributeValue, n int) error {
	const step = 25
	begin := time.Now().Add(-oldest)
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for from := w * step; from < n && errs[w] == nil; from += writers * step {
				var puts []types.WriteRequest
				for i := from; i < min(from+step, n); i++ {
					copied := maps.Clone(item)
					at := begin.Add(time.Duration(float64(oldest) * float64(i) / float64(n)))
					copied["event_id"] = &types.AttributeValueMemberS{Value: webhook.NewEventID(at, strconv.Itoa(i))}
					puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: copied}})
				}
				_, errs[w] = s.dynamo.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
					RequestItems: map[string][]types.WriteRequest{table: puts},
				})
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
