package webhook

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// atSecond is n seconds after noon.
func atSecond(n int) Time { return At(noon.Add(time.Duration(n) * time.Second)) }

func someDelivery() Delivery {
	return Delivery{
		OrganizationID: "org",
		ConfigID:       someConfig,
		Event:          Event{Version: 1, ID: someEvent, DocumentID: "d", Status: Failed, OccurredAt: noon},
		RequestedAt:    noon,
		Round:          FirstRound,
		Trigger:        StatusChange,
	}
}

// told is an outcome in short: of which round and attempt, by which message, and what it was.
type told struct {
	requested int // seconds after noon
	round     string
	attempt   int
	by        string
	status    DeliveryStatus
	started   bool // only the start of the attempt
	at        int
}

func (o told) outcome() Outcome {
	d := someDelivery()
	out := Outcome{
		Message: Message{
			OrganizationID: d.OrganizationID,
			ConfigID:       d.ConfigID,
			Event:          d.Event,
			RequestedAt:    atSecond(o.requested),
			Round:          o.round,
			Attempt:        o.attempt,
			Trigger:        StatusChange,
		},
		MessageID: o.by,
		Status:    o.status,
		At:        atSecond(o.at),
	}
	switch o.status {
	case Canceled:
		return out
	case Retrying:
		out.NextAttemptAt = atSecond(o.at + 10)
	case DeliveryFailed:
		out.DeadLetter = o.attempt == MaxAttempts
	}
	out.Tried = &Attempt{Number: o.attempt, MessageID: o.by, StartedAt: atSecond(o.at), ErrorCode: "http_status"}
	switch {
	case o.started:
		out.Tried.ErrorCode = CodeUnknown
	case o.status == Delivered:
		out.Tried.ErrorCode = ""
	}
	return out
}

// line is what of a delivery its rules are about.
func line(d Delivery) string {
	s := fmt.Sprintf("%s %s/%d", d.Status, d.Round, d.Attempt)
	if !d.DoneFor.IsZero() {
		s += fmt.Sprintf(" done for %d", int(d.DoneFor.Sub(noon.Time).Seconds()))
	}
	if d.Over() {
		s += " over"
	}
	if d.EndedBy != "" {
		s += " by " + d.EndedBy
	}
	if d.Waiting() {
		s += fmt.Sprintf(" waits until %d", int(d.NextAttemptAt.Sub(noon.Time).Seconds()))
	}
	return s + fmt.Sprintf(" listed %d", len(d.Attempts))
}

