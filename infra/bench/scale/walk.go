package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

// walk reads all pages of a list and returns the ids on them and the most that a page took.
func walk(ctx context.Context, list api.Operation, organizationID string, query url.Values) ([]string, measurement, error) {
	var ids []string
	var most measurement
	for query != nil {
		counted, used := metered(ctx)
		response, err := list.Serve(counted, &api.Request{OrganizationID: organizationID, RawQuery: query.Encode()})
		if err != nil {
			return nil, most, err
		}
		for _, resource := range response.Document.Data.([]jsonapi.Resource) {
			ids = append(ids, resource.ID)
		}
		total := used.total()
		most.requests, most.units = max(most.requests, total.requests), max(most.units, total.reads)
		if query, err = nextPage(response); err != nil {
			return nil, most, err
		}
	}
	return ids, most, nil
}

// walkConfigs reads all configs page by page and compares them with those that were created.
func (b *bench) walkConfigs(ctx context.Context, list api.Operation, count int) error {
	var want []string
	for n := range count {
		want = append(want, configID(n))
	}
	limit := bound{requests: 2, units: 2 * 101 * maxItem / 4096, why: "2 × the page and one more"}
	return b.walk(ctx, list, many, "all configs", url.Values{"page[size]": {"100"}}, limit, want)
}

// walkEvents reads lists of events page by page and compares them with what was written.
func (b *bench) walkEvents(ctx context.Context, list api.Operation, total int) error {
	walks := []struct {
		name    string
		query   url.Values
		bound   bound
		matches func(e webhook.Event) bool
	}{
		{
			name:    "all events",
			query:   url.Values{},
			bound:   eventBound(100, false),
			matches: func(webhook.Event) bool { return true },
		},
		{
			name:    "a busy document's failures",
			query:   url.Values{"filter[document_id]": {hot}, "filter[document_status]": {"failed"}},
			bound:   eventBound(100, true),
			matches: func(e webhook.Event) bool { return e.DocumentID == hot && e.Status == webhook.Failed },
		},
	}
	for _, w := range walks {
		var want []string
		for n := range total {
			if e := newEvent(n, total); w.matches(e) {
				want = append(want, e.ID)
			}
		}
		slices.Sort(want)
		slices.Reverse(want) // the newest first
		w.query.Set("page[size]", "100")
		if err := b.walk(ctx, list, busy, w.name, w.query, w.bound, want); err != nil {
			return err
		}
	}
	return nil
}

// walkDeliveries reads lists of deliveries page by page and compares them with what was written.
func (b *bench) walkDeliveries(ctx context.Context, list api.Operation, total int) error {
	walks := []struct {
		name    string
		query   url.Values
		bound   bound
		matches func(o webhook.Outcome) bool
	}{
		{
			name:    "all deliveries that will be tried again",
			query:   url.Values{"filter[status]": {"retrying"}},
			bound:   listBound(100, mergedConfigs, true),
			matches: func(o webhook.Outcome) bool { return o.Status == webhook.Retrying },
		},
		{
			name:  "the canceled ones of a config",
			query: url.Values{"filter[status]": {"canceled"}, "filter[webhook_config_id]": {configID(42)}},
			bound: listBound(100, 1, true),
			matches: func(o webhook.Outcome) bool {
				return o.Status == webhook.Canceled && o.Message.ConfigID == configID(42)
			},
		},
		{
			name:  "a busy document's failed ones",
			query: url.Values{"filter[document_id]": {hot}, "filter[status]": {"failed"}},
			bound: documentBound(),
			matches: func(o webhook.Outcome) bool {
				return o.Message.Event.DocumentID == hot && o.Status == webhook.DeliveryFailed
			},
		},
		{
			name:  "a busy document's to a config",
			query: url.Values{"filter[document_id]": {hot}, "filter[webhook_config_id]": {configID(35)}},
			bound: documentBound(),
			matches: func(o webhook.Outcome) bool {
				return o.Message.Event.DocumentID == hot && o.Message.ConfigID == configID(35)
			},
		},
		{
			name: "those of one day",
			query: url.Values{
				"filter[created_after]":  {"2026-03-20T00:00:00Z"},
				"filter[created_before]": {"2026-03-21T00:00:00Z"},
			},
			bound: listBound(100, mergedConfigs, false),
			matches: func(o webhook.Outcome) bool {
				at := o.Message.RequestedAt.Format("2006-01-02T15:04:05")
				return at > "2026-03-20T00:00:00" && at < "2026-03-21T00:00:00"
			},
		},
	}
	found := make([][]webhook.Message, len(walks))
	for n := range total {
		o := newOutcome(n, total)
		for i, w := range walks {
			if w.matches(o) {
				found[i] = append(found[i], o.Message)
			}
		}
	}
	for i, w := range walks {
		// The order of a list: the newest event first, and of one event the greatest config id.
		slices.SortFunc(found[i], func(a, b webhook.Message) int {
			if order := strings.Compare(b.Event.ID, a.Event.ID); order != 0 {
				return order
			}
			return strings.Compare(b.ConfigID, a.ConfigID)
		})
		var want []string
		for _, m := range found[i] {
			want = append(want, m.DeliveryID())
		}
		w.query.Set("page[size]", "100")
		if err := b.walk(ctx, list, busy, w.name, w.query, w.bound, want); err != nil {
			return err
		}
	}
	return nil
}

// walk prints what a list takes that is read to its end, and errors if it is not what it should be.
func (b *bench) walk(
	ctx context.Context, list api.Operation, organizationID, name string, query url.Values, limit bound, want []string,
) error {
	got, most, err := walk(ctx, list, organizationID, query)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%s: not each once and in order (-want +got):\n%s", name, diff)
	}
	fmt.Fprintf(b.out, "%6d items: %s, page by page; at most %d requests and %.1f read units a page\n",
		len(got), name, most.requests, most.units)
	if problem := judge(limit, measurement{}, most); problem != "" {
		b.problems = append(b.problems, name+", page by page: "+problem)
	}
	return nil
}
