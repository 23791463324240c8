package webhook

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of a config's attributes.
const (
	MaxURLLength         = 2048 // bytes
	MaxDescriptionLength = 500  // characters
)

// Reasons for which Docuhook itself deactivates a config.
const (
	EndpointGone    = "endpoint_gone"    // the endpoint answered 410
	EndpointFailing = "endpoint_failing" // nothing but final failures for a long time
)

// Config says where an organization wants its webhooks.
type Config struct {
	OrganizationID     string
	ID                 string // UUIDv7
	URL                string
	Description        string
	SubscribedStatuses []Status
	Active             bool
	DeactivatedReason  string   // EndpointGone, EndpointFailing or ""
	SecretPrefix       string   // the first characters of the secret, to tell secrets apart
	CustomHeaderNames  []string // in their order; their values are sealed with the credentials

	Sealed            string // the credentials, sealed by the keyring
	PreviousSealed    string // those before the last rotation, "" if there are none
	PreviousExpiresAt Time   // the end of their overlap

	FailureCount int  // final failures since the last success
	FailingSince Time // the first of them

	FastUntil Time // the endpoint has lately answered quickly, so until then it is trusted to do so again
	SlowUntil Time // the endpoint has lately been slow or given no answer; until then that outweighs FastUntil

	Version   int64 // counts the changes that an organization or a deactivation made
	CreatedAt Time
	UpdatedAt Time
	DeletedAt Time // set on the tombstone that a deleted config leaves
}

// Deleted reports whether c is only a tombstone.
func (c *Config) Deleted() bool { return !c.DeletedAt.IsZero() }

// Receives reports whether deliveries may go to c.
func (c *Config) Receives() bool { return c.Active && !c.Deleted() }

// Subscribes reports whether c wants to hear of documents that become s.
func (c *Config) Subscribes(s Status) bool { return slices.Contains(c.SubscribedStatuses, s) }

// Overlapping reports whether the credentials before the last rotation are still accepted at now.
func (c *Config) Overlapping(now time.Time) bool {
	return c.PreviousSealed != "" && now.Before(c.PreviousExpiresAt.Time)
}

// Fast reports whether messages to c go through the fast lane, DeliveryQueue, and not through RetryQueue.
func (c *Config) Fast(now time.Time) bool {
	return now.Before(c.FastUntil.Time) && !now.Before(c.SlowUntil.Time)
}

// How long an endpoint is taken for fast or slow after an attempt, and what must be left of that for
// another write of it to be saved.
const (
	fastFor      = 30 * 24 * time.Hour
	fastEnough   = 15 * 24 * time.Hour
	slowFor      = 10 * time.Minute
	slowEnough   = 5 * time.Minute
	fastDuration = time.Second
)

// Lane is what an attempt says about an endpoint.
type Lane string

// The lanes.
const (
	FastLane Lane = "fast" // it was answered within a second
	SlowLane Lane = "slow" // it was not, or not at all
)

// Judge brings the lane of c up to date after an attempt that took so long and was answered or not. It returns
// the lane whose end it has moved, "" if that has most of its time left, so that another write is not worth it.
func (c *Config) Judge(now time.Time, took time.Duration, answered bool) Lane {
	lane, end, left, enough := SlowLane, &c.SlowUntil, slowFor, slowEnough
	if answered && took < fastDuration {
		lane, end, left, enough = FastLane, &c.FastUntil, fastFor, fastEnough
	}
	if end.Sub(now) >= enough {
		return ""
	}
	*end = At(now.Add(left))
	return lane
}

// ValidConfigID reports whether id is in the canonical form of a UUID.
func ValidConfigID(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed.String() == id
}

// NewConfigID returns a UUIDv7 (RFC 9562, section 5.7) of the time now.
func NewConfigID(now time.Time, random io.Reader) (string, error) {
	var id uuid.UUID
	if _, err := io.ReadFull(random, id[6:]); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	var moment [8]byte
	binary.BigEndian.PutUint64(moment[:], uint64(now.UnixMilli()))
	copy(id[:6], moment[2:])
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id.String(), nil
}

// Problem is one reason why a config is invalid.
type Problem struct {
	Attribute string // "url", or "subscribed_statuses/1" for an element
	Code      string // stable, for programs
	Detail    string // for people
}

// URLPolicy says which endpoints are acceptable.
type URLPolicy struct {
	AllowHTTP bool                    // also http, for sandboxes
	Address   func(host string) error // refuses a literal address that must not be called; host is an IP address; never nil
}

