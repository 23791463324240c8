package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/shared/webhook"
)

// FuzzHandler makes any request to any route of a world that has a config, a delivery and a
// document. Nothing panics, nothing is a 500, and every exchange follows the contract, so that what
// it forbids is refused and what it allows is not; world.do sees to the last two.
func FuzzHandler(f *testing.F) {
	valid := create("").body
	for route := range byte(13) {
		f.Add(route, true, "", valid, jsonAPI, "*/*")
	}
	f.Add(byte(0), true, "", create(`"url":"https://[::1]:99/a%2f?b","description":"\ud83d\ude00"`).body,
		"application/json; charset=utf-8", jsonAPI+"; q=0.5")
	f.Add(byte(2), true, "", `{"data":{"type":"webhook_config","id":"x","attributes":{"is_active":null}}}`,
		jsonAPI+`; profile="a"`, jsonAPI+`; ext="a", */*`)
	f.Add(byte(4), true, "", overlapOf("1e2"), jsonAPI, "text/html")
	f.Add(byte(7), true, "filter[status]=failed&filter[created_after]=2026-01-31T12:00:00.5%2B01:00&page[size]=1", "", "", "")
	f.Add(byte(9), false, "page%5Bafter%5D=AAAA",
		resendOf(`"webhook_config_id":"`+unknownID+`","since":"2026-01-31T00:00:00Z"`).body, jsonAPI, "")
	f.Add(byte(9), true, "", resendOf(`"document_id":"doc"`).body, jsonAPI, "application/json")
	f.Fuzz(func(t *testing.T, route byte, known bool, query, body, contentType, accept string) {
		w := newWorld(t)
		c := w.config(ours, 1, nil)
		d := w.delivery(c, 5, failing)
		w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
		config, delivery, event := c.ID, d.ID(), d.Event.ID
		if !known {
			config, delivery, event = unknownID, "dlv_x", "evt_x"
		}
		requests := []call{
			{method: "POST", target: "/v1/webhooks/configs"},
			{method: "GET", target: "/v1/webhooks/configs"},
			{method: "PATCH", target: configPath(config)},
			{method: "DELETE", target: configPath(config)},
			{method: "POST", target: configPath(config) + "/rotate-secret"},
			{method: "POST", target: configPath(config) + "/test"},
			{method: "GET", target: configPath(config)},
			{method: "GET", target: listDeliveries},
			{method: "POST", target: listDeliveries + "/" + delivery + "/resend"},
			{method: "POST", target: "/v1/webhooks/resend"},
			{method: "GET", target: listDeliveries + "/" + delivery},
			{method: "GET", target: listEvents},
			{method: "GET", target: listEvents + "/" + event},
		}
		request := requests[int(route)%len(requests)]
		if query != "" {
			request.target += "?" + query
		}
		if u, err := url.Parse("https://api.example.com" + request.target); err != nil || u.RawQuery != query {
			t.Skip("no client can send this query")
		}
		request.body, request.header = body, map[string]string{"Content-Type": contentType, "Accept": accept}
		for name, value := range request.header {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Skip("no client can send this", name)
			}
		}
		got := w.do(request)
		if got.status >= 500 {
			t.Fatalf("status %d: %s\n%s", got.status, got.body, w.log.String())
		}
		if got.status >= 400 && len(w.sent) > 0 {
			t.Fatalf("status %d, but %d messages were sent", got.status, len(w.sent))
		}
		if got.status != http.StatusNoContent && !json.Valid([]byte(got.body)) {
			t.Fatalf("the answer is no JSON: %q", got.body)
		}
	})
}

// FuzzAttributes makes requests that are valid but for the values of their attributes and filters,
// where the contract and the handlers must draw the same line.
func FuzzAttributes(f *testing.F) {
	f.Add("https://hooks.example.com/", "Billing", "processed", "failed", "0", "2026-01-31T12:00:00Z", "doc_1", unknownID)
	f.Add("https://[2606:4700::1111]:65535/%41?%zz", "a\tb", "pending", "pending", "604800",
		"2999-12-31T23:59:59.999+23:59", strings.Repeat("ü", 200), "x")
	f.Add("HTTP://a.b.:1", strings.Repeat("😀", 500), "", "done", "1e-1", "1970-02-29T00:00:00-00:00", "", strings.ToUpper(unknownID))
	f.Add("https://1.2.3.4", "\u0085", "failed", "x", "-0.0", "2026-01-31T24:00:00Z", "\x00", "")
	f.Add("https://a..b", "\r\n", "failed", "x", "1e400", "2026-01-31T1:00:00,5Z", "a", "{"+unknownID+"}")
	f.Add("https://1::", "", "failed", "x", `"5"`, "2024-02-29T00:00:00.1234567890123Z", "a", "")
	f.Fuzz(func(t *testing.T, url_, description, first, second, seconds, moment, documentID, configID string) {
		text := func(s string) string {
			encoded, err := json.Marshal(s) // turns what is no UTF-8 into what is
			if err != nil {
				t.Fatal(err)
			}
			return string(encoded)
		}
		for _, lenient := range []bool{false, true} {
			w := newWorld(t)
			if lenient { // as the local stack is
				w.policy = webhook.URLPolicy{AllowHTTP: true, Address: func(string) error { return nil }}
			}
			c := w.config(ours, 1, nil)
			requests := []call{
				create(`"url":` + text(url_)),
				create(`"description":` + text(description)),
				create(`"subscribed_statuses":[` + text(first) + `,` + text(second) + `]`),
				change(c.ID, `"url":`+text(url_)+`,"description":`+text(description)+`,"subscribed_statuses":[`+text(first)+`]`),
				resendOf(`"document_id":` + text(documentID)),
				resendOf(`"document_id":` + text(documentID) + `,"webhook_config_id":` + text(configID)),
				resendOf(`"webhook_config_id":"` + c.ID + `","since":` + text(moment)),
				resendOf(`"webhook_config_id":` + text(configID) + `,"since":"1970-01-01T00:00:00Z","until":` + text(moment)),
				resendOf(`"webhook_config_id":"` + c.ID + `","since":"1970-01-01T00:00:00Z","scope":` + text(second)),
				get(listDeliveries + "?filter[created_after]=" + url.QueryEscape(moment)),
				get(listEvents + "?filter[document_status]=" + url.QueryEscape(first) +
					"&filter[created_before]=" + url.QueryEscape(moment)),
				get(listEvents + "?filter[document_id]=" + url.QueryEscape(documentID)),
				get(listDeliveries + "?filter[document_id]=" + url.QueryEscape(documentID) + "&filter[webhook_config_id]=" + c.ID),
				get(listDeliveries + "?filter[webhook_config_id]=" + url.QueryEscape(configID)),
				get(listDeliveries + "?filter[status]=" + url.QueryEscape(first) + "&page[size]=" + url.QueryEscape(seconds)),
				get("/v1/webhooks/configs?filter[is_active]=" + url.QueryEscape(second)),
			}
			if json.Valid([]byte(seconds)) && !strings.ContainsAny(seconds, "{[") {
				requests = append(requests, rotate(c.ID, overlapOf(seconds)))
			}
			for _, request := range requests {
				if got := w.do(request); got.status >= 500 {
					t.Fatalf("%+v: status %d\n%s", request, got.status, w.log.String())
				}
			}
		}
	})
}
