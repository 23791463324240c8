package webhook

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// public lets only addresses pass that are unicast and global, which is less than the real guard
// refuses, so that the tests here need no registry.
func public(host string) error {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is4In6() {
		return errors.New("special-purpose address")
	}
	return nil
}

func anywhere(string) error { return nil }

func TestURLHasOnlyWhatServersAccept(t *testing.T) {
	const site = "https://hooks.example.com"
	policy := URLPolicy{Address: public}
	for _, rest := range []string{
		"", "/", "?", "/?", "/hook?tenant=%7Bacme%7D", "/hook?a=1%7C2", "/hook?filter%5Ba%5D=1", "/%5b%5D", "/a;b=c,d/~x!$&'()*+=:@",
		"?a=/?:@!$'()*+,;=-._~", "/a//b/./c", "?%2525", "/%00",
	} {
		if code, detail := policy.check(site + rest); code != "" {
			t.Errorf("%s is refused: %s, %s", rest, code, detail)
		}
	}
	for rest, hint := range map[string]string{
		"/hook?tenant={acme}": "%7B", "/hook?tenant=acme}": "%7D", "/hook?a=1|2": "%7C", `/hook?x="y"`: "%22", "/hook?filter[a]=1": "%5B",
		"/hook?a]": "%5D", "/hook?a=<b": "%3C", "/hook?a=b>": "%3E", "/hook?a=^": "%5E", "/hook?a=`b": "%60", `/hook?a=\`: "%5C",
		"/hook?a=%zz": "%25", "/hook?a=%": "%25", "/hook?a=%4": "%25", "/hook?a=%4g": "%25", "/hook?a=%%41": "%25", "?{}": "%7B",
		"/{tenant}/hook": "%7B", "/a|b": "%7C", `/"a"`: "%22", "/[a]": "%5B", "/<a>": "%3C", "/a^b": "%5E", "/`": "%60", `/a\b`: "%5C",
		"/%zz": "%25", "/a%": "%25", "/%u00e4": "%25",
	} {
		code, detail := policy.check(site + rest)
		if code != "invalid_characters" || !strings.Contains(detail, "percent-encoded, as "+hint) {
			t.Errorf("%s: %q, %q, want a hint at %s", rest, code, detail, hint)
		}
	}
}

