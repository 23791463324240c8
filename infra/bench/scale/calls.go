package main

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/jsonapi"
)

// bound is the most that a call may take, whatever the tables hold.
type bound struct {
	requests int
	units    float64
	why      string
}

// call is an API call to measure.
type call struct {
	name         string
	operation    api.Operation
	organization string
	query        url.Values
	page         int // 0 for the first; pages before it are read unmeasured
	bound        bound
}

// measurement is what a call has taken.
type measurement struct {
	items    int
	more     bool // there is a next page
	requests int
	units    float64
}

// measure makes a call. A list that has not so many pages is measured at its last.
func (c call) measure(ctx context.Context) (measurement, error) {
	query := c.query
	for page := 0; ; page++ {
		counted, used := metered(ctx)
		response, err := c.operation.Serve(counted, &api.Request{OrganizationID: c.organization, RawQuery: query.Encode()})
		m := measurement{requests: used.total().requests, units: used.total().reads}
		if err != nil {
			return m, fmt.Errorf("%s: %w", c.name, err)
		}
		m.items = len(response.Document.Data.([]jsonapi.Resource))
		m.more = response.Document.Links.Next != nil
		if page == c.page || !m.more {
			return m, nil
		}
		if query, err = nextPage(response); err != nil {
			return m, fmt.Errorf("%s: page %d: %w", c.name, page+1, err)
		}
	}
}

// nextPage returns the query of the page after a response, nil if there is none.
func nextPage(response *api.Response) (url.Values, error) {
	if response.Document.Links.Next == nil {
		return nil, nil
	}
	next, err := url.Parse(*response.Document.Links.Next)
	if err != nil {
		return nil, err
	}
	return next.Query(), nil
}

// What the bounds are computed with. Sizes of items are in bytes, and a unit reads 8192 of them,
// eventually consistent, or 4096.
const (
	maxItem      = 1024 // a config, or a delivery with a failed attempt
	maxKey       = 256  // an entry of an index that holds keys
	examinedMore = 300  // deliveries beyond the page that a call may look at
	largestChunk = 100  // items that a query reads at most

	documentEvents     = 50  // events of a document that one page of its deliveries reads
	documentDeliveries = 300 // deliveries of a document that one page reads
)

// listBound is the bound of a list of deliveries that merges the queries of some sources and returns
// up to size deliveries. byKey says that the queries find keys alone.
func listBound(size, sources int, byKey bool) bound {
	// Each source reads a share of the page first, and twice as much whenever that is used up.
	chunk := min(largestChunk, size+1, max(2, 2*(size+1)/sources))
	queries, read := sources, sources*chunk
	for left := size + examinedMore + 1; left >= chunk; {
		again := min(sources, left/chunk)
		left -= again * chunk
		chunk = min(largestChunk, 2*chunk)
		queries += again
		read += again * chunk
	}
	b := bound{
		requests: queries,
		units:    0.5 * float64(queries),
		why:      fmt.Sprintf("page and %d examined, %d sources", examinedMore, sources),
	}
	if byKey {
		// The items of what is examined are read one by one, a batch at a time, ever more in each.
		examined := 0
		for examined < size+examinedMore {
			examined += min(largestChunk, max(size, examined), size+examinedMore-examined)
			b.requests++
		}
		b.units += float64(read)*maxKey/8192 + 0.5*float64(examined)
		b.why += ", one by one"
	} else {
		b.units += float64(read) * maxItem / 8192
	}
	b.requests++ // which configs there are
	b.units += math.Ceil(float64(sources) * maxItem / 8192)
	if sources > 1 {
		b.requests++ // and which were deleted
		b.units += 0.5
	}
	return b
}

// eventBound is the bound of a list that returns up to size events. byKey says that its queries find keys alone.
func eventBound(size int, byKey bool) bound {
	// One more tells that there is a next page, and another may be the last of the page before.
	chunk := min(largestChunk, size+2)
	queries := (size+examinedMore)/chunk + 1
	read := queries * chunk
	b := bound{requests: queries, units: 0.5 * float64(queries), why: fmt.Sprintf("page and %d examined", examinedMore)}
	if byKey {
		b.requests += queries // the items of each chunk
		b.units += float64(read)*maxKey/8192 + 0.5*float64(read)
		b.why += ", one by one"
	} else {
		b.units += float64(read) * maxItem / 8192
	}
	return b
}

// documentBound is the bound of a list of a document's deliveries: its events say which there are.
func documentBound() bound {
	b := eventBound(documentEvents, true)
	b.requests += documentDeliveries / largestChunk
	b.units += 0.5 * documentDeliveries
	b.why = fmt.Sprintf("%d events and %d more, %d deliveries, one by one", documentEvents, examinedMore, documentDeliveries)
	return b
}

