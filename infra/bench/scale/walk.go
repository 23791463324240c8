package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/delivery"
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
		requests, units := used.total()
		most.requests, most.units = max(most.requests, requests), max(most.units, units)
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
	limit := bound{2, 2 * 101 * maxItem / 4096, "2 × the page and one more"}
	return b.walk(ctx, list, many, "all configs", url.Values{"page[size]": {"100"}}, limit, want)
}

// walkDeliveries reads lists of deliveries page by page and compares them with what was written.
func (b *bench) walkDeliveries(ctx context.Context, list api.Operation, total int) error {
	mergedKeys, singleKeys := listBound(100, mergedConfigs, true), listBound(100, 1, true)
	walks := []struct {
		name    string
		query   url.Values
		bound   bound
		matches func(e delivery.Entry) bool
	}{
		{"all deliveries that will be tried again", url.Values{"filter[status]": {"retrying"}}, mergedKeys, func(e delivery.Entry) bool {
			return e.Status == webhook.Retrying
		}},
		{"the canceled ones of a config", url.Values{"filter[status]": {"canceled"}, "filter[webhook_config_id]": {configID(42)}}, listBound(100, 1, false), func(e delivery.Entry) bool {
			return e.Status == webhook.Canceled && e.Message.ConfigID == configID(42)
		}},
		{"a busy document's failed ones", url.Values{"filter[document_id]": {hot}, "filter[status]": {"failed"}}, singleKeys, func(e delivery.Entry) bool {
			return e.Message.Event.DocumentID == hot && e.Status == webhook.DeliveryFailed
		}},
		{"a busy document's to a config", url.Values{"filter[document_id]": {hot}, "filter[webhook_config_id]": {configID(35)}}, singleKeys, func(e delivery.Entry) bool {
			return e.Message.Event.DocumentID == hot && e.Message.ConfigID == configID(35)
		}},
		{"those of one day", url.Values{"filter[created_after]": {"2026-03-20T00:00:00Z"}, "filter[created_before]": {"2026-03-21T00:00:00Z"}}, listBound(100, mergedConfigs, false), func(e delivery.Entry) bool {
			at := e.Message.RequestedAt.Format("2006-01-02T15:04:05")
			return at > "2026-03-20T00:00:00" && at < "2026-03-21T00:00:00"
		}},
	}
	found := make([][]delivery.Entry, len(walks))
	for n := range total {
		e := entry(n, total)
		for i, w := range walks {
			if w.matches(e) {
				found[i] = append(found[i], e)
			}
		}
	}
	for i, w := range walks {
		// The order of a list: the newest event first, and of one event the greatest config id.
		slices.SortFunc(found[i], func(a, b delivery.Entry) int {
			if order := strings.Compare(b.Message.Event.ID, a.Message.Event.ID); order != 0 {
				return order
			}
			return strings.Compare(b.Message.ConfigID, a.Message.ConfigID)
		})
		var want []string
		for _, e := range found[i] {
			id, err := webhook.DeliveryID(e.Message.ConfigID, e.Message.Event.ID)
			if err != nil {
				return err
			}
			want = append(want, id)
		}
		w.query.Set("page[size]", "100")
		if err := b.walk(ctx, list, busy, w.name, w.query, w.bound, want); err != nil {
			return err
		}
	}
	return nil
}

// walk prints what a list takes that is read to its end, and errors if it is not what it should be.
func (b *bench) walk(ctx context.Context, list api.Operation, organizationID, name string, query url.Values, limit bound, want []string) error {
	got, most, err := walk(ctx, list, organizationID, query)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("%s: not each once and in order (-want +got):\n%s", name, diff)
	}
	fmt.Fprintf(b.out, "%6d items: %s, page by page; at most %d requests and %.1f read units a page\n", len(got), name, most.requests, most.units)
	if problem := judge(limit, measurement{}, most); problem != "" {
		b.problems = append(b.problems, name+", page by page: "+problem)
	}
	return nil
}
