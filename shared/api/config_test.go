package api_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func configPath(id string) string { return "/v1/webhooks/configs/" + id }

// change is the request that updates a config.
func change(id, attributes string) call {
	body := `{"data":{"type":"webhook_config","id":"` + id + `","attributes":{` + attributes + `}}}`
	return call{method: "PATCH", target: configPath(id), body: body}
}

func rotate(id, body string) call {
	return call{method: "POST", target: configPath(id) + "/rotate-secret", body: body}
}

func overlapOf(seconds string) string {
	return `{"data":{"type":"webhook_config","attributes":{"overlap_seconds":` + seconds + `}}}`
}

func TestCreateShowsCredentialsOnce(t *testing.T) {
	w := newWorld(t)
	got := w.do(create(`"description":"Billing\n\tüñ <&>","subscribed_statuses":["failed","processed"]`))
	golden(t, "create", got)
	path := got.header.Get("Location")
	golden(t, "get-created", w.do(get(path))) // world.do looks for the secrets
	id := strings.TrimPrefix(path, "/v1/webhooks/configs/")
	c := w.configs[ours+"/"+id]
	if c == nil || !webhook.ValidConfigID(id) || c.Version != 1 {
		t.Fatalf("stored as %q: %+v", id, c)
	}
	if !strings.Contains(c.Sealed, w.secrets[0]) || !strings.Contains(c.Sealed, ours+"/"+id) {
		t.Errorf("stored as %q: %+v", id, c)
	}
}

func TestCreateTakesWhatTheContractAllows(t *testing.T) {
	for name, c := range map[string]call{
		"inactive":              create(`"is_active":false`),
		"all statuses":          create(`"subscribed_statuses":["failed","processed","processing","submitted","pending"]`),
		"an empty description":  create(`"description":""`),
		"a long description":    create(`"description":"` + strings.Repeat("😀", 500) + `"`),
		"a surrogate pair":      create(`"description":"\ud83d\ude00 \\ud83d"`),
		"a long URL":            create(`"url":"https://hooks.example.com/` + strings.Repeat("a", 2022) + `"`),
		"a URL in capitals":     create(`"url":"HTTPS://HOOKS.EXAMPLE.COM:443/A?b=%5Bc%5D&d=%7a"`),
		"Punycode":              create(`"url":"https://xn--bcher-kva.example./%C3%BC"`),
		"a public IPv4 address": create(`"url":"https://8.8.8.8/"`),
		"a public IPv6 address": create(`"url":"https://[2606:4700:4700::1111]:8443?x"`),
		"a local id":            post(strings.Replace(create("").body, `"attributes"`, `"lid":"mine","attributes"`, 1)),
		"no relationships":      post(strings.Replace(create("").body, `"attributes"`, `"relationships":{},"attributes"`, 1)),
		"members to be ignored": post(`{"jsonapi":{"version":"1.1"},"meta":{"a":1},"x":1,
			"data":{"type":"webhook_config","meta":{},"links":{},"@x":1,
			"attributes":{"@note":{},"url":"https://hooks.example.com","subscribed_statuses":["failed"]}}}`),
		"white space around all": post(" \r\n\t" + create("").body + "\n"),
		"64 KiB exactly":         post(create("").body + strings.Repeat(" ", 64<<10-len(create("").body))),
	} {
		t.Run(name, func(t *testing.T) { newWorld(t).must(201, c) })
	}
}

func TestCreateInSandboxTakesHTTP(t *testing.T) {
	w := newWorld(t)
	w.policy.AllowHTTP = true
	w.must(201, create(`"url":"http://hooks.example.com/"`))
	w.refused(t, refusal{
		call:     create(`"url":"http://127.0.0.1/"`),
		status:   422,
		problems: one("address_not_allowed", "pointer /data/attributes/url"),
	})
}

