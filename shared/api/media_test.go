package api_test

import (
	"testing"
)

func TestRefusesMediaTypes(t *testing.T) {
	list := get("/v1/webhooks/configs")
	type header struct{ name, value string }
	for name, h := range map[string]header{
		"a body without a type":             {"Content-Type", ""},
		"plain text":                        {"Content-Type", "text/plain"},
		"a form":                            {"Content-Type", "application/x-www-form-urlencoded"},
		"a wildcard":                        {"Content-Type", "*/*"},
		"a type that is none":               {"Content-Type", "json"},
		"JSON:API in latin1":                {"Content-Type", jsonAPI + "; charset=iso-8859-1"},
		"JSON:API with a charset":           {"Content-Type", jsonAPI + "; charset=utf-8"},
		"JSON:API with an extension":        {"Content-Type", jsonAPI + `; ext="https://jsonapi.org/ext/atomic"`},
		"JSON:API with a parameter twice":   {"Content-Type", jsonAPI + `; profile="a"; profile="b"`},
		"JSON in latin1":                    {"Content-Type", "application/json; charset=iso-8859-1"},
		"JSON of another kind":              {"Content-Type", "application/merge-patch+json"},
		"two types":                         {"Content-Type", jsonAPI + "," + jsonAPI},
		"accept: text":                      {"Accept", "text/html"},
		"accept: nonsense":                  {"Accept", "nonsense;;;"},
		"accept: JSON:API with a charset":   {"Accept", jsonAPI + "; charset=utf-8"},
		"accept: JSON:API with an ext":      {"Accept", jsonAPI + `; ext="https://example.com/ext"`},
		"accept: both of these":             {"Accept", jsonAPI + `; ext="a,b", ` + jsonAPI + "; version=1"},
		"accept: modified beside anything":  {"Accept", jsonAPI + "; version=1, */*"},
		"accept: anything beside modified":  {"Accept", "*/*;q=0.1, " + jsonAPI + "; version=1"},
		"accept: anything but JSON:API":     {"Accept", "*/*, " + jsonAPI + ";q=0"},
		"accept: nothing":                   {"Accept", "*/*;q=0.000"},
		"accept: a type in a quoted string": {"Accept", `text/html; a="x,application/json"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := refusal{
				call: with(create(""), h.name, h.value), status: 415, problems: one("unsupported_media_type", "header Content-Type"),
			}
			if h.name == "Accept" {
				r = refusal{call: with(list, h.name, h.value), status: 406, problems: one("not_acceptable", "header Accept")}
			}
			newWorld(t).refused(t, r)
		})
	}
}

func TestAcceptsMediaTypes(t *testing.T) {
	for _, contentType := range []string{
		jsonAPI, "Application/Vnd.API+JSON", jsonAPI + `; profile="https://example.com/p https://example.com/q"`,
		"application/json", "application/json;charset=UTF-8", "application/json; charset=\"utf-8\"",
	} {
		newWorld(t).must(201, with(create(""), "Content-Type", contentType))
	}
	for _, accept := range []string{
		"", "*/*", "application/*", "application/json", jsonAPI, jsonAPI + ";q=0.1", jsonAPI + `; profile="a,b"`,
		"text/html, application/xhtml+xml, */*;q=0.8", "text/html, image/gif, *; q=.2, */*; q=.2", jsonAPI + "; version=1, " + jsonAPI,
	} {
		newWorld(t).must(200, with(get("/v1/webhooks/configs"), "Accept", accept))
	}
}
