package soak

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// String tells all that is known of a delivery, in its order: on the machine's clock, but for what its item says.
func (s *story) String() string {
	type happened struct {
		at   time.Time
		what string
	}
	var all []happened
	add := func(at time.Time, format string, values ...any) {
		all = append(all, happened{at: at, what: fmt.Sprintf(format, values...)})
	}
	for _, p := range s.posts {
		answer := "not accepted"
		if p.accepted {
			answer = "accepted"
		}
		var headers []string
		for _, name := range ours {
			if !strings.Contains(name, "Token") && !strings.Contains(name, "Signature") {
				headers = append(headers, name+" "+strings.Join(p.header[name], ","))
			}
		}
		add(p.at, "endpoint %s got a request, %s: %s", p.endpoint, answer, strings.Join(headers, ", "))
	}
	for _, l := range s.said {
		text := fmt.Sprintf("deliver said %q of message %s", l.Msg, l.MessageID)
		for _, field := range []struct{ name, value string }{
			{"receive", fmt.Sprint(l.Receives)}, {"round", l.Round}, {"attempt", fmt.Sprint(l.Attempt)}, {"outcome", l.Outcome},
			{"verdict", l.Verdict}, {"reason", l.Reason}, {"error", l.Error}, {"ms", fmt.Sprint(l.Duration)},
		} {
			if field.value != "" && (field.value != "0" || field.name == "round") {
				text += ", " + field.name + " " + field.value
			}
		}
		add(l.Time, "%s", text)
	}
	for _, e := range s.cut {
		add(e.at, "a batch with message %s failed: %s", e.message, e.why)
	}
	slices.SortStableFunc(all, func(a, b happened) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, h := range all {
		fmt.Fprintf(&b, "%s %s\n", h.at.UTC().Format("15:04:05.000000"), h.what)
	}
	if s.item == nil {
		return b.String() + "there is no item"
	}
	fmt.Fprintf(&b, "the item: %s, round %s", s.item.Status, s.item.Round)
	for _, a := range s.item.Attempts {
		at := time.UnixMicro(a.At).UTC().Format("15:04:05.000000")
		fmt.Fprintf(&b, "\n  attempt %d of message %s at %s: %d %s", a.Number, a.MessageID, at, a.Status, a.Code)
	}
	return b.String()
}

func TestAStoryTellsWhatIsKnown(t *testing.T) {
	l := sound(t)
	l.posts = append(l.posts, l.posts[0]) // nobody made it
	l.posts[2].at = l.posts[2].at.Add(time.Minute)
	l.batches = []failedBatch{{at: l.posts[0].at, messages: []string{"message_2"}, why: "killed"}}
	l.batches = append(l.batches, failedBatch{at: l.posts[0].at, messages: []string{"other"}, why: "killed too"})
	l.posts = append(l.posts, l.posts[2])
	told := l.compare()[unknownPost].stories
	if len(told) != 1 {
		t.Fatalf("%d stories", len(told))
	}
	for _, want := range []string{
		"endpoint endpoint got a request, not accepted: ", "X-Webhook-Attempt", "Idempotency-Key dlv_",
		`deliver said "attempt" of message message_2, round 0, attempt 2`, "a batch with message message_2 failed: killed",
		"the item: delivered, round 0", "attempt 1 of message message_1 at ",
	} {
		if !strings.Contains(told[0], want) {
			t.Errorf("it lacks %q:\n%s", want, told[0])
		}
	}
	if strings.Contains(told[0], "killed too") || strings.Contains(told[0], "whtok_") {
		t.Errorf("it tells too much:\n%s", told[0])
	}
}