func TestCreateStopsAtTheLimit(t *testing.T) {
	w := newWorld(t)
	w.limit = 2
	w.config(theirs, 1, nil)
	w.must(201, create(""))
	last := w.must(201, create("")).one(t).ID
	w.refused(t, refusal{call: create(""), status: 409, problems: one("config_limit_reached", "")})
	w.must(204, call{method: "DELETE", target: configPath(last)})
	w.must(201, create(""))
}

func TestGetAndDelete(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, func(c *webhook.Config) {
		c.Active, c.DeactivatedReason, c.FailureCount = false, webhook.EndpointGone, 7
		c.FailingSince = webhook.At(start.Add(-48 * time.Hour))
		c.PreviousSealed, c.PreviousExpiresAt = "sealed", webhook.At(start.Add(time.Hour))
	})
	golden(t, "get", w.do(get(configPath(c.ID))))
	w.now = start.Add(time.Hour) // the overlap is over
	golden(t, "get-after-overlap", w.do(get(configPath(c.ID))))
	golden(t, "delete", w.do(call{method: "DELETE", target: configPath(c.ID)}))
	golden(t, "get-deleted", w.do(get(configPath(c.ID))))
	for _, again := range []call{{method: "DELETE", target: configPath(c.ID)}, change(c.ID, ""), rotate(c.ID, "")} {
		w.refused(t, refusal{call: again, status: 404, problems: one("not_found", "")})
	}
}

func TestListConfigs(t *testing.T) {
	w := newWorld(t)
	golden(t, "list-configs-empty", w.do(get("/v1/webhooks/configs")))
	w.config(theirs, 1, nil)
	var all, active []string
	for n := range 40 {
		c := w.config(ours, n, func(c *webhook.Config) { c.Active = n%2 == 0 })
		all = append(all, c.ID)
		if c.Active {
			active = append(active, c.ID)
		}
	}
	golden(t, "list-configs-page", w.do(get("/v1/webhooks/configs?page[size]=1&filter%5Bis_active%5D=true")))
	for _, test := range []struct {
		name, query string
		want        []string
		sizes       []int
	}{
		{"pages of 15 by default", "", all, []int{15, 15, 10}},
		{"pages of one", "?page[size]=1", all, slices.Repeat([]int{1}, 40)},
		{"a last page that is full has no next", "?page[size]=20", all, []int{20, 20}},
		{"one page", "?page[size]=100", all, []int{40}},
		{"one page that is just full", "?page%5Bsize%5D=40", all, []int{40}},
		{"active ones", "?filter[is_active]=true&page[size]=7", active, []int{7, 7, 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			ids, sizes := w.pages("/v1/webhooks/configs" + test.query)
			if diff := gocmp.Diff(test.want, ids); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(test.sizes, sizes); diff != "" {
				t.Errorf("page sizes (-want +got):\n%s", diff)
			}
		})
	}
}

// pages follows links.next to the end, and checks the links on the way.
func (w *world) pages(target string) (ids []string, sizes []int) {
	w.t.Helper()
	first := ""
	for target != "" {
		d := w.must(200, get(target))
		first = cmp.Or(first, d.Links.First)
		canonical := canonicalURL(w.t, target)
		if d.Links.Self != canonical || d.Links.First != first || strings.Contains(first, "page%5Bafter") {
			w.t.Fatalf("links of %s: self %s, first %s; the first page said %s", canonical, d.Links.Self, d.Links.First, first)
		}
		page := d.ids(w.t)
		ids, sizes = append(ids, page...), append(sizes, len(page))
		target = d.Links.Next
	}
	return ids, sizes
}

// canonicalURL sorts and encodes the query parameters.
func canonicalURL(t testing.TB, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = u.Query().Encode()
	return u.String()
}