func TestValidate(t *testing.T) {
	valid := Config{URL: "https://hooks.example.com/", SubscribedStatuses: []Status{Processed}}
	for _, test := range []struct {
		name   string
		change func(*Config)
		policy URLPolicy
		want   []string // attribute and code of every problem
	}{
		{"a valid config has no problems", func(*Config) {}, URLPolicy{Address: public}, nil},
		{
			"an empty one has every problem, in order",
			func(c *Config) { *c = Config{} },
			URLPolicy{Address: public},
			[]string{"url empty", "subscribed_statuses empty"},
		},
		{
			"http only where the policy allows it",
			func(c *Config) { c.URL = "http://hooks.example.com/" },
			URLPolicy{Address: public},
			[]string{"url scheme_not_allowed"},
		},
		{
			"http where the policy allows it",
			func(c *Config) { c.URL = "http://hooks.example.com/" },
			URLPolicy{Address: public, AllowHTTP: true},
			nil,
		},
		{
			"ftp never",
			func(c *Config) { c.URL = "ftp://hooks.example.com/" },
			URLPolicy{Address: anywhere, AllowHTTP: true},
			[]string{"url scheme_not_allowed"},
		},
		{
			"a name of a private network",
			func(c *Config) { c.URL = "https://receiver/" },
			URLPolicy{Address: public},
			[]string{"url address_not_allowed"},
		},
		{
			"a name of a private network where that is allowed",
			func(c *Config) { c.URL = "https://receiver:8443/" },
			URLPolicy{Address: anywhere},
			nil,
		},
		{
			"a private address where that is allowed",
			func(c *Config) { c.URL = "http://127.0.0.1:8080/" },
			URLPolicy{Address: anywhere, AllowHTTP: true},
			nil,
		},
		{
			"a number is no name even there",
			func(c *Config) { c.URL = "https://2130706433/" },
			URLPolicy{Address: anywhere},
			[]string{"url address_not_allowed"},
		},
		{"an underscore in a name", func(c *Config) { c.URL = "https://_a_.b_c.example.com/" }, URLPolicy{Address: public}, nil},
		{
			"a name of 253 characters",
			func(c *Config) { c.URL = "https://" + strings.Repeat("a.", 121) + "example.com./" },
			URLPolicy{Address: public},
			nil,
		},
		{"500 characters of description", func(c *Config) { c.Description = strings.Repeat("ü", 500) }, URLPolicy{Address: public}, nil},
		{
			"501 characters of description",
			func(c *Config) { c.Description = strings.Repeat("ü", 501) },
			URLPolicy{Address: public},
			[]string{"description too_long"},
		},
		{
			"a description that is no text",
			func(c *Config) { c.Description = "\xff" },
			URLPolicy{Address: public},
			[]string{"description invalid_encoding"},
		},
		{
			"a description with a carriage return",
			func(c *Config) { c.Description = "a\r\nb" },
			URLPolicy{Address: public},
			[]string{"description invalid_characters"},
		},
		{
			"statuses one by one",
			func(c *Config) { c.SubscribedStatuses = []Status{Failed, "x", Failed, "x"} },
			URLPolicy{Address: public},
			[]string{"subscribed_statuses/1 unknown_status", "subscribed_statuses/2 duplicate", "subscribed_statuses/3 unknown_status"},
		},
		{
			"more statuses than there are",
			func(c *Config) { c.SubscribedStatuses = make([]Status, 6) },
			URLPolicy{Address: public},
			[]string{"subscribed_statuses too_long"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := valid
			test.change(&c)
			var got []string
			for _, p := range c.Validate(test.policy) {
				got = append(got, p.Attribute+" "+p.Code)
				if p.Detail == "" {
					t.Errorf("%s has no detail", p.Code)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigIDs(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	last := ""
	for i := range 100 {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		id, err := NewConfigID(at, random)
		if err != nil || !ValidConfigID(id) || id <= last {
			t.Fatalf("%s after %s, %v", id, last, err)
		}
		parsed := uuid.MustParse(id)
		seconds, nanoseconds := parsed.Time().UnixTime()
		made := time.Unix(seconds, nanoseconds).UnixMilli()
		if parsed.Version() != 7 || parsed.Variant() != uuid.RFC4122 || made != at.UnixMilli() {
			t.Errorf("%s has version %d, variant %s, time %d.%d", id, parsed.Version(), parsed.Variant(), seconds, nanoseconds)
		}
		last = id
	}
	if id, err := NewConfigID(noon.Time, strings.NewReader("too short")); err == nil {
		t.Errorf("%s has too little randomness", id)
	}
	for _, id := range []string{
		"", "x", strings.ToUpper(someConfig), "{" + someConfig + "}", "urn:uuid:" + someConfig, strings.ReplaceAll(someConfig, "-", ""),
		someConfig + " ",
	} {
		if ValidConfigID(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

func TestConfigState(t *testing.T) {
	c := &Config{Active: true, SubscribedStatuses: []Status{Failed}, PreviousSealed: "s", PreviousExpiresAt: noon}
	if !c.Receives() || !c.Subscribes(Failed) || c.Subscribes(Pending) {
		t.Error("an active config receives what it subscribes to")
	}
	if !c.Overlapping(noon.Add(-time.Millisecond)) || c.Overlapping(noon.Time) {
		t.Error("an overlap lasts until just before its end")
	}
	c.PreviousSealed = ""
	if c.Overlapping(noon.Add(-time.Hour)) {
		t.Error("without previous credentials there is no overlap")
	}
	if c.Active = false; c.Receives() {
		t.Error("an inactive config receives")
	}
	if c.Active, c.DeletedAt = true, noon; c.Receives() || !c.Deleted() {
		t.Error("a deleted config receives")
	}
}

func FuzzURLPolicy(f *testing.F) {
	for _, seed := range []string{
		"https://hooks.example.com/", "http://hooks.example.com", "https://127.1/", "https://0x7f.0.0.1", "https://017700000001",
		"https://[::1]:8443/?q", "https://[::ffff:1.2.3.4]",
		"https://a@b/", "https://a.b#", "https://a.b\\@c", "https://1.2.3.4.", "https://8.8.8.8", "https://%31%32%37.1",
		"https://[fe80::1%25a]/", "https://a.b:443/%2e", "HTTPS://A.B",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, policy := range []URLPolicy{{Address: public}, {Address: anywhere, AllowHTTP: true}} {
			code, detail := policy.check(raw)
			if (code == "") != (detail == "") {
				t.Fatalf("%q: code %q, detail %q", raw, code, detail)
			}
			if code != "" {
				continue
			}
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatalf("%q is accepted: %v", raw, err)
			}
			if u.Scheme != "https" && !policy.AllowHTTP || u.Hostname() == "" || u.User != nil ||
				u.Fragment != "" || strings.Contains(raw, "#") {
				t.Fatalf("%q is accepted: %+v", raw, u)
			}
			if address, ok := aton(u.Hostname()); ok && policy.Address(address.String()) != nil {
				t.Fatalf("%q is accepted and means %s", raw, address)
			}
			if address, ok := aton(u.Hostname()); ok && net.ParseIP(u.Hostname()) == nil {
				t.Fatalf("%q is accepted and means %s to some", raw, address)
			}
		}
	})
}
