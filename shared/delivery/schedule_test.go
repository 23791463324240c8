package delivery

import (
	"errors"
	"testing"
	"time"
)

var standard = Schedule{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]Schedule{
		"10,60,300,900":       standard,
		" 1, 2 ,3,43200":      {time.Second, 2 * time.Second, 3 * time.Second, 12 * time.Hour},
		"900,300,60,10":       {15 * time.Minute, 5 * time.Minute, time.Minute, 10 * time.Second},
		"00010,060,0300,0900": standard,
	} {
		got, err := ParseSchedule(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "10", "10,60,300", "10,60,300,900,1800", "0,60,300,900", "-1,60,300,900", "43201,60,300,900", "10,60,300,", "10,60,300,1h",
		"10;60;300;900", "1.5,60,300,900", "99999999999999999999,60,300,900", "9223372037,60,300,900",
	} {
		if got, err := ParseSchedule(text); !errors.Is(err, ErrSchedule) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestDelay(t *testing.T) {
	const almostOne = 1 - 1e-12
	cases := []struct {
		name       string
		attempt    int
		retryAfter time.Duration
		random     float64
		want       time.Duration
	}{
		{name: "is the schedule's in the middle of the jitter", attempt: 1, random: 0.5, want: 10 * time.Second},
		{name: "is the second one after the second attempt", attempt: 2, random: 0.5, want: time.Minute},
		{name: "is the third one after the third attempt", attempt: 3, random: 0.5, want: 5 * time.Minute},
		{name: "is the fourth one after the fourth attempt", attempt: 4, random: 0.5, want: 15 * time.Minute},
		{name: "is a fifth shorter at least", attempt: 1, random: 0, want: 8 * time.Second},
		{name: "is a fifth longer at most", attempt: 1, random: almostOne, want: 12 * time.Second},
		{name: "is what the endpoint wants if that is longer", attempt: 1, retryAfter: time.Minute, random: 0.5, want: time.Minute},
		{name: "is the schedule's if the endpoint wants less", attempt: 4, retryAfter: time.Minute, random: 0.5, want: 15 * time.Minute},
		{name: "is 15 minutes if the endpoint wants more", attempt: 1, retryAfter: 24 * time.Hour, random: 0.5, want: 15 * time.Minute},
		{name: "is the schedule's beyond 15 minutes if the endpoint wants more", attempt: 4, retryAfter: 24 * time.Hour, random: almostOne, want: 18 * time.Minute},
		{name: "is the schedule's if the endpoint wants something negative", attempt: 1, retryAfter: -time.Hour, random: 0.5, want: 10 * time.Second},
		{name: "is the first one before the first attempt", attempt: 0, random: 0.5, want: 10 * time.Second},
		{name: "is the last one after the last attempt", attempt: 9, random: 0.5, want: 15 * time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := standard.Delay(c.attempt, c.retryAfter, c.random)
			if (got - c.want).Abs() > time.Microsecond {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	twelveHours := Schedule{12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour}
	if got := twelveHours.Delay(1, 0, almostOne); got != 12*time.Hour {
		t.Errorf("%v is more than SQS allows", got)
	}
}

func TestDelayStaysInItsBounds(t *testing.T) {
	for attempt := 1; attempt <= 4; attempt++ {
		base := standard[attempt-1]
		for _, after := range []time.Duration{0, time.Second, time.Minute, time.Hour, 1<<63 - 1} {
			for step := range 1000 {
				got := standard.Delay(attempt, after, float64(step)/1000)
				least, most := base-base/5, max(base+base/5, 15*time.Minute)
				if got < least || got > most {
					t.Fatalf("attempt %d, asked for %v: %v is not between %v and %v", attempt, after, got, least, most)
				}
			}
		}
	}
}