func TestCursorsGoWithTheirList(t *testing.T) {
	w := newWorld(t)
	var last *webhook.Config
	for n := range 3 {
		w.config(theirs, n, nil)
		last = w.config(ours, n, nil)
		w.delivery(last, n, nil)
	}
	cursor := func(target string) string {
		u, err := url.Parse(w.must(200, get(target)).Links.Next)
		if err != nil || u.Query().Get("page[after]") == "" {
			t.Fatalf("%s has no next page", target)
		}
		return u.Query().Get("page[after]")
	}
	ofConfigs := cursor("/v1/webhooks/configs?page[size]=1")
	ofActive := cursor("/v1/webhooks/configs?page[size]=1&filter[is_active]=true")
	ofDeliveries := cursor("/v1/webhooks/deliveries?page[size]=1")
	w.must(200, get("/v1/webhooks/configs?page[size]=100&page[after]="+ofConfigs)) // the size may change
	flipped := []byte(ofConfigs)
	flipped[3] ^= 1
	for name, c := range map[string]call{
		"with another filter":      get("/v1/webhooks/configs?filter[is_active]=true&page[after]=" + ofConfigs),
		"with the opposite filter": get("/v1/webhooks/configs?filter[is_active]=false&page[after]=" + ofActive),
		"without its filter":       get("/v1/webhooks/configs?page[after]=" + ofActive),
		"of the other list":        get("/v1/webhooks/configs?page[after]=" + ofDeliveries),
		"of another organization":  {organization: theirs, method: "GET", target: "/v1/webhooks/configs?page[after]=" + ofConfigs},
		"of another's deliveries":  {organization: theirs, method: "GET", target: "/v1/webhooks/deliveries?page[after]=" + ofDeliveries},
		"cut short":                get("/v1/webhooks/configs?page[after]=" + ofConfigs[:len(ofConfigs)-1]),
		"cut to its checksum":      get("/v1/webhooks/configs?page[after]=" + ofConfigs[:16]),
		"with a changed character": get("/v1/webhooks/configs?page[after]=" + string(flipped)),
		"with something after it":  get("/v1/webhooks/configs?page[after]=" + ofConfigs + "A"),
		"with padding":             get("/v1/webhooks/configs?page[after]=" + ofConfigs + "="),
		"with a line break":        get("/v1/webhooks/configs?page[after]=" + ofConfigs + "%0A"),
		"of deliveries at a resend": {
			method: "POST",
			target: "/v1/webhooks/resend?page[after]=" + ofDeliveries,
			body:   resendOf(`"webhook_config_id":"` + last.ID + `","since":"2026-01-01T00:00:00Z"`).body,
		},
		"of all, at a config's list": get("/v1/webhooks/deliveries?filter[webhook_config_id]=" + last.ID + "&page[after]=" + ofDeliveries),
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refused(t, refusal{call: c, status: 400, problems: one("invalid_cursor", "parameter page[after]")})
		})
	}
}

