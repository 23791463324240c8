package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRoundsSortByWhenTheyBegan(t *testing.T) {
	names := []string{
		FirstRound,
		LaterRound(time.UnixMilli(0), "a"),
		LaterRound(noon.Time, "a"),
		LaterRound(noon.Time, "b"),
		LaterRound(noon.Add(time.Millisecond), "a"),
		LaterRound(time.Date(2285, 1, 1, 0, 0, 0, 0, time.UTC), "a"),
	}
	for i, later := range names[1:] {
		if strings.Compare(names[i], later) >= 0 {
			t.Errorf("%s does not sort before %s", names[i], later)
		}
	}
}

func TestRoundsAreOrderedByTheirRequestsFirst(t *testing.T) {
	late, early := LaterRound(noon.Add(time.Hour), "x"), LaterRound(noon.Time, "x")
	for _, test := range []struct {
		name      string
		delivery  *Delivery
		requested Time
		round     string
		want      int
	}{
		{name: "any round is later than none", requested: noon, round: FirstRound, want: 1},
		{name: "the same", delivery: &Delivery{RequestedAt: noon, Round: early}, requested: noon, round: early},
		{name: "a later name", delivery: &Delivery{RequestedAt: noon, Round: FirstRound}, requested: noon, round: early, want: 1},
		{name: "an earlier name", delivery: &Delivery{RequestedAt: noon, Round: late}, requested: noon, round: early, want: -1},
		{
			name:      "a later request outweighs an earlier name",
			delivery:  &Delivery{RequestedAt: noon, Round: late},
			requested: At(noon.Add(time.Millisecond)), round: early, want: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.delivery.CompareRound(&Message{RequestedAt: test.requested, Round: test.round}); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func TestAResendIsNeverTakenForADuplicate(t *testing.T) {
	before, later := At(noon.Add(-time.Hour)), At(noon.Add(time.Hour))
	for _, test := range []struct {
		name            string
		requested, done Time
		want            Time
	}{
		{name: "just after the last request", requested: before, want: At(before.Add(time.Millisecond))},
		{name: "just after the last success", requested: before, done: noon, want: At(noon.Add(time.Millisecond))},
		{name: "just after a request since the last success", requested: noon, done: before, want: At(noon.Add(time.Millisecond))},
		{name: "just after one in the future, of another clock", requested: later, done: noon, want: At(later.Add(time.Millisecond))},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := someDelivery()
			d.RequestedAt, d.DoneFor, d.Round = test.requested, test.done, FirstRound
			want := Message{
				OrganizationID: d.OrganizationID,
				ConfigID:       d.ConfigID,
				Event:          d.Event,
				RequestedAt:    test.want,
				Trigger:        Resend,
				Round:          LaterRound(test.want.Time, "resend"),
				Attempt:        1,
				NotBefore:      noon,
				Again:          true,
			}
			got := NewResend(&d, noon.Add(999*time.Microsecond))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if d.CompareRound(&got) != 1 {
				t.Error("its round is not later than the one there was")
			}
		})
	}
}

func TestTwoResendsAreOneUntilTheFirstIsLogged(t *testing.T) {
	for name, how := range map[string]func(*Delivery, time.Time) Message{"resend": NewResend, "repeat": NewRepeat} {
		t.Run(name, func(t *testing.T) {
			d := someDelivery()
			d.RequestedAt, d.Round = noon, FirstRound
			first, second := how(&d, noon.Add(time.Second)), how(&d, noon.Add(time.Minute))
			if first.RequestedAt != second.RequestedAt || first.Round != second.Round {
				t.Errorf("%s of %s and %s of %s", first.Round, first.RequestedAt, second.Round, second.RequestedAt)
			}
			d.RequestedAt, d.Round = first.RequestedAt, first.Round
			third := how(&d, noon.Add(time.Minute))
			if d.CompareRound(&third) != 1 {
				t.Errorf("after %s of %s comes %s of %s", first.Round, first.RequestedAt, third.Round, third.RequestedAt)
			}
		})
	}
}

func TestRoundsOfTwoRequestsHaveTwoNames(t *testing.T) {
	for name, round := range map[string]string{
		"after a status change":         FirstRound,
		"after a round that began late": LaterRound(noon.Add(time.Hour), "redriven"), // so both begin a millisecond after it
	} {
		t.Run(name, func(t *testing.T) {
			d := someDelivery()
			d.RequestedAt, d.Round = noon, round
			resend, repeat := NewResend(&d, noon.Time), NewRepeat(&d, noon.Time)
			if resend.Round == repeat.Round {
				t.Errorf("both are %s", resend.Round)
			}
		})
	}
}

func TestARepeatIsALaterRoundOfTheSameRequest(t *testing.T) {
	for name, round := range map[string]string{
		"after a status change":          FirstRound,
		"after a round of the past":      LaterRound(noon.Add(-time.Hour), "zz"),
		"after one of this millisecond":  LaterRound(noon.Time, "zz"),
		"after one of another's future":  LaterRound(noon.Add(time.Hour), "zz"),
		"after a name that is no time":   "r1",
		"after the name of a wild clock": LaterRound(time.Date(2286, 1, 1, 0, 0, 0, 0, time.UTC), "zz"),
	} {
		t.Run(name, func(t *testing.T) {
			d := someDelivery()
			d.RequestedAt, d.Round = noon, round
			m := NewRepeat(&d, noon.Time)
			if m.RequestedAt != d.RequestedAt {
				t.Errorf("it asks for %s, the delivery for %s", m.RequestedAt, d.RequestedAt)
			}
			if round != "r1" && d.CompareRound(&m) != 1 {
				t.Errorf("%s is not later than %s", m.Round, round)
			}
		})
	}
}

func TestTheNextMessageSaysWhetherItIsLate(t *testing.T) {
	d := someDelivery()
	d.Attempt, d.NextAttemptAt, d.WakeAt = 2, noon, noon
	for _, test := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{name: "before it is due", now: noon.Add(-time.Minute)},
		{name: "when it is due", now: noon.Time},
		{name: "after that", now: noon.Add(time.Millisecond), want: true},
	} {
		m := d.NextMessage(test.now)
		if m.Again != test.want || m.Attempt != 3 || m.Round != d.Round || m.RequestedAt != d.RequestedAt || m.NotBefore != noon {
			t.Errorf("%s: %+v", test.name, m)
		}
	}
}
