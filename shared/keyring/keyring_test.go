package keyring_test

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
)

const (
	random1 = "first-random-string-of-forty-characters!"
	random2 = "other-random-string-of-forty-characters!"
	ring1   = `{"primary":"k1","k1":"` + random1 + `"}`
	ring12  = `{"primary":"k2","k1":"` + random1 + `","k2":"` + random2 + `"}`
	ring2   = `{"primary":"k2","k2":"` + random2 + `"}`
)

var credentials = signature.Credentials{
	Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
}

func parse(t testing.TB, data string) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func seal(t testing.TB, ring *keyring.Ring) string {
	t.Helper()
	sealed, err := ring.Seal(credentials, "org_1", "config_1")
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// frozen was sealed by the first release. It must open for ever.
const frozen = "k1.EKhDuJ6WT/nvHzjJFe/Y5cFdv+/uSEu0XtSf7bvLtVhmQ9WGzAOeiClhdGq1BvlqupxAEoIYchv4nhtW7E4v3yJKDwai7F6S" +
	"8HFnaBJE8neAfSbdQP+PgohOqDmdyVXIsQ+GG9iBCSA2vMfxGRLTuvu5w8GEIMpACz0mKmlz6clryWwMJjqqMw+aHESWuQ"

func TestWhatTheFirstReleaseSealedOpens(t *testing.T) {
	got, err := parse(t, ring12).Open(frozen, "org_1", "config_1")
	if err != nil || !gocmp.Equal(got, credentials) {
		t.Errorf("%v, %v", gocmp.Equal(got, credentials), err)
	}
}

func TestSealedValue(t *testing.T) {
	sealed := seal(t, parse(t, ring1))
	cases := []struct {
		name                 string
		ring                 string
		sealed               string
		organization, config string // those that it was sealed for if they are empty
		want                 error
	}{
		{name: "opens with its key", ring: ring1, sealed: sealed},
		{name: "opens after a new primary key was added", ring: ring12, sealed: sealed},
		{name: "does not open after its key was removed", ring: ring2, sealed: sealed, want: keyring.ErrUnknownKey},
		{name: "does not open for another organization", ring: ring1, sealed: sealed, organization: "org_2", want: keyring.ErrSealed},
		{name: "does not open for another config", ring: ring1, sealed: sealed, config: "config_2", want: keyring.ErrSealed},
		{
			name:         "does not open for the two swapped",
			ring:         ring1,
			sealed:       sealed,
			organization: "config_1",
			config:       "org_1",
			want:         keyring.ErrSealed,
		},
		{
			name:         "does not open for the two cut elsewhere",
			ring:         ring1,
			sealed:       sealed,
			organization: "org_1c",
			config:       "onfig_1",
			want:         keyring.ErrSealed,
		},
		{
			name:   "does not open with another key of the same name",
			ring:   strings.ReplaceAll(ring1, random1, random2),
			sealed: sealed,
			want:   keyring.ErrSealed,
		},
		{
			name:   "does not open under the name of another key",
			ring:   ring12,
			sealed: "k2" + strings.TrimPrefix(sealed, "k1"),
			want:   keyring.ErrSealed,
		},
		{name: "does not open when it is cut", ring: ring1, sealed: sealed[:len(sealed)-4], want: keyring.ErrSealed},
		{name: "does not open when something follows", ring: ring1, sealed: sealed + "AAAA", want: keyring.ErrSealed},
		{name: "does not open when it is empty", ring: ring1, want: keyring.ErrUnknownKey},
		{name: "does not open when it is a key's name alone", ring: ring1, sealed: "k1", want: keyring.ErrSealed},
		{
			name:   "does not open under the name of the primary",
			ring:   ring1,
			sealed: "primary" + strings.TrimPrefix(sealed, "k1"),
			want:   keyring.ErrUnknownKey,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse(t, c.ring).Open(c.sealed, cmp.Or(c.organization, "org_1"), cmp.Or(c.config, "config_1"))
			if c.want == nil && (err != nil || !gocmp.Equal(got, credentials)) {
				t.Errorf("%v, equal: %t", err, gocmp.Equal(got, credentials))
			}
			if c.want != nil && (!errors.Is(err, c.want) || !gocmp.Equal(got, signature.Credentials{})) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestEveryTamperedByteIsNoticed(t *testing.T) {
	ring := parse(t, ring1)
	sealed := seal(t, ring)
	for i := range sealed {
		for _, change := range []byte{1, 0x80, sealed[i] ^ '.', sealed[i] ^ '\n', sealed[i] ^ 'A'} {
			if change == 0 {
				continue
			}
			tampered := []byte(sealed)
			tampered[i] ^= change
			if got, err := ring.Open(string(tampered), "org_1", "config_1"); err == nil || !gocmp.Equal(got, signature.Credentials{}) {
				t.Errorf("byte %d as %q: %v", i, tampered[i], err)
			}
		}
	}
	name, encoded, _ := strings.Cut(sealed, ".")
	raw, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			altered := name + "." + base64.RawStdEncoding.EncodeToString(raw)
			if _, err := ring.Open(altered, "org_1", "config_1"); !errors.Is(err, keyring.ErrSealed) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
			raw[i] ^= 1 << bit
		}
	}
}

// TestLastCharacterHasOneForm: base64 may leave bits of it that mean nothing, but not here.
func TestLastCharacterHasOneForm(t *testing.T) {
	ring := parse(t, ring1)
	for _, n := range []int{24, 25, 26} { // whatever the length leaves
		c := signature.Credentials{Token: credentials.Token + signature.Secret("xxxx"[:n-24]), Secret: credentials.Secret}
		sealed, err := ring.Seal(c, "org_1", "config_1")
		if err != nil {
			t.Fatal(err)
		}
		for last := byte('!'); last <= '~'; last++ {
			text := sealed[:len(sealed)-1] + string(last)
			if _, err := ring.Open(text, "org_1", "config_1"); (err == nil) != (text == sealed) {
				t.Errorf("ending in %q instead of %q: %v", last, sealed[len(sealed)-1], err)
			}
		}
	}
}

func TestSealingTwiceGivesDifferentValues(t *testing.T) {
	ring := parse(t, ring12)
	first, second := seal(t, ring), seal(t, ring)
	if first == second || !strings.HasPrefix(first, "k2.") {
		t.Errorf("%s and %s", first, second)
	}
	if strings.Contains(first, credentials.Token.Reveal()) {
		t.Error("the token is readable")
	}
}

// TestCredentialsThatCannotSignDoNotOpen: they would blame the endpoint for what is our fault.
func TestCredentialsThatCannotSignDoNotOpen(t *testing.T) {
	ring := parse(t, ring1)
	for name, broken := range map[string]signature.Credentials{
		"empty": {}, "no secret": {Token: credentials.Token}, "no token": {Secret: credentials.Secret},
	} {
		sealed, err := ring.Seal(broken, "org_1", "config_1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Open(sealed, "org_1", "config_1"); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var unusable = map[string]string{
	"nothing":                    ``,
	"no JSON":                    `k1=` + random1,
	"no object":                  `["` + random1 + `"]`,
	"null":                       `null`,
	"an empty object":            `{}`,
	"no primary":                 `{"k1":"` + random1 + `"}`,
	"an empty primary":           `{"primary":"","k1":"` + random1 + `"}`,
	"a primary that is not here": `{"primary":"k2","k1":"` + random1 + `"}`,
	"a primary of itself":        `{"primary":"primary"}`,
	"a key that is too short":    `{"primary":"k1","k1":"` + random1[:31] + `"}`,
	"a key that is empty":        `{"primary":"k1","k1":""}`,
	"a key that is no string":    `{"primary":"k1","k1":{"value":"` + random1 + `"}}`,
	"a second key too short":     `{"primary":"k1","k1":"` + random1 + `","k2":"short-but-secret"}`,
	"a name that is empty":       `{"primary":"k1","k1":"` + random1 + `","":"` + random2 + `"}`,
	"a name with a full stop":    `{"primary":"k1","k1":"` + random1 + `","k.2":"` + random2 + `"}`,
	"something after it":         ring1 + ring1,
	"cut off":                    ring1[:len(ring1)-3],
}

func TestUnusableKeyring(t *testing.T) {
	for name, data := range unusable {
		t.Run(name, func(t *testing.T) {
			ring, err := keyring.Parse([]byte(data))
			if !errors.Is(err, keyring.ErrKeyring) || ring != nil {
				t.Fatalf("%v, %v", ring, err)
			}
			quotes(t, err)
		})
	}
}

// quotes fails if an error quotes a key, even in part.
func quotes(t *testing.T, err error) {
	t.Helper()
	for _, key := range []string{random1, random2, "short-but-secret"} {
		if strings.Contains(err.Error(), key[:10]) {
			t.Errorf("the error quotes a key: %v", err)
		}
	}
}

func TestNewKey(t *testing.T) {
	first, second := keyring.NewKey(), keyring.NewKey()
	if first == second {
		t.Error("the same twice")
	}
	parse(t, fmt.Sprintf(`{"primary":"k1","k1":%q,"k2":%q}`, first, second))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ring1))
	f.Add([]byte(ring12))
	for _, data := range unusable {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ring, err := keyring.Parse(data)
		if err != nil {
			if !errors.Is(err, keyring.ErrKeyring) || ring != nil {
				t.Errorf("%v, %v", ring, err)
			}
			return
		}
		// Whatever is accepted can seal, and open that again.
		sealed, err := ring.Seal(credentials, "org_1", "config_1")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ring.Open(sealed, "org_1", "config_1"); err != nil || !gocmp.Equal(got, credentials) {
			t.Errorf("%v", err)
		}
	})
}

func TestCustomHeadersAreSealedWithTheCredentials(t *testing.T) {
	with := credentials
	with.Headers = map[string]signature.Secret{"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": `a"b\c`}
	ring := parse(t, ring1)
	sealed, err := ring.Seal(with, "org_1", "config_1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Open(sealed, "org_1", "config_1"); err != nil || !gocmp.Equal(got, with) {
		t.Errorf("%v: %v", err, gocmp.Equal(got, with))
	}
	if _, err := ring.Open(sealed, "org_1", "config_2"); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("they open for another config: %v", err)
	}
	if bare := seal(t, ring); len(sealed) <= len(bare) || strings.Contains(sealed, "Authorization") {
		t.Errorf("%s is not larger than %s, or shows a name", sealed, bare)
	}
}