func TestTheLogNeverGoesBackwards(t *testing.T) {
	const resent = "0000000000009-r"
	for _, test := range []struct {
		name   string
		told   []told
		want   string
		counts bool // of the last
	}{
		{
			name:   "a first failure waits",
			told:   []told{{round: "0", attempt: 1, by: "m1", status: Retrying}},
			want:   "retrying 0/1 waits until 10 listed 1",
			counts: true,
		},
		{
			name:   "a first success is done",
			told:   []told{{round: "0", attempt: 1, by: "m1", status: Delivered}},
			want:   "delivered 0/1 done for 0 over listed 1",
			counts: true,
		},
		{
			name: "the next attempt follows",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying},
				{round: "0", attempt: 2, by: "m2", status: Retrying, at: 10},
			},
			want:   "retrying 0/2 waits until 20 listed 2",
			counts: true,
		},
		{
			name: "a duplicate's failure only joins the list",
			told: []told{{round: "0", attempt: 1, by: "m1", status: Retrying}, {round: "0", attempt: 1, by: "m2", status: Retrying, at: 5}},
			want: "retrying 0/1 waits until 10 listed 2",
		},
		{
			name: "so does an earlier attempt's",
			told: []told{{round: "0", attempt: 3, by: "m3", status: Retrying}, {round: "0", attempt: 2, by: "m2", status: Retrying, at: 5}},
			want: "retrying 0/3 waits until 10 listed 2",
		},
		{
			name: "so does an earlier round's",
			told: []told{
				{requested: 9, round: resent, attempt: 1, by: "r1", status: Retrying},
				{round: "0", attempt: 5, by: "m5", status: DeliveryFailed, at: 5},
			},
			want: "retrying " + resent + "/1 waits until 10 listed 2",
		},
		{
			name: "a duplicate's success ends the round that still waits",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying},
				{round: "0", attempt: 1, by: "m2", status: Delivered, at: 5},
			},
			want: "delivered 0/1 done for 0 over listed 2",
		},
		{
			name: "an earlier request's success leaves a later one live",
			told: []told{
				{requested: 9, round: resent, attempt: 1, by: "r1", status: Retrying},
				{round: "0", attempt: 1, by: "m1", status: Delivered, at: 5},
			},
			want: "retrying " + resent + "/1 done for 0 waits until 10 listed 2",
		},
		{
			name: "but ends a later round of the same request, which is obsolete",
			told: []told{
				{round: resent, attempt: 1, by: "r1", status: Retrying},
				{round: "0", attempt: 1, by: "m1", status: Delivered, at: 5},
			},
			want: "delivered " + resent + "/1 done for 0 over listed 2",
		},
		{
			name: "a success after a later request has failed for good says delivered",
			told: []told{
				{
					requested: 9,
					round:     resent,
					attempt:   5,
					by:        "r5",
					status:    DeliveryFailed}, {round: "0",
					attempt: 1,
					by:      "m1",
					status:  Delivered,
					at:      5,
				},
			},
			want: "delivered " + resent + "/5 done for 0 over by r5 listed 2",
		},
		{
			name: "a failure of what has succeeded only joins the list, whatever its round",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Delivered},
				{round: resent, attempt: 1, by: "r1", status: Retrying, at: 5},
			},
			want: "delivered 0/1 done for 0 over listed 2",
		},
		{
			name: "a later request begins a round",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Delivered},
				{requested: 9, round: resent, attempt: 1, by: "r1", status: Retrying, at: 9},
			},
			want:   "retrying " + resent + "/1 done for 0 waits until 19 listed 2",
			counts: true,
		},
		{
			name: "a later success raises what is done",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Delivered},
				{requested: 9, round: resent, attempt: 1, by: "r1", status: Delivered, at: 9},
			},
			want:   "delivered " + resent + "/1 done for 9 over listed 2",
			counts: true,
		},
		{
			name: "the fifth failure ends the round and names its message",
			told: []told{
				{round: "0", attempt: 4, by: "m4", status: Retrying},
				{round: "0", attempt: 5, by: "m5", status: DeliveryFailed, at: 5},
			},
			want:   "failed 0/5 over by m5 listed 2",
			counts: true,
		},
		{
			name: "another message's fifth failure does not",
			told: []told{
				{round: "0", attempt: 5, by: "m5", status: DeliveryFailed},
				{round: "0", attempt: 5, by: "m6", status: DeliveryFailed, at: 5},
			},
			want: "failed 0/5 over by m5 listed 2",
		},
		{
			name: "the end of an attempt takes the place of its start",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying, started: true},
				{round: "0", attempt: 1, by: "m1", status: Retrying, at: 5},
			},
			want:   "retrying 0/1 waits until 15 listed 1",
			counts: true,
		},
		{
			name: "a success takes the place of a fifth start",
			told: []told{
				{round: "0", attempt: 5, by: "m5", status: DeliveryFailed, started: true},
				{round: "0", attempt: 5, by: "m5", status: Delivered, at: 5},
			},
			want:   "delivered 0/5 done for 0 over listed 1",
			counts: true,
		},
		{
			name: "the end of a start that another has overtaken counts no more",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying, started: true},
				{round: "0", attempt: 2, by: "m2", status: Retrying, at: 3},
				{round: "0", attempt: 1, by: "m1", status: Retrying, at: 5},
			},
			want: "retrying 0/2 waits until 13 listed 2",
		},
		{
			name: "nor the end of one whose duplicate has succeeded",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying, started: true},
				{round: "0", attempt: 1, by: "m2", status: Delivered, at: 3},
				{round: "0", attempt: 1, by: "m1", status: Retrying, at: 5},
			},
			want: "delivered 0/1 done for 0 over listed 2",
		},
		{
			name:   "a canceled first attempt ends the round before it",
			told:   []told{{round: "0", attempt: 1, by: "m1", status: Canceled}},
			want:   "canceled 0/0 over listed 0",
			counts: true,
		},
		{
			name: "a canceled retry stays at the attempt before it",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Retrying},
				{round: "0", attempt: 2, by: "m2", status: Canceled, at: 5},
			},
			want:   "canceled 0/1 over listed 1",
			counts: true,
		},
		{
			name: "what is over is not canceled",
			told: []told{
				{round: "0", attempt: 1, by: "m1", status: Delivered},
				{round: "0", attempt: 1, by: "m2", status: Canceled, at: 5},
			},
			want: "delivered 0/1 done for 0 over listed 1",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d *Delivery
			var counts bool
			for _, one := range test.told {
				after, c := d.After(one.outcome())
				d, counts = &after, c
			}
			if got := line(*d); got != test.want || counts != test.counts {
				t.Errorf("got  %s, counts %v\nwant %s, counts %v", got, counts, test.want, test.counts)
			}
		})
	}
}