// Validate returns every reason why c is not acceptable, in the order of its attributes.
func (c *Config) Validate(policy URLPolicy) []Problem {
	var problems []Problem
	add := func(attribute, code, format string, args ...any) {
		problems = append(problems, Problem{attribute, code, fmt.Sprintf(format, args...)})
	}
	if code, detail := policy.check(c.URL); code != "" {
		add("url", code, "%s", detail)
	}
	switch {
	case !utf8.ValidString(c.Description):
		add("description", "invalid_encoding", "must be valid UTF-8")
	case utf8.RuneCountInString(c.Description) > MaxDescriptionLength:
		add("description", "too_long", "must have at most %d characters", MaxDescriptionLength)
	case strings.ContainsFunc(c.Description, isControl):
		add("description", "invalid_characters", "must not contain control characters")
	}
	statuses := c.SubscribedStatuses
	switch {
	case len(statuses) == 0:
		add("subscribed_statuses", "empty", "must name at least one status of %s", joinStatuses())
	case len(statuses) > len(Statuses()):
		add("subscribed_statuses", "too_long", "must name each status at most once, so %d at most", len(Statuses()))
		statuses = nil // a request has room for thousands
	}
	for i, status := range statuses {
		attribute := fmt.Sprintf("subscribed_statuses/%d", i)
		switch {
		case !status.Known():
			add(attribute, "unknown_status", "must be one of %s", joinStatuses())
		case slices.Contains(statuses[:i], status):
			add(attribute, "duplicate", "%s is named twice", status)
		}
	}
	return problems
}

func joinStatuses() string {
	var names []string
	for _, s := range Statuses() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// check returns the code and detail of the first thing that is wrong with an endpoint's URL.
func (p URLPolicy) check(raw string) (code, detail string) {
	schemes := "https"
	if p.AllowHTTP {
		schemes = "https or http"
	}
	switch {
	case raw == "":
		return "empty", "must be an absolute " + schemes + " URL"
	case len(raw) > MaxURLLength:
		return "too_long", fmt.Sprintf("must have at most %d bytes", MaxURLLength)
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "invalid_characters", "must consist of visible ASCII characters; " +
			"write other hosts in Punycode and other characters percent-encoded"
	}
	if forbidden := forbidden(raw); forbidden != "" {
		return "invalid_characters", fmt.Sprintf("must have %s percent-encoded, as %%%02X: some servers refuse it as it is",
			forbidden, forbidden[0])
	}
	if strings.Contains(raw, `\`) {
		return "invalid_characters", "must not contain a backslash"
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "invalid_url", "is not a valid URL"
	}
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && p.AllowHTTP):
		return "scheme_not_allowed", "must begin with " + schemes + "://"
	case u.Opaque != "" || u.Host == "" || u.Hostname() == "":
		return "invalid_url", "must name a host"
	case u.User != nil:
		return "userinfo_not_allowed", "must not contain a user name or password"
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return "fragment_not_allowed", "must not contain a fragment"
	case strings.HasSuffix(u.Host, ":"):
		return "invalid_url", "must name a port after the colon"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "invalid_url", "must name a port between 1 and 65535"
		}
	}
	return p.checkHost(u.Hostname())
}

// forbidden returns the first character of a URL's path and query that RFC 3986 does not let stand there as it is,
// "" if there is none. A percent sign is one where no two hexadecimal digits follow.
//
// Source: https://www.rfc-editor.org/rfc/rfc3986#section-3.3 and section-3.4
func forbidden(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	begin := strings.IndexAny(rest, "/?#")
	if begin < 0 {
		return ""
	}
	rest, _, _ = strings.Cut(rest[begin:], "#")
	for i, c := range rest {
		encoded := i+2 < len(rest) && isHex(rest[i+1]) && isHex(rest[i+2])
		if strings.ContainsRune("\"<>[\\]^`{|}", c) || c == '%' && !encoded {
			return string(c)
		}
	}
	return ""
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

func (p URLPolicy) checkHost(host string) (code, detail string) {
	const notAllowed = "must not point to a private, local or otherwise special-purpose address"
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if net.ParseIP(host) != nil || strings.Contains(host, ":") {
		// A zone means an interface of ours; an IPv4 address within IPv6 is one in disguise.
		disguised := strings.Contains(host, ":") && strings.ContainsAny(host, "%.")
		if disguised || p.Address(host) != nil {
			return "address_not_allowed", notAllowed
		}
		return "", ""
	}
	labels := strings.Split(name, ".")
	// inet_aton, which some resolvers still use, also reads 2130706433, 0x7f.1 and 0177.0.0.1 as
	// addresses. No top-level domain begins with a digit, so all of them are refused.
	if last := labels[len(labels)-1]; last != "" && last[0] >= '0' && last[0] <= '9' {
		return "address_not_allowed", "must write an IPv4 address as four decimal numbers, " +
			"and a name so that its last part begins with a letter"
	}
	if len(name) > 253 {
		return "invalid_url", "must name a host of at most 253 characters"
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "invalid_url", "must name a valid host"
		}
	}
	if last := labels[len(labels)-1]; last == "localhost" || last == "local" || last == "internal" || len(labels) == 1 {
		// A name with one label can only be found inside a private network.
		if p.Address("127.0.0.1") != nil {
			return "address_not_allowed", notAllowed
		}
	}
	return "", ""
}