func TestUpdateMerges(t *testing.T) {
	before := func(c *webhook.Config) {
		c.Active, c.DeactivatedReason = false, webhook.EndpointFailing
		c.FailureCount, c.FailingSince = 20, webhook.At(start.Add(-48*time.Hour))
	}
	for _, test := range []struct {
		name, attributes string
		before           func(*webhook.Config)
		want             func(*webhook.Config) // changes the config from before to what it must be
	}{
		{"nothing", ``, nil, func(*webhook.Config) {}},
		{"only the url, which forgets the failures", `"url":"https://other.example.com/"`, before, func(c *webhook.Config) {
			c.URL, c.FailureCount, c.FailingSince = "https://other.example.com/", 0, webhook.Time{}
		}},
		{"the same url, which does not", `"url":"https://hooks.example.com/docuhook"`, before, func(*webhook.Config) {}},
		{"only the description", `"description":""`, before, func(c *webhook.Config) { c.Description = "" }},
		{"statuses in full", `"subscribed_statuses":["pending"]`, nil, func(c *webhook.Config) {
			c.SubscribedStatuses = []webhook.Status{webhook.Pending}
		}},
		{"reactivated, which forgets reason and failures", `"is_active":true`, before, func(c *webhook.Config) {
			c.Active, c.DeactivatedReason, c.FailureCount, c.FailingSince = true, "", 0, webhook.Time{}
		}},
		{"deactivated, which keeps the failures", `"is_active":false`, func(c *webhook.Config) {
			c.FailureCount = 3
		}, func(c *webhook.Config) {
			c.Active = false
		}},
		{"deactivated again, which keeps the reason", `"is_active":false`, before, func(*webhook.Config) {}},
		{"everything", `"url":"https://other.example.com/","description":"x","subscribed_statuses":["failed","pending"],
			"is_active":true`, before, func(c *webhook.Config) {
			c.URL, c.Description = "https://other.example.com/", "x"
			c.SubscribedStatuses = []webhook.Status{webhook.Failed, webhook.Pending}
			c.Active, c.DeactivatedReason, c.FailureCount, c.FailingSince = true, "", 0, webhook.Time{}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, test.before)
			want := *c
			test.want(&want)
			want.Version++
			want.UpdatedAt = webhook.At(start)
			got := w.do(change(c.ID, test.attributes))
			if diff := gocmp.Diff(want, *w.configs[ours+"/"+c.ID]); diff != "" || got.status != 200 {
				t.Errorf("status %d, stored (-want +got):\n%s", got.status, diff)
			}
			if shown := w.do(get(configPath(c.ID))); shown.body != got.body {
				t.Errorf("update shows\n%s\nget shows\n%s", got.body, shown.body)
			}
		})
	}
	w := newWorld(t)
	golden(t, "update", w.do(change(w.config(ours, 1, before).ID, `"is_active":true`)))
}

func TestUpdateRefusedChangesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	want := *c
	w.must(422, change(c.ID, `"description":"new","url":"http://hooks.example.com","subscribed_statuses":["failed"]`))
	if diff := gocmp.Diff(want, *w.configs[ours+"/"+c.ID]); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	stored := func() *webhook.Config { return w.configs[ours+"/"+c.ID] }
	first := c.Sealed
	expect := func(step, previous string, until time.Time) {
		t.Helper()
		if got := stored(); got.PreviousSealed != previous || !got.PreviousExpiresAt.Equal(until) || got.Sealed == previous {
			t.Errorf("%s: the previous credentials are %q until %s, want %q until %s",
				step, got.PreviousSealed, got.PreviousExpiresAt, previous, until)
		}
	}

	golden(t, "rotate", w.do(rotate(c.ID, "")))
	expect("by default", first, start.Add(24*time.Hour))
	second := stored().Sealed

	w.now = start.Add(time.Hour)
	w.must(200, rotate(c.ID, overlapOf("604800")))
	expect("again within the overlap", first, start.Add(24*time.Hour))
	if stored().Sealed == second {
		t.Error("the second rotation has kept the new credentials")
	}
	third := stored().Sealed

	w.now = start.Add(24 * time.Hour) // the very end of the overlap
	w.must(200, rotate(c.ID, overlapOf("604800")))
	expect("after the overlap, for a week", third, w.now.Add(7*24*time.Hour))

	golden(t, "rotate-at-once", w.do(rotate(c.ID, overlapOf("0"))))
	expect("at once, within an overlap", "", time.Time{})

	fifth := stored().Sealed
	w.must(200, rotate(c.ID, overlapOf("1.0")))
	expect("for a second", fifth, w.now.Add(time.Second))
	if stored().Version != 8 || !stored().UpdatedAt.Equal(w.now) {
		t.Errorf("version %d, updated at %s", stored().Version, stored().UpdatedAt)
	}
	w.must(200, rotate(c.ID, `{"data":{"type":"webhook_config","id":"`+c.ID+`"}}`))
}

func TestRotateIssuesNewCredentials(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	seen := map[any]bool{}
	for range 10 {
		attributes := w.must(200, rotate(c.ID, "")).one(t).Attributes
		token, secret := attributes["token"], attributes["secret"]
		if seen[token] || seen[secret] {
			t.Errorf("%v or %v is there twice", token, secret)
		}
		seen[token], seen[secret] = true, true
		if prefix := attributes["secret_prefix"].(string); !strings.HasPrefix(secret.(string), prefix) {
			t.Errorf("the prefix %s is not that of %s", prefix, secret)
		}
	}
}

