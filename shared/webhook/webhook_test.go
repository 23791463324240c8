package webhook

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimeFormats(t *testing.T) {
	east := time.FixedZone("", 3600)
	for _, test := range []struct {
		name string
		time Time
		want string
	}{
		{"in UTC", At(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)), `"2026-01-31T12:00:00.000Z"`},
		{"in another zone", At(time.Date(2026, 1, 31, 12, 0, 0, 0, east)), `"2026-01-31T11:00:00.000Z"`},
		{
			"with nanoseconds, which are cut and not rounded",
			At(time.Date(2026, 1, 31, 12, 0, 0, 123999999, time.UTC)),
			`"2026-01-31T12:00:00.123Z"`,
		},
		{"not made by At", Time{time.Date(2026, 1, 31, 12, 0, 0, 5e8, east)}, `"2026-01-31T11:00:00.500Z"`},
		{"zero", At(time.Time{}), `null`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(test.time)
			if string(got) != test.want || err != nil {
				t.Errorf("%s, %v, want %s", got, err, test.want)
			}
			var again Time
			if err := json.Unmarshal(got, &again); err != nil || again != At(test.time.Time) {
				t.Errorf("read as %s, %v", again, err)
			}
		})
	}
	if got := (Time{}).String(); got != "" {
		t.Errorf("the zero time is written %q", got)
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"2026-01-31T12:00:00Z":              "2026-01-31T12:00:00.000Z",
		"2026-01-31T12:00:00.1Z":            "2026-01-31T12:00:00.100Z",
		"2026-01-31T12:00:00.123456789012Z": "2026-01-31T12:00:00.123Z",
		"2026-01-31T12:00:00+01:30":         "2026-01-31T10:30:00.000Z",
		"2026-01-31T12:00:00-23:59":         "2026-02-01T11:59:00.000Z",
		"2024-02-29T00:00:00Z":              "2024-02-29T00:00:00.000Z",
		"0001-01-01T00:00:01Z":              "0001-01-01T00:00:01.000Z",
		"9999-12-31T23:59:59.999Z":          "9999-12-31T23:59:59.999Z",
	} {
		if got, err := ParseTime(s); got.String() != want || err != nil {
			t.Errorf("%s is read as %s, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "now", "2026", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-01-31t12:00:00z",
		"2026-01-31T1:00:00Z", "2026-01-31T12:00Z", "2026-01-31T12:00:00,5Z", "2026-01-31T12:00:00.Z",
		"2026-01-31T12:00:60Z", "2026-01-31T24:00:00Z", "2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z",
		"2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+01:60", "2026-01-31T12:00:00+0100", "2026-01-31T12:00:00Z ",
		" 2026-01-31T12:00:00Z", "12026-01-31T12:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z",
		"1769860800",
	} {
		if got, err := ParseTime(s); err == nil {
			t.Errorf("%q is read as %s", s, got)
		}
	}
}

func TestStatuses(t *testing.T) {
	want := []Status{"pending", "submitted", "processing", "processed", "failed"}
	if diff := cmp.Diff(want, Statuses()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	Statuses()[0] = "changed"
	for _, s := range want {
		if !s.Known() {
			t.Errorf("%s is not known", s)
		}
	}
	for _, s := range []Status{"", "Pending", "done", "changed"} {
		if s.Known() {
			t.Errorf("%q is known", s)
		}
	}
}
