package delivery_test

import (
	"errors"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
)

var day = delivery.Schedule{10 * time.Second, 5 * time.Minute, 90 * time.Minute, 22 * time.Hour}

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]delivery.Schedule{
		"day":               day,
		"fast":              {10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute},
		"10,300,5400,79200": day,
		" 1, 2 ,3,604800":   {time.Second, 2 * time.Second, 3 * time.Second, 7 * 24 * time.Hour},
		"00010,060,9,1":     {10 * time.Second, time.Minute, 9 * time.Second, time.Second},
	} {
		got, err := delivery.ParseSchedule(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "Day", "day ", "slow", "10", "10,60,300", "10,60,300,900,1800", "0,60,300,900", "-1,60,300,900", "604801,60,300,900",
		"10,60,300,", "10,60,300,1h", "10;60;300;900", "1.5,60,300,900", "99999999999999999999,60,300,900", "9223372037,60,300,900",
	} {
		if got, err := delivery.ParseSchedule(text); !errors.Is(err, delivery.ErrSchedule) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestDelay(t *testing.T) {
	const almostOne = 1 - 1e-12
	for _, test := range []struct {
		name       string
		attempt    int
		retryAfter time.Duration
		random     float64
		want       time.Duration
	}{
		{name: "the first one after the first attempt", attempt: 1, random: 0.5, want: 10 * time.Second},
		{name: "the second one after the second attempt", attempt: 2, random: 0.5, want: 5 * time.Minute},
		{name: "the third one after the third attempt", attempt: 3, random: 0.5, want: 90 * time.Minute},
		{name: "the fourth one after the fourth attempt", attempt: 4, random: 0.5, want: 22 * time.Hour},
		{name: "a fifth shorter at least", attempt: 4, random: 0, want: 1056 * time.Minute},
		{name: "a fifth longer at most", attempt: 4, random: almostOne, want: 1584 * time.Minute},
		{name: "what the endpoint wants if that is longer", attempt: 1, retryAfter: time.Minute, random: 0.5, want: time.Minute},
		{name: "no sooner because the endpoint wants less", attempt: 4, retryAfter: time.Minute, random: 0.5, want: 22 * time.Hour},
		{name: "a day if the endpoint wants a day", attempt: 1, retryAfter: 24 * time.Hour, random: 0.5, want: 24 * time.Hour},
		{name: "a day if the endpoint wants more", attempt: 1, retryAfter: 1<<63 - 1, random: 0.5, want: 24 * time.Hour},
		{
			name: "the schedule's beyond a day if the endpoint wants more", attempt: 4, retryAfter: 48 * time.Hour, random: almostOne,
			want: 1584 * time.Minute,
		},
		{
			name: "the schedule's if the endpoint wants something negative", attempt: 1, retryAfter: -time.Hour, random: 0.5,
			want: 10 * time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := day.Delay(test.attempt, test.retryAfter, test.random); (got - test.want).Abs() > time.Microsecond {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestDelayStaysInItsBounds(t *testing.T) {
	for attempt := 1; attempt <= len(day); attempt++ {
		base := day[attempt-1]
		for _, after := range []time.Duration{0, time.Second, time.Minute, time.Hour, 1<<63 - 1} {
			for step := range 1000 {
				got := day.Delay(attempt, after, float64(step)/1000)
				if least, most := base-base/5, max(base+base/5, 24*time.Hour); got < least || got > most {
					t.Fatalf("attempt %d, asked for %v: %v is not between %v and %v", attempt, after, got, least, most)
				}
			}
		}
	}
}
