package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

const unknownID = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"

// problem is one error of an answer: its code and "pointer …", "parameter …", "header …" or "".
type problem struct{ Code, Source string }

// refusal is a request that must be refused, with exactly these problems.
type refusal struct {
	name     string
	call     call
	status   int
	problems []problem
}

// refused sends the request and compares the whole answer.
func (w *world) refused(t *testing.T, r refusal) {
	t.Helper()
	got := w.do(r.call)
	var d document
	if err := json.Unmarshal([]byte(got.body), &d); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	var problems []problem
	common := 0 // the status that all errors have, 400 if they differ
	for _, e := range d.Errors {
		source := ""
		if e.Source != nil {
			switch {
			case e.Source.Pointer != nil:
				source = "pointer " + *e.Source.Pointer
			case e.Source.Parameter != nil:
				source = "parameter " + *e.Source.Parameter
			case e.Source.Header != nil:
				source = "header " + *e.Source.Header
			}
		}
		problems = append(problems, problem{e.Code, source})
		own, _ := strconv.Atoi(e.Status)
		if e.ID != requestID || e.Title != http.StatusText(own) || e.Detail == "" {
			t.Errorf("the error object has id %q, status %q, title %q, detail %q", e.ID, e.Status, e.Title, e.Detail)
		}
		if e.Status != d.Errors[0].Status {
			common = 400
		} else if common == 0 {
			common = own
		}
	}
	if common != r.status {
		t.Errorf("the statuses of the errors make %d, want %d", common, r.status)
	}
	if got.status != r.status {
		t.Errorf("status %d, want %d: %.1000s", got.status, r.status, got.body)
	}
	if diff := gocmp.Diff(r.problems, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// create is the request that creates a config with the attributes; url and subscribed_statuses are
// added where they are missing.
func create(attributes string) call {
	all := attributes
	for _, usual := range []string{`"url":"https://hooks.example.com/"`, `"subscribed_statuses":["processed"]`} {
		name, _, _ := strings.Cut(usual, ":")
		if !strings.Contains(attributes, name+":") {
			all += "," + usual
		}
	}
	all = strings.TrimPrefix(all, ",")
	return call{method: "POST", target: "/v1/webhooks/configs", body: `{"data":{"type":"webhook_config","attributes":{` + all + `}}}`}
}

func post(body string) call {
	return call{method: "POST", target: "/v1/webhooks/configs", body: body}
}

func get(target string) call { return call{method: "GET", target: target} }

func with(c call, name, value string) call {
	c.header = map[string]string{name: value}
	return c
}

func one(code, source string) []problem { return []problem{{code, source}} }

func TestCreateRefusesDocuments(t *testing.T) {
	valid := create("").body
	typed := func(members string) call { // valid but for these members
		return post(strings.Replace(valid, `"type":"webhook_config"`, members, 1))
	}
	for _, r := range []refusal{
		{"no body", post(""), 400, one("invalid_json", "")},
		{"only white space", post(" \n\t"), 400, one("invalid_json", "")},
		{"cut off", post(valid[:len(valid)-1]), 400, one("invalid_json", "")},
		{"trailing garbage", post(valid + "x"), 400, one("invalid_json", "")},
		{"a second document", post(valid + valid), 400, one("invalid_json", "")},
		{"trailing comma", post(strings.Replace(valid, `"]`, `",]`, 1)), 400, one("invalid_json", "")},
		{"single quotes", post(strings.ReplaceAll(valid, `"`, `'`)), 400, one("invalid_json", "")},
		{"a comment", post("/**/" + valid), 400, one("invalid_json", "")},
		{"NaN", post(`{"data":NaN}`), 400, one("invalid_json", "")},
		{"a byte order mark", post("\ufeff" + valid), 400, one("invalid_json", "")},
		{"UTF-16", post("{\x00\"\x00d\x00\"\x00:\x001\x00}\x00"), 400, one("invalid_json", "")},
		{"invalid UTF-8", create("\"description\":\"\xff\""), 400, one("invalid_json", "")},
		{"an overlong encoding", create("\"description\":\"\xc0\xaf\""), 400, one("invalid_json", "")},
		{"a surrogate in UTF-8", create("\"description\":\"\xed\xa0\x80\""), 400, one("invalid_json", "")},
		{"a high surrogate alone", create(`"description":"\ud83d"`), 400, one("invalid_json", "")},
		{"a low surrogate alone", create(`"description":"\ude00 \ud83d"`), 400, one("invalid_json", "")},
		{"two high surrogates", create(`"description":"\ud83d\ud83d"`), 400, one("invalid_json", "")},
		{"a raw control character in a string", create("\"description\":\"a\nb\""), 400, one("invalid_json", "")},
		{"a member twice", create(`"is_active":true,"is_active":false`), 400, one("invalid_json", "")},
		{"a member twice, once escaped", create(`"is_active":true,"is\u005factive":false`), 400, one("invalid_json", "")},
		{"data twice", post(`{"data":{},"data":{}}`), 400, one("invalid_json", "")},
		{"nested 17 deep", post(strings.Repeat("[", 17) + strings.Repeat("]", 17)), 400, one("invalid_json", "")},
		{"nested 30000 deep", post(strings.Repeat("[", 30000) + strings.Repeat("]", 30000)), 400, one("invalid_json", "")},
		{"64 KiB and a byte", post(valid + strings.Repeat(" ", 64<<10+1-len(valid))), 413, one("body_too_large", "")},
		{"oversized garbage of an unknown type", with(post(strings.Repeat("\xff", 1<<20)), "Content-Type", "x/y"),
			413, one("body_too_large", "")},

		{"null", post("null"), 422, one("invalid_type", "pointer ")},
		{"a string", post(`"data"`), 422, one("invalid_type", "pointer ")},
		{"a list", post(`[` + valid + `]`), 422, one("invalid_type", "pointer ")},
		{"no data", post(`{"Data":{}}`), 422, one("required", "pointer ")},
		{"data null", post(`{"data":null}`), 422, one("invalid_type", "pointer /data")},
		{"data a list", post(`{"data":[]}`), 422, one("invalid_type", "pointer /data")},
		{"data empty", post(`{"data":{}}`),
			422, []problem{{"required", "pointer /data"}, {"required", "pointer /data"}, {"required", "pointer /data"}}},
		{"type null", typed(`"type":null`), 422, one("invalid_type", "pointer /data/type")},
		{"type a number", typed(`"type":1`), 422, one("invalid_type", "pointer /data/type")},
		{"another type", typed(`"type":"webhook_configs"`), 409, one("type_conflict", "pointer /data/type")},
		{"a client's id", typed(`"type":"webhook_config","id":"` + unknownID + `"`),
			403, one("client_generated_id", "pointer /data/id")},
		{"a client's id that is null", typed(`"type":"webhook_config","id":null`),
			403, one("client_generated_id", "pointer /data/id")},
		{"a local id that is a number", typed(`"type":"webhook_config","lid":1`), 422, one("invalid_type", "pointer /data/lid")},
		{"a relationship", typed(`"type":"webhook_config","relationships":{"owner":{"data":null}}`),
			422, one("unsupported_member", "pointer /data/relationships")},
		{"no attributes", post(`{"data":{"type":"webhook_config"}}`),
			422, []problem{{"required", "pointer /data"}, {"required", "pointer /data"}}},
		{"attributes null", post(`{"data":{"type":"webhook_config","attributes":null}}`),
			422, one("invalid_type", "pointer /data/attributes")},
		{"attributes a list", post(`{"data":{"type":"webhook_config","attributes":[]}}`),
			422, one("invalid_type", "pointer /data/attributes")},
		{"attributes empty", post(`{"data":{"type":"webhook_config","attributes":{}}}`),
			422, []problem{{"required", "pointer /data/attributes"}, {"required", "pointer /data/attributes"}}},
		{"several members at once", post(`{"data":{"type":5,"lid":1,"relationships":1,"attributes":1}}`), 422, []problem{
			{"invalid_type", "pointer /data/type"}, {"invalid_type", "pointer /data/lid"},
			{"invalid_type", "pointer /data/relationships"}, {"invalid_type", "pointer /data/attributes"},
		}},
	} {
		t.Run(r.name, func(t *testing.T) { newWorld(t).refused(t, r) })
	}
}

func TestCreateRefusesAttributes(t *testing.T) {
	at := func(name string) string { return "pointer /data/attributes/" + name }
	for _, r := range []refusal{
		{"an unknown attribute", create(`"colour":"blue"`), 422, one("unknown_attribute", at("colour"))},
		{"another case", create(`"Is_Active":true`), 422, one("unknown_attribute", at("Is_Active"))},
		{"a name to be escaped", create(`"a/b~c":1`), 422, one("unknown_attribute", at("a~1b~0c"))},
		{"an empty name", create(`"":1`), 422, one("unknown_attribute", at(""))},
		{"token", create(`"token":"whtok_mine"`), 422, one("read_only_attribute", at("token"))},
		{"secret", create(`"secret":"whsec_mine"`), 422, one("read_only_attribute", at("secret"))},
		{"created_at", create(`"created_at":null`), 422, one("read_only_attribute", at("created_at"))},
		{"resource_type", create(`"resource_type":"document"`), 422, one("read_only_attribute", at("resource_type"))},
		{"deactivated_reason", create(`"deactivated_reason":null`), 422, one("read_only_attribute", at("deactivated_reason"))},

		{"url null", create(`"url":null`), 422, one("invalid_type", at("url"))},
		{"url a number", create(`"url":1e400`), 422, one("invalid_type", at("url"))},
		{"url a list", create(`"url":["https://a.example.com"]`), 422, one("invalid_type", at("url"))},
		{"description null", create(`"description":null`), 422, one("invalid_type", at("description"))},
		{"description an object", create(`"description":{}`), 422, one("invalid_type", at("description"))},
		{"is_active null", create(`"is_active":null`), 422, one("invalid_type", at("is_active"))},
		{"is_active a string", create(`"is_active":"true"`), 422, one("invalid_type", at("is_active"))},
		{"is_active a number", create(`"is_active":1`), 422, one("invalid_type", at("is_active"))},
		{"subscribed_statuses null", create(`"subscribed_statuses":null`), 422, one("invalid_type", at("subscribed_statuses"))},
		{"subscribed_statuses a string", create(`"subscribed_statuses":"processed"`),
			422, one("invalid_type", at("subscribed_statuses"))},
		{"subscribed_statuses of numbers", create(`"subscribed_statuses":[1]`), 422, one("invalid_type", at("subscribed_statuses"))},
		{"subscribed_statuses with a null", create(`"subscribed_statuses":["failed",null]`),
			422, one("invalid_type", at("subscribed_statuses"))},
		{"everything null", create(`"url":null,"description":null,"subscribed_statuses":null,"is_active":null`), 422, []problem{
			{"invalid_type", at("description")}, {"invalid_type", at("is_active")},
			{"invalid_type", at("subscribed_statuses")}, {"invalid_type", at("url")},
		}},

		{"no statuses", create(`"subscribed_statuses":[]`), 422, one("empty", at("subscribed_statuses"))},
		{"unknown statuses", create(`"subscribed_statuses":["Processed","failed",""]`),
			422, []problem{{"unknown_status", at("subscribed_statuses/0")}, {"unknown_status", at("subscribed_statuses/2")}}},
		{"a status twice", create(`"subscribed_statuses":["failed","failed"]`), 422, one("duplicate", at("subscribed_statuses/1"))},
		{"six statuses", create(`"subscribed_statuses":["pending","submitted","processing","processed","failed","failed"]`),
			422, one("too_long", at("subscribed_statuses"))},
		{"thousands of statuses", create(`"subscribed_statuses":[` + strings.Repeat(`"",`, 20000) + `""]`),
			422, one("too_long", at("subscribed_statuses"))},
		{"a long description", create(`"description":"` + strings.Repeat("ü", 501) + `"`), 422, one("too_long", at("description"))},
		{"a null character", create(`"description":"a\u0000b"`), 422, one("invalid_characters", at("description"))},
		{"an escape sequence", create(`"description":"\u001b[31m"`), 422, one("invalid_characters", at("description"))},
		{"a C1 control", create(`"description":"\u0085"`), 422, one("invalid_characters", at("description"))},
		{"several attributes at once", create(
			`"url":"ftp://x","description":"\u0007","subscribed_statuses":["done"],"is_active":0,"more":1,"secret":2`,
		), 422, []problem{
			{"invalid_characters", at("description")}, {"invalid_type", at("is_active")}, {"unknown_attribute", at("more")},
			{"read_only_attribute", at("secret")}, {"unknown_status", at("subscribed_statuses/0")}, {"scheme_not_allowed", at("url")},
		}},
	} {
		t.Run(r.name, func(t *testing.T) { newWorld(t).refused(t, r) })
	}
}

func TestCreateRefusesURLs(t *testing.T) {
	for url, code := range map[string]string{
		"":                                                        "empty",
		"hooks.example.com":                                       "scheme_not_allowed",
		"//hooks.example.com/":                                    "scheme_not_allowed",
		"http://hooks.example.com/":                               "scheme_not_allowed",
		"ftp://hooks.example.com/":                                "scheme_not_allowed",
		"javascript:alert(1)":                                     "scheme_not_allowed",
		"file:///etc/passwd":                                      "scheme_not_allowed",
		"https:hooks.example.com":                                 "invalid_url",
		"https://":                                                "invalid_url",
		"https:///path":                                           "invalid_url",
		"https://?query":                                          "invalid_url",
		"https://:443/":                                           "invalid_url",
		"https://hooks.example.com:/":                             "invalid_url",
		"https://hooks.example.com:0/":                            "invalid_url",
		"https://hooks.example.com:65536":                         "invalid_url",
		"https://hooks.example.com:0443/":                         "invalid_url",
		"https://hooks.example.com:http/":                         "invalid_url",
		"https://hooks..example.com/":                             "invalid_url",
		"https://.example.com/":                                   "invalid_url",
		"https://-a.example.com/":                                 "invalid_url",
		"https://a-.example.com/":                                 "invalid_url",
		"https://a*b.example.com/":                                "invalid_url",
		"https://hooks.example.com/%zz":                           "invalid_characters",
		"https://hooks.example.com?a=%zz":                         "invalid_characters",
		"https://hooks.example.com/{id}":                          "invalid_characters",
		"https://hooks.example.com?a[]=1":                         "invalid_characters",
		"https://ex%61mple.com/":                                  "invalid_url",
		"https://[::1":                                            "invalid_url",
		"https://[hooks.example.com]/":                            "invalid_url",
		"https://[8.8.8.8]/":                                      "invalid_url",
		"https://[v1.a]/":                                         "invalid_url",
		"https://" + strings.Repeat("a", 64) + ".example.com/":    "invalid_url",
		"https://" + strings.Repeat("a.", 126) + "example.com/":   "invalid_url",
		"https://hooks.example.com/" + strings.Repeat("a", 2023):  "too_long",
		"https://hooks.example.com/" + strings.Repeat("a", 60000): "too_long",
		"https://user@hooks.example.com/":                         "userinfo_not_allowed",
		"https://user:pass@hooks.example.com/":                    "userinfo_not_allowed",
		"https://@hooks.example.com/":                             "userinfo_not_allowed",
		"https://hooks.example.com@127.0.0.1/":                    "userinfo_not_allowed",
		"https://hooks.example.com/#":                             "fragment_not_allowed",
		"https://hooks.example.com/#part":                         "fragment_not_allowed",
		"https://hooks.example.com\\@127.0.0.1/":                  "invalid_characters",
		"https://hooks.example.com/ ":                             "invalid_characters",
		" https://hooks.example.com/":                             "invalid_characters",
		"https://hooks.example.com/\r\nHost: x":                   "invalid_characters",
		"https://hooks.example.com/\x00":                          "invalid_characters",
		"https://bücher.example/":                                 "invalid_characters",
		"https://127。0。0。1/":                                      "invalid_characters",
		"https://①②⑦.0.0.1/":                                      "invalid_characters",
		"https://hooks.example.com/ü":                             "invalid_characters",

		"https://127.0.0.1/":                        "address_not_allowed",
		"https://127.0.0.1./":                       "address_not_allowed",
		"https://127.1/":                            "address_not_allowed",
		"https://2130706433/":                       "address_not_allowed",
		"https://0x7f000001/":                       "address_not_allowed",
		"https://0x7f.1/":                           "address_not_allowed",
		"https://0X7F.0.0.0x1/":                     "address_not_allowed",
		"https://0177.0.0.1/":                       "address_not_allowed",
		"https://017700000001/":                     "address_not_allowed",
		"https://127.0.0.0x1/":                      "address_not_allowed",
		"https://8.8.8.010/":                        "address_not_allowed",
		"https://256.256.256.256/":                  "address_not_allowed",
		"https://0/":                                "address_not_allowed",
		"https://0.0.0.0/":                          "address_not_allowed",
		"https://10.0.0.1/":                         "address_not_allowed",
		"https://172.16.0.1/":                       "address_not_allowed",
		"https://192.168.0.1/":                      "address_not_allowed",
		"https://100.64.0.1/":                       "address_not_allowed",
		"https://169.254.169.254/latest/meta-data/": "address_not_allowed",
		"https://198.51.100.7/":                     "address_not_allowed",
		"https://224.0.0.1/":                        "address_not_allowed",
		"https://255.255.255.255/":                  "address_not_allowed",
		"https://[::]/":                             "address_not_allowed",
		"https://[::1]/":                            "address_not_allowed",
		"https://[0:0:0:0:0:0:0:1]/":                "address_not_allowed",
		"https://[::ffff:127.0.0.1]/":               "address_not_allowed",
		"https://[::ffff:7f00:1]/":                  "address_not_allowed",
		"https://[::ffff:8.8.8.8]/":                 "address_not_allowed",
		"https://[::127.0.0.1]/":                    "address_not_allowed",
		"https://[64:ff9b::7f00:1]/":                "address_not_allowed",
		"https://[2002:7f00:1::]/":                  "address_not_allowed",
		"https://[fe80::1]/":                        "address_not_allowed",
		"https://[fe80::1%25eth0]/":                 "address_not_allowed",
		"https://[fc00::1]/":                        "address_not_allowed",
		"https://[ff02::1]/":                        "address_not_allowed",
		"https://[2001:db8::1]/":                    "address_not_allowed",
		"https://localhost/":                        "address_not_allowed",
		"https://LOCALHOST.:8443/":                  "address_not_allowed",
		"https://a.localhost/":                      "address_not_allowed",
		"https://printer.local/":                    "address_not_allowed",
		"https://vault.internal/":                   "address_not_allowed",
		"https://intranet/":                         "address_not_allowed",
	} {
		t.Run(fmt.Sprintf("%.60q", url), func(t *testing.T) {
			text, err := json.Marshal(url)
			if err != nil {
				t.Fatal(err)
			}
			newWorld(t).refused(t, refusal{
				call: create(`"url":` + string(text)), status: 422, problems: one(code, "pointer /data/attributes/url"),
			})
		})
	}
}

func TestRefusesQueries(t *testing.T) {
	const list, deliveries = "/v1/webhooks/configs?", "/v1/webhooks/deliveries?"
	size, after := "parameter page[size]", "parameter page[after]"
	for _, r := range []refusal{
		{"an unknown parameter", get(list + "colour=blue"), 400, one("unknown_parameter", "parameter colour")},
		{"include", get(list + "include=deliveries"), 400, one("unknown_parameter", "parameter include")},
		{"sort", get(deliveries + "sort=-created_at"), 400, one("unknown_parameter", "parameter sort")},
		{"sparse fieldsets", get(list + "fields[webhook_config]=url"),
			400, one("unknown_parameter", "parameter fields[webhook_config]")},
		{"an unknown filter", get(list + "filter[url]=x"), 400, one("unknown_parameter", "parameter filter[url]")},
		{"a filter of the other list", get(list + "filter%5Bstatus%5D=failed"),
			400, one("unknown_parameter", "parameter filter[status]")},
		{"another case", get(list + "Page[size]=1"), 400, one("unknown_parameter", "parameter Page[size]")},
		{"page[number]", get(list + "page[number]=2"), 400, one("unknown_parameter", "parameter page[number]")},
		{"a value without a name", get(list + "=1"), 400, one("unknown_parameter", "")},
		{"a name that is no UTF-8", get(list + "%ff=1"), 400, one("unknown_parameter", "parameter \uFFFD")},
		{"several parameters at once", get(list + "b=1&a=1&page[size]=1&page[size]=2"), 400, []problem{
			{"unknown_parameter", "parameter a"}, {"unknown_parameter", "parameter b"}, {"invalid_parameter", size},
		}},
		{"a bad escape", get(list + "page[size]=%zz"), 400, one("invalid_parameter", "")},
		{"a semicolon", get(list + "page[size]=1;page[after]=x"), 400, one("invalid_parameter", "")},
		{"a parameter twice", get(list + "page[size]=1&page%5Bsize%5D=1"), 400, one("invalid_parameter", size)},
		{"a value that is no UTF-8", get(deliveries + "filter[document_id]=%ff"),
			400, one("invalid_parameter", "parameter filter[document_id]")},
		{"a parameter where there are none", get("/v1/webhooks/configs/" + unknownID + "?page[size]=1"),
			400, one("unknown_parameter", "parameter page[size]")},
		{"a parameter of a delivery", get("/v1/webhooks/deliveries/x?a"), 400, one("unknown_parameter", "parameter a")},
		{"a parameter of create", call{method: "POST", target: list + "dry_run=1", body: create("").body},
			400, one("unknown_parameter", "parameter dry_run")},
		{"a parameter of delete", call{method: "DELETE", target: "/v1/webhooks/configs/x?a=1"},
			400, one("unknown_parameter", "parameter a")},
		{"a parameter of test", call{method: "POST", target: "/v1/webhooks/configs/x/test?a=1"},
			400, one("unknown_parameter", "parameter a")},
		{"a parameter of resend", call{method: "POST", target: "/v1/webhooks/deliveries/x/resend?a=1"},
			400, one("unknown_parameter", "parameter a")},

		{"is_active in capitals", get(list + "filter[is_active]=TRUE"), 400, one("invalid_parameter", "parameter filter[is_active]")},
		{"is_active as a number", get(list + "filter[is_active]=1"), 400, one("invalid_parameter", "parameter filter[is_active]")},
		{"is_active empty", get(list + "filter[is_active]="), 400, one("invalid_parameter", "parameter filter[is_active]")},
		{"an unknown status", get(deliveries + "filter[status]=pending"), 400, one("invalid_parameter", "parameter filter[status]")},
		{"a delivery's status of events", get(listEvents + "?filter[document_status]=delivered"),
			400, one("invalid_parameter", "parameter filter[document_status]")},
		{"a config of events", get(listEvents + "?filter[webhook_config_id]=" + unknownID),
			400, one("unknown_parameter", "parameter filter[webhook_config_id]")},
		{"two statuses", get(deliveries + "filter[status]=failed,retrying"),
			400, one("invalid_parameter", "parameter filter[status]")},
		{"a config id that is none", get(deliveries + "filter[webhook_config_id]=1"),
			400, one("invalid_parameter", "parameter filter[webhook_config_id]")},
		{"a config id in capitals", get(deliveries + "filter[webhook_config_id]=" + strings.ToUpper(unknownID)),
			400, one("invalid_parameter", "parameter filter[webhook_config_id]")},
		{"a config id in braces", get(deliveries + "filter[webhook_config_id]=%7B" + unknownID + "%7D"),
			400, one("invalid_parameter", "parameter filter[webhook_config_id]")},
		{"no document id", get(deliveries + "filter[document_id]="), 400, one("invalid_parameter", "parameter filter[document_id]")},
		{"a long document id", get(deliveries + "filter[document_id]=" + strings.Repeat("a", 257)),
			400, one("invalid_parameter", "parameter filter[document_id]")},
		{"a date", get(deliveries + "filter[created_after]=2026-01-31"),
			400, one("invalid_parameter", "parameter filter[created_after]")},
		{"a time without a zone", get(deliveries + "filter[created_after]=2026-01-31T12:00:00"),
			400, one("invalid_parameter", "parameter filter[created_after]")},
		{"a plus that became a space", get(deliveries + "filter[created_before]=2026-01-31T12:00:00+01:00"),
			400, one("invalid_parameter", "parameter filter[created_before]")},
		{"a comma in a time", get(deliveries + "filter[created_before]=2026-01-31T12:00:00,5Z"),
			400, one("invalid_parameter", "parameter filter[created_before]")},
		{"an hour of one digit", get(deliveries + "filter[created_before]=2026-01-31T1:00:00Z"),
			400, one("invalid_parameter", "parameter filter[created_before]")},
		{"the 30th of February", get(deliveries + "filter[created_before]=2026-02-30T12:00:00Z"),
			400, one("invalid_parameter", "parameter filter[created_before]")},
		{"the year 1969", get(deliveries + "filter[created_after]=1969-12-31T23:59:59Z"),
			400, one("invalid_parameter", "parameter filter[created_after]")},
		{"the year 3000", get(deliveries + "filter[created_after]=3000-01-01T00:00:00Z"),
			400, one("invalid_parameter", "parameter filter[created_after]")},
		{"Unix seconds", get(deliveries + "filter[created_after]=1769860800"),
			400, one("invalid_parameter", "parameter filter[created_after]")},
		{"every kind of problem at once", get(list + "sort=x&filter[is_active]=x&page[size]=0&page[after]=a&page[after]=b"), 400, []problem{
			{"invalid_parameter", "parameter filter[is_active]"}, {"invalid_parameter", after},
			{"invalid_parameter", size}, {"unknown_parameter", "parameter sort"},
		}},
		{"unknown and invalid at once", get(deliveries + "a=1&=&filter[status]=x&page[size]=101"), 400, []problem{
			{"unknown_parameter", ""}, {"unknown_parameter", "parameter a"},
			{"invalid_parameter", "parameter filter[status]"}, {"invalid_parameter", size},
		}},
		{"several filters at once", get(deliveries + "filter[status]=x&filter[created_after]=x&page[size]=x"), 400, []problem{
			{"invalid_parameter", "parameter filter[created_after]"}, {"invalid_parameter",
				"parameter filter[status]"}, {"invalid_parameter", size},
		}},
		{"a cursor that is empty", get(list + "page[after]="), 400, one("invalid_cursor", after)},
		{"a cursor that is an id", get(list + "page[after]=" + unknownID), 400, one("invalid_cursor", after)},
		{"a cursor that is no base64", get(deliveries + "page[after]=***"), 400, one("invalid_cursor", after)},
	} {
		t.Run(r.name, func(t *testing.T) { newWorld(t).refused(t, r) })
	}
	for _, value := range []string{
		"", "0", "101", "-1", "1.0", "1e1", "+5", "%205", "5%20", "05", "0x10", "ten", "١", "9223372036854775808", "null", "[]",
	} {
		t.Run("page[size]="+value, func(t *testing.T) {
			for _, path := range []string{list, deliveries} {
				newWorld(t).refused(t, refusal{
					call: get(path + "page[size]=" + value), status: 400, problems: one("invalid_parameter", size),
				})
			}
		})
	}
}

func TestRefusesActions(t *testing.T) {
	w := newWorld(t)
	active := w.config(ours, 1, nil).ID
	inactive := w.config(ours, 2, func(c *webhook.Config) { c.Active = false }).ID
	path := "/v1/webhooks/configs/" + active
	patch := func(data string) call { return call{method: "PATCH", target: path, body: `{"data":` + data + `}`} }
	rotate := func(data string) call {
		return call{method: "POST", target: path + "/rotate-secret", body: `{"data":` + data + `}`}
	}
	overlap := func(value string) call {
		return rotate(`{"type":"webhook_config","attributes":{"overlap_seconds":` + value + `}}`)
	}
	again := func(body string) call { return call{method: "POST", target: "/v1/webhooks/resend", body: body} }
	resend := resendOf
	turned := func(c call) call { // to a page that never was
		c.target += "?page%5Bafter%5D=AAAAAAAAAAAAAAAAAAAA"
		return c
	}
	period := func(more string) call {
		return resend(`"webhook_config_id":"` + active + `","since":"2026-01-31T00:00:00Z"` + more)
	}
	at := func(name string) string { return "pointer /data/attributes/" + name }
	deleted := w.delivery(w.config(ours, 3, func(c *webhook.Config) { c.DeletedAt = webhook.At(start) }), 1, nil)
	stopped := w.delivery(w.configs[ours+"/"+inactive], 1, nil)
	expired := w.delivery(w.configs[ours+"/"+active], 1, func(d *webhook.Delivery) { d.ExpiresAt = webhook.At(start.Add(-1)) })
	for _, r := range []refusal{
		{"update with a parameter", call{method: "PATCH", target: path + "?a=1", body: change(active, "").body},
			400, one("unknown_parameter", "parameter a")},
		{"rotate with a parameter", call{method: "POST", target: path + "/rotate-secret?a=1"},
			400, one("unknown_parameter", "parameter a")},
		{"update without an id", patch(`{"type":"webhook_config"}`), 422, one("required", "pointer /data")},
		{"update with another id", patch(`{"type":"webhook_config","id":"` + inactive + `"}`),
			409, one("id_conflict", "pointer /data/id")},
		{"update with the id in capitals", patch(`{"type":"webhook_config","id":"` + strings.ToUpper(active) + `"}`),
			409, one("id_conflict", "pointer /data/id")},
		{"update with a number for an id", patch(`{"type":"webhook_config","id":1}`), 422, one("invalid_type", "pointer /data/id")},
		{"update of another type", patch(`{"type":"config","id":"` + active + `"}`), 409, one("type_conflict", "pointer /data/type")},
		{"update without a body", call{method: "PATCH", target: path}, 400, one("invalid_json", "")},
		{"update as a form", call{method: "PATCH", target: path, body: "a=b", header: map[string]string{"Content-Type": "text/plain"}},
			415, one("unsupported_media_type", "header Content-Type")},
		{"update with bad attributes", change(active, `"url":"","subscribed_statuses":[],"updated_at":1`), 422, []problem{
			{"empty", at("subscribed_statuses")}, {"read_only_attribute", at("updated_at")}, {"empty", at("url")},
		}},
		{"read of an id that is none", get("/v1/webhooks/configs/x"), 404, one("not_found", "")},
		{"read of an id in capitals", get("/v1/webhooks/configs/" + strings.ToUpper(active)), 404, one("not_found", "")},
		{"read of an encoded slash", get("/v1/webhooks/configs/a%2Fb"), 404, one("not_found", "")},
		{"read of a null character", get("/v1/webhooks/configs/%00"), 404, one("not_found", "")},
		{"read of a very long id", get("/v1/webhooks/configs/" + strings.Repeat("a", 8000)), 404, one("not_found", "")},

		{"rotate of another type", rotate(`{"type":"webhook_resend"}`), 409, one("type_conflict", "pointer /data/type")},
		{"rotate with another id", rotate(`{"type":"webhook_config","id":"` + inactive + `"}`),
			409, one("id_conflict", "pointer /data/id")},
		{"rotate with other attributes", rotate(`{"type":"webhook_config","attributes":{"url":"https://a.example.com"}}`),
			422, one("unknown_attribute", at("url"))},
		{"rotate with white space", call{method: "POST", target: path + "/rotate-secret", body: " "}, 400, one("invalid_json", "")},
		{"a negative overlap", overlap("-1"), 422, one("out_of_range", at("overlap_seconds"))},
		{"a week and a second", overlap("604801"), 422, one("out_of_range", at("overlap_seconds"))},
		{"more seconds than an int64 of nanoseconds", overlap("9223372036854775807"),
			422, one("out_of_range", at("overlap_seconds"))},
		{"more seconds than an int64", overlap("92233720368547758080"), 422, one("out_of_range", at("overlap_seconds"))},
		{"more seconds than a float64", overlap("1e400"), 422, one("out_of_range", at("overlap_seconds"))},
		{"half a second", overlap("0.5"), 422, one("invalid_type", at("overlap_seconds"))},
		{"seconds as a string", overlap(`"60"`), 422, one("invalid_type", at("overlap_seconds"))},
		{"seconds null", overlap("null"), 422, one("invalid_type", at("overlap_seconds"))},
		{"seconds true", overlap("true"), 422, one("invalid_type", at("overlap_seconds"))},

		{"test with a body", call{method: "POST", target: path + "/test", body: "{}"}, 400, one("unexpected_body", "pointer ")},
		{"test of an inactive config", call{method: "POST", target: "/v1/webhooks/configs/" + inactive + "/test"},
			409, one("config_inactive", "")},
		{"resend with a body", call{method: "POST", target: "/v1/webhooks/deliveries/" + stopped.ID() + "/resend", body: "{}"},
			400, one("unexpected_body", "pointer ")},
		{"resend to an inactive config", call{method: "POST", target: "/v1/webhooks/deliveries/" + stopped.ID() + "/resend"},
			409, one("config_inactive", "")},
		{"resend to a deleted config", call{method: "POST", target: "/v1/webhooks/deliveries/" + deleted.ID() + "/resend"},
			409, one("config_deleted", "")},
		{"resend of an expired delivery", call{method: "POST", target: "/v1/webhooks/deliveries/" + expired.ID() + "/resend"},
			404, one("not_found", "")},
		{"read of an expired delivery", get("/v1/webhooks/deliveries/" + expired.ID()), 404, one("not_found", "")},
		{"read of an event id as a delivery", get("/v1/webhooks/deliveries/" + expired.Event.ID), 404, one("not_found", "")},
		{"read of a delivery id as an event", get(listEvents + "/" + stopped.ID()), 404, one("not_found", "")},
		{"read of an event id in lower case", get(listEvents + "/" + strings.ToLower(stopped.Event.ID)), 404, one("not_found", "")},
		{"read of an event with a parameter", get(listEvents + "/" + stopped.Event.ID + "?include=deliveries"),
			400, one("unknown_parameter", "parameter include")},

		{"resend without attributes", again(`{"data":{"type":"webhook_resend"}}`),
			422, []problem{{"required", "pointer /data"}, {"required", "pointer /data"}}},
		{"resend with an id", again(`{"data":{"type":"webhook_resend","id":"1","attributes":{"document_id":"d"}}}`),
			403, one("client_generated_id", "pointer /data/id")},
		{"resend of another type", again(`{"data":{"type":"webhook_config","attributes":{"document_id":"d"}}}`),
			409, one("type_conflict", "pointer /data/type")},
		{"resend of no document", resend(`"document_id":""`), 422, one("invalid_length", at("document_id"))},
		{"resend of a long document id", resend(`"document_id":"` + strings.Repeat("ü", 257) + `"`),
			422, one("invalid_length", at("document_id"))},
		{"resend of an id longer than any document's", resend(`"document_id":"` + strings.Repeat("ü", 256) + `"`),
			404, one("not_found", at("document_id"))},
		{"resend of a document that is not there", resend(`"document_id":"doc_none"`), 404, one("not_found", at("document_id"))},
		{"resend of a document null", resend(`"document_id":null`), 422, one("invalid_type", at("document_id"))},
		{"resend of a document since then", resend(`"document_id":"d","since":"x","until":1,"scope":"all"`),
			422, []problem{{"not_allowed", at("scope")}, {"not_allowed", at("since")}, {"not_allowed", at("until")}}},
		{"resend of a document from a cursor", turned(resend(`"document_id":"d"`)),
			400, one("unknown_parameter", "parameter page[after]")},
		{"resend to an id that is none", resend(`"document_id":"d","webhook_config_id":"x"`),
			422, one("invalid_id", at("webhook_config_id"))},
		{"resend of a period without a config", resend(`"since":"2026-01-31T00:00:00Z"`),
			422, one("required", "pointer /data/attributes")},
		{"resend of a period without a time", resend(`"webhook_config_id":"` + active + `"`),
			422, one("required", "pointer /data/attributes")},
		{"resend of a period until before since", period(`,"until":"2026-01-30T00:00:00Z"`),
			422, one("out_of_range", at("until"))},
		{"resend of a period until the year 1", period(`,"until":"0001-01-01T00:00:00Z"`),
			422, one("invalid_time", at("until"))},
		{"resend of a period until a number", period(`,"until":1769860800`), 422, one("invalid_type", at("until"))},
		{"resend of a period of an unknown scope", period(`,"scope":"canceled"`), 422, one("unknown_scope", at("scope"))},
		{"resend of a period of two scopes", period(`,"scope":["failed","all"]`), 422, one("invalid_type", at("scope"))},
		{"resend of a period of statuses", period(`,"statuses":[]`), 422, one("unknown_attribute", at("statuses"))},
		{"resend of a period from a forged cursor", turned(period("")),
			400, one("invalid_cursor", "parameter page[after]")},
		{"resend of a period of an inactive config", resend(`"webhook_config_id":"` + inactive + `","since":"2026-01-31T00:00:00Z"`),
			409, one("config_inactive", "")},
		{"resend of a period of no config", resend(`"webhook_config_id":"` + unknownID + `","since":"2026-01-31T00:00:00Z"`),
			404, one("not_found", at("webhook_config_id"))},
	} {
		t.Run(r.name, func(t *testing.T) {
			before := len(w.sent)
			w.t = t
			w.refused(t, r)
			if len(w.sent) != before {
				t.Error("a message was sent")
			}
		})
	}
}