func TestConcurrentChangesAreTriedAgainOnce(t *testing.T) {
	for _, request := range []func(id string) call{
		func(id string) call { return change(id, `"description":"mine"`) },
		func(id string) call { return rotate(id, "") },
	} {
		for conflicts, status := range map[int]int{1: 200, 2: 409} {
			t.Run(fmt.Sprintf("%s with %d conflicts", request("x").target, conflicts), func(t *testing.T) {
				w := newWorld(t)
				c := w.config(ours, 1, nil)
				left := conflicts
				w.beforeUpdate = func() {
					if left > 0 {
						left--
						stored := w.configs[ours+"/"+c.ID]
						stored.URL = fmt.Sprintf("https://%d.example.com/", left)
						stored.Version++
					}
				}
				if status == 409 {
					w.refused(t, refusal{call: request(c.ID), status: 409, problems: one("version_conflict", "")})
					return
				}
				shown := w.must(200, request(c.ID)).one(t).Attributes
				stored := w.configs[ours+"/"+c.ID]
				if stored.URL != "https://0.example.com/" || shown["url"] != stored.URL {
					t.Errorf("the other's change is lost: %s is stored, %s shown", stored.URL, shown["url"])
				}
				if secret, ok := shown["secret"].(string); ok && !strings.Contains(stored.Sealed, secret) {
					t.Errorf("%s is shown, stored is %s", secret, stored.Sealed)
				}
			})
		}
		t.Run(request("x").target+" of what is deleted meanwhile", func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, nil)
			w.beforeUpdate = func() { delete(w.configs, ours+"/"+c.ID) }
			w.refused(t, refusal{call: request(c.ID), status: 404, problems: one("not_found", "")})
		})
	}
}

func TestOurOwnFailuresSayNothing(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	w.sendErr = func() []error { return []error{errors.New("AccessDenied: arn:aws:sqs:queue")} }
	golden(t, "internal-error", w.do(call{method: "POST", target: configPath(c.ID) + "/test"}))
	if !strings.Contains(w.log.String(), "AccessDenied") || !strings.Contains(w.log.String(), requestID) {
		t.Errorf("the log does not say why:\n%s", w.log.String())
	}

	w.random = strings.NewReader("too short")
	w.refused(t, refusal{call: create(""), status: 500, problems: one("internal_error", "")})
	w.beforeUpdate = func() { panic("whsec_panic") }
	w.refused(t, refusal{call: change(c.ID, ""), status: 500, problems: one("internal_error", "")})
	if !strings.Contains(w.log.String(), "whsec_panic") {
		t.Errorf("the log does not tell of the panic:\n%s", w.log.String())
	}
}

// TestAChangedURLIsLogged: with a leaked key, a URL can be changed and changed back, which nothing else tells.
func TestAChangedURLIsLogged(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, func(c *webhook.Config) { c.URL = "https://hooks.example.com/secret-path" })
	patch := func(attributes string) {
		w.must(200, call{method: "PATCH", target: configPath(c.ID), body: `{"data":{"type":"webhook_config","id":"` + c.ID +
			`","attributes":{` + attributes + `}}}`})
	}
	patch(`"description":"Billing"`)
	patch(`"url":"https://hooks.example.com/secret-path"`)
	if w.log.Len() > 0 {
		t.Errorf("nothing changed, and the log says %s", &w.log)
	}
	patch(`"url":"https://thief.example:8443/?token=4711"`)
	logged := w.log.String()
	for _, want := range []string{
		"organization_id=" + ours, "config_id=" + c.ID, "url_host_before=hooks.example.com", "url_host=thief.example:8443",
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log says %q, want %q", logged, want)
		}
	}
	if strings.Contains(logged, "secret-path") || strings.Contains(logged, "4711") {
		t.Errorf("the log shows more than the host: %s", logged)
	}
}
