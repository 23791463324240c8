package endpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// problems validates a config with the URL.
func problems(policy webhook.URLPolicy, url string) []string {
	config := webhook.Config{URL: url, SubscribedStatuses: []webhook.Status{webhook.Processed}}
	var codes []string
	for _, p := range config.Validate(policy) {
		codes = append(codes, p.Code)
	}
	return codes
}

func TestURLTrickIsRefusedInAConfig(t *testing.T) {
	production := webhook.URLPolicy{Address: NewGuard(false).Check}
	sandbox := webhook.URLPolicy{AllowHTTP: true, Address: NewGuard(false).Check}
	const address, invalid, characters, scheme = "address_not_allowed", "invalid_url", "invalid_characters", "scheme_not_allowed"
	cases := map[string]string{
		// Other notations of addresses.
		"https://127.1/":                  address,
		"https://127.0.1/":                address,
		"https://2130706433/":             address,
		"https://0x7f000001/":             address,
		"https://0x7f.0.0.1/":             address,
		"https://0X7F.0.0.0x1/":           address,
		"https://017700000001/":           address,
		"https://0177.0.0.1/":             address,
		"https://0177.0.0.01/":            address,
		"https://127.000.000.001/":        address,
		"https://0/":                      address,
		"https://0.0.0.0/":                address,
		"https://127.0.0.1./":             address,
		"https://127.0.0.1:8443/":         address,
		"https://3232235521/":             address,
		"https://2852039166/":             address, // metadata
		"https://0xa9fea9fe/":             address, // metadata
		"https://169.254.43518/":          address, // metadata
		"https://256.256.256.256/":        address,
		"https://1.2.3.4.5/":              address,
		"https://[::1]/":                  address,
		"https://[0:0:0:0:0:0:0:1]/":      address,
		"https://[::]/":                   address,
		"https://[::127.0.0.1]/":          address,
		"https://[::ffff:127.0.0.1]/":     address,
		"https://[::ffff:7f00:1]/":        address,
		"https://[0:0:0:0:0:ffff:7f00:1]": address,
		"https://[::FFFF:a9fe:a9fe]/":     address,
		"https://[64:ff9b::a9fe:a9fe]/":   address,
		"https://[2002:a9fe:a9fe::1]/":    address,
		"https://[fe80::1%25eth0]/":       address,
		"https://[::1%25lo]/":             address,
		"https://[fd00:ec2::254]/latest":  address,
		// Names that can only be private.
		"https://localhost/":                          address,
		"https://LocalHost/":                          address,
		"https://localhost./":                         address,
		"https://anything.localhost/":                 address,
		"https://printer.local/":                      address,
		"https://metadata.google.internal/":           address,
		"https://ip-10-0-0-1.eu-west-1.internal/":     address,
		"https://intranet/":                           address,
		"https://instance-data/latest/meta-data/":     address,
		"https://kubernetes.default.svc.local:6443/x": address,
		// What parsers disagree on.
		"https://good.example@127.0.0.1/":    "userinfo_not_allowed",
		"https://user:pass@good.example/":    "userinfo_not_allowed",
		"https://@good.example/":             "userinfo_not_allowed",
		"https://good.example#@127.0.0.1/":   "fragment_not_allowed",
		"https://127.0.0.1#.good.example/":   "fragment_not_allowed",
		"https://good.example/#":             "fragment_not_allowed",
		`https://good.example\@127.0.0.1/`:   characters,
		`https:\\127.0.0.1\`:                 characters,
		"https://127。0。0。1/":                 characters,
		"https://①②⑦.⓪.⓪.①/":                 characters,
		"https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/":                 characters,
		"https://good.example/\r\nHost: x":   characters,
		"https://good.example/\t":            characters,
		" https://good.example/":             characters,
		"https://good.example /":             characters,
		"https://good.example\x00.evil/":     characters,
		"https://%31%32%37.0.0.1/":           invalid,
		"https://127.0.0.1%2f@good.example/": "userinfo_not_allowed",
		"https://[::1/":                      invalid,
		"https://::1/":                       invalid,
		"https://good.example:0/":            invalid,
		"https://good.example:99999/":        invalid,
		"https://good.example:/":             invalid,
		"https://good..example/":             invalid,
		"https://-good.example/":             invalid,
		"https:///etc/passwd":                invalid,
		"https:127.0.0.1/":                   invalid,
		"https://":                           invalid,
		"//127.0.0.1/":                       scheme,
		"127.0.0.1":                          scheme,
		"file:///etc/passwd":                 scheme,
		"gopher://good.example/":             scheme,
		"ftp://good.example/":                scheme,
		"javascript:alert(1)":                scheme,
		"data:text/plain,x":                  scheme,
		"":                                   "empty",
	}
	for url, want := range cases {
		t.Run(url, func(t *testing.T) {
			for name, policy := range map[string]webhook.URLPolicy{"production": production, "sandbox": sandbox} {
				if diff := cmp.Diff([]string{want}, problems(policy, url)); diff != "" {
					t.Errorf("in %s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
	if len(cases)+2*len(special) < 150 {
		t.Errorf("only %d tricks", len(cases)+2*len(special))
	}
	if diff := cmp.Diff([]string{scheme}, problems(production, "http://good.example/")); diff != "" {
		t.Errorf("http in production (-want +got):\n%s", diff)
	}
	for _, url := range []string{
		"https://good.example/", "HTTPS://Good.Example:8443/a?b=c", "https://xn--bcher-kva.example", "https://127.0.0.1.nip.example/",
		"https://10.example/", "https://a_b.good.example./x%20y", "https://0xdead.beef.example/",
	} {
		if got := problems(production, url); got != nil {
			t.Errorf("%s: %v", url, got)
		}
	}
	if got := problems(sandbox, "http://good.example/"); got != nil {
		t.Errorf("http in a sandbox: %v", got)
	}
}