// deliveryCalls are the calls of list-deliveries, with every combination of filters that is read
// in another way.
func deliveryCalls(list api.Operation) []call {
	config := configID(42)
	var calls []call
	add := func(name string, page int, b bound, parameters ...string) {
		query := url.Values{}
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		calls = append(calls, call{name: name, operation: list, organization: busy, query: query, page: page, bound: b})
	}
	const size, status, byConfig, byDocument = "page[size]", "filter[status]", "filter[webhook_config_id]", "filter[document_id]"
	middle := now().Add(-span / 2)
	at := func(t time.Time) string { return t.Format(time.RFC3339) }
	day := []string{"filter[created_after]", at(middle), "filter[created_before]", at(middle.Add(24 * time.Hour))}
	merged, mergedKeys := listBound(15, mergedConfigs, false), listBound(15, mergedConfigs, true)
	single, singleKeys := listBound(15, 1, false), listBound(15, 1, true)

	add("all", 0, merged)
	add("all, page of 100", 0, listBound(100, mergedConfigs, false), size, "100")
	add("all, tenth page of 100", 9, listBound(100, mergedConfigs, false), size, "100")
	add("delivered", 0, merged, status, "delivered")
	add("canceled (1 %)", 0, mergedKeys, status, "canceled")
	add("failed (3 %)", 0, mergedKeys, status, "failed")
	add("retrying (1 %)", 0, mergedKeys, status, "retrying")
	add("failed, tenth page", 9, mergedKeys, status, "failed")
	add("one day in the middle", 0, merged, day...)
	add("failed in the second half", 0, mergedKeys, status, "failed", "filter[created_after]", at(middle))
	add("canceled before the middle", 0, mergedKeys, status, "canceled", "filter[created_before]", at(middle))
	add("a time without any", 0, merged, "filter[created_after]", at(now()))

	add("a config", 0, single, byConfig, config)
	add("a config, tenth page", 9, single, byConfig, config)
	add("a config, page of 100", 0, listBound(100, 1, false), byConfig, config, size, "100")
	add("a config, delivered", 0, single, byConfig, config, status, "delivered")
	add("a config, failed", 0, singleKeys, byConfig, config, status, "failed")
	add("a config, canceled", 0, singleKeys, byConfig, config, status, "canceled")
	add("a config, one day", 0, single, append(day, byConfig, config)...)

	document := documentBound()
	add("a document", 0, document, byDocument, "doc_00000042")
	add("a busy document", 0, document, byDocument, hot)
	add("a busy document, page of 100", 0, document, byDocument, hot, size, "100")
	add("a busy document, tenth page", 9, document, byDocument, hot)
	add("a busy document, failed", 0, document, byDocument, hot, status, "failed")
	add("a busy document, to a config", 0, document, byDocument, hot, byConfig, configID(35))
	add("a busy document, to a config, failed", 0, document, byDocument, hot, byConfig, configID(35), status, "failed")
	add("a busy document in the second half", 0, document, byDocument, hot, "filter[created_after]", at(middle))
	add("an unknown document", 0, document, byDocument, "doc_unknown")
	return calls
}

// eventCalls are the calls of list-events, with every combination of filters that is read in another way.
func eventCalls(list api.Operation) []call {
	var calls []call
	add := func(name string, page, size int, parameters ...string) {
		query := url.Values{"page[size]": {fmt.Sprint(size)}}
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		byKey := query.Has("filter[document_id]")
		calls = append(calls, call{
			name: name, operation: list, organization: busy, query: query, page: page, bound: eventBound(size, byKey),
		})
	}
	const status, byDocument = "filter[document_status]", "filter[document_id]"
	middle := now().Add(-span / 2)
	day := []string{
		"filter[created_after]", middle.Format(time.RFC3339),
		"filter[created_before]", middle.Add(24 * time.Hour).Format(time.RFC3339),
	}
	add("all", 0, 15)
	add("all, page of 100", 0, 100)
	add("all, tenth page of 100", 9, 100)
	add("of failed documents (1 %)", 0, 15, status, "failed")
	add("of pending documents: none", 0, 15, status, "pending")
	add("one day in the middle", 0, 15, day...)
	add("a time without any", 0, 15, "filter[created_after]", now().Format(time.RFC3339))
	add("a document", 0, 15, byDocument, "doc_00000042")
	add("a busy document", 0, 15, byDocument, hot)
	add("a busy document, page of 100", 0, 100, byDocument, hot)
	add("a busy document, tenth page", 9, 15, byDocument, hot)
	add("a busy document, failed (1 %)", 0, 15, byDocument, hot, status, "failed")
	add("a busy document, one day", 0, 15, append(day, byDocument, hot)...)
	add("an unknown document", 0, 15, byDocument, "doc_unknown")
	return calls
}

// configCalls are the calls that read configs. least is how many of them the rarest filter finds.
func configCalls(configs api.Operation, least int) []call {
	var calls []call
	for _, size := range []int{15, 100} {
		for _, filter := range []struct {
			name, value string
			queries     int
		}{{"all", "", 2}, {"active", "true", 1}, {"inactive", "false", 1}} {
			query := url.Values{"page[size]": {fmt.Sprint(size)}}
			if filter.value != "" {
				query.Set("filter[is_active]", filter.value)
			}
			units := float64(filter.queries) * math.Ceil(float64(size+1)*maxItem/4096)
			one := call{
				name: fmt.Sprintf("%s, page of %d", filter.name, size), operation: configs, organization: many, query: query,
				bound: bound{requests: filter.queries, units: units, why: fmt.Sprintf("%d × the page and one more", filter.queries)},
			}
			calls = append(calls, one)
			if last := least/size - 1; last > 0 {
				one.name, one.page = fmt.Sprintf("%s, page %d of %d", filter.name, last+1, size), last
				calls = append(calls, one)
			}
		}
	}
	return calls
}

// mostGrowth is how many times more units a call may take when its table is ten times larger: pages
// differ a little, but nothing may go on growing.
const mostGrowth = 2

// judge returns what is wrong with a call that was measured on a small and on a large table.
func judge(b bound, small, large measurement) string {
	for _, m := range []measurement{small, large} {
		if m.requests > b.requests {
			return fmt.Sprintf("%d requests are more than %d (%s)", m.requests, b.requests, b.why)
		}
		if m.units > b.units {
			return fmt.Sprintf("%.1f units are more than %.1f (%s)", m.units, b.units, b.why)
		}
	}
	// What was read to its end may have more to read in the large table, up to the bound.
	if small.more && large.units > mostGrowth*small.units {
		return fmt.Sprintf("%.1f units grew to %.1f", small.units, large.units)
	}
	return ""
}