func FuzzOpen(f *testing.F) {
	ring := parse(f, ring1)
	sealed := seal(f, ring)
	f.Add(sealed)
	f.Add(sealed + "=")
	f.Add("k1.")
	f.Add(".")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ring.Open(text, "org_1", "config_1")
		switch {
		case err == nil && !gocmp.Equal(got, credentials):
			t.Errorf("%q opens to something that was never sealed", text)
		case err == nil:
		case !errors.Is(err, keyring.ErrSealed) && !errors.Is(err, keyring.ErrUnknownKey) || !gocmp.Equal(got, signature.Credentials{}):
			t.Errorf("%q: %v", text, err)
		}
	})
}

func ExampleRing() {
	before, _ := keyring.Parse([]byte(`{"primary":"k1","k1":"VQNUQRMQZBFVGOBZ5SPDIMM6JHCAJNXT"}`))
	sealed, _ := before.Seal(credentials, "org_1", "config_1")

	// A new primary is added and the old key stays, to open what it has sealed.
	after, _ := keyring.Parse([]byte(`{"primary":"k2","k1":"VQNUQRMQZBFVGOBZ5SPDIMM6JHCAJNXT","k2":"E4YBKQGXZWOTWYO4F2Z6GJQGLGWQYK6D"}`))
	opened, err := after.Open(sealed, "org_1", "config_1")
	fmt.Println(opened.Secret == credentials.Secret, err)

	_, err = after.Open(sealed, "org_1", "config_2")
	fmt.Println(err)
	// Output:
	// true <nil>
	// sealed value does not open
}