func TestAfterChangesNothingOfWhatItWasGiven(t *testing.T) {
	first, _ := (*Delivery)(nil).After(told{round: "0", attempt: 1, by: "m1", status: Retrying, started: true}.outcome())
	before := first
	before.Attempts = append([]Attempt(nil), first.Attempts...)
	first.After(told{round: "0", attempt: 1, by: "m1", status: Delivered, at: 5}.outcome())
	if diff := cmp.Diff(before, first); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestWhatIsSentStaysWhatWasSentFirst(t *testing.T) {
	o := told{round: "0", attempt: 1, by: "m1", status: Retrying}.outcome()
	o.Message.Event.Related = "https://documents.example/before"
	first, _ := (*Delivery)(nil).After(o)
	again := told{round: LaterRound(atSecond(9).Time, "r"), requested: 9, attempt: 1, by: "m2", status: Delivered, at: 9}.outcome()
	again.Message.Event.Related = "https://documents.example/after"
	if after, counts := first.After(again); !counts || after.Event != o.Message.Event {
		t.Errorf("a later round has changed the event: %+v", after.Event)
	}
}

func TestOnlyTheLastAttemptsAreListed(t *testing.T) {
	var d *Delivery
	for n := range MaxLoggedAttempts + 3 {
		o := told{round: LaterRound(atSecond(n).Time, "r"), requested: n, attempt: 1, by: fmt.Sprint(n), status: Retrying, at: n}
		after, _ := d.After(o.outcome())
		d = &after
	}
	if len(d.Attempts) != MaxLoggedAttempts || d.Attempts[0].MessageID != "3" || d.Revision != MaxLoggedAttempts+3 {
		t.Errorf("%d attempts from %s on, revision %d", len(d.Attempts), d.Attempts[0].MessageID, d.Revision)
	}
}

func TestAWriteWhoseAnswerWasLostIsFound(t *testing.T) {
	o := told{round: "0", attempt: 1, by: "m1", status: Retrying, at: 5}.outcome()
	after, _ := (*Delivery)(nil).After(o)
	other := told{round: "0", attempt: 1, by: "m2", status: Retrying, at: 5}.outcome()
	start := told{round: "0", attempt: 1, by: "m1", status: Retrying, started: true, at: 5}.outcome()
	if !after.Holds(o) || after.Holds(other) || after.Holds(start) || (*Delivery)(nil).Holds(o) {
		t.Error("an attempt is told by its message, its start and whether it has ended")
	}
}

func TestTheSweepWakesWhatNoQueueHoldsBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		delay time.Duration
		want  time.Duration // from noon
	}{
		{name: "soon: a quarter of an hour after it is due, should its message be lost", delay: time.Minute, want: 16 * time.Minute},
		{name: "at the queue's limit", delay: MaxDelay, want: 30 * time.Minute},
		{name: "later: when it is due", delay: MaxDelay + time.Millisecond, want: MaxDelay + time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := told{round: "0", attempt: 1, by: "m1", status: Retrying}.outcome()
			o.NextAttemptAt = At(noon.Add(test.delay))
			d, _ := (*Delivery)(nil).After(o)
			if got := d.WakeAt.Sub(noon.Time); got != test.want {
				t.Errorf("woken after %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheSweepComesBackLessAndLessOften(t *testing.T) {
	for _, test := range []struct{ late, want time.Duration }{ // since it was due
		{late: -time.Minute, want: 15 * time.Minute},
		{late: 0, want: 15 * time.Minute},
		{late: time.Millisecond, want: 30 * time.Minute},
		{late: 15 * time.Minute, want: 30 * time.Minute},
		{late: 16 * time.Minute, want: time.Hour},
		{late: 3 * time.Hour, want: 4 * time.Hour},
		{late: 12 * time.Hour, want: 16 * time.Hour},
		{late: 30 * time.Hour, want: 32 * time.Hour},
		{late: 33 * time.Hour, want: 56 * time.Hour},
		{late: 57 * time.Hour, want: 80 * time.Hour},
		{late: 90 * 24 * time.Hour, want: (32 + 89*24) * time.Hour},
	} {
		if got := NextWake(noon, noon.Add(test.late)).Sub(noon.Time); got != test.want {
			t.Errorf("%s late: %s after it was due, want %s", test.late, got, test.want)
		}
	}
}

func TestTheSweepComesBackToWhatHasNoTime(t *testing.T) {
	if got := NextWake(Time{}, noon.Time).Sub(noon.Time); got != 15*time.Minute {
		t.Errorf("in %s", got)
	}
}
