package webhook

import (
	"testing"
	"time"
)

func TestParseOccurred(t *testing.T) {
	recorded := time.Date(2026, 11, 26, 10, 0, 5, 0, time.UTC)
	const ten = "2026-11-26T10:00:00.000Z"
	for name, test := range map[string]struct{ text, want string }{
		"RFC 3339":                                 {text: "2026-11-26T10:00:00Z", want: ten},
		"with milliseconds":                        {text: "2026-11-26T10:00:00.123Z", want: "2026-11-26T10:00:00.123Z"},
		"with nanoseconds":                         {text: "2026-11-26T10:00:00.123999999Z", want: "2026-11-26T10:00:00.123Z"},
		"with more digits than a clock has":        {text: "2026-11-26T10:00:00.1239999999999999Z", want: "2026-11-26T10:00:00.123Z"},
		"with an offset":                           {text: "2026-11-26T12:00:00+02:00", want: ten},
		"with an offset that nobody knows":         {text: "2026-11-26T10:00:00-00:00", want: ten},
		"in lower case":                            {text: "2026-11-26t10:00:00z", want: ten},
		"with a space":                             {text: "2026-11-26 10:00:00+00:00", want: ten},
		"of a leap second":                         {text: "2026-11-26T09:59:60Z", want: "2026-11-26T09:59:59.000Z"},
		"without an offset it is UTC":              {text: "2026-11-26T10:00:00.123456", want: "2026-11-26T10:00:00.123Z"},
		"with a space and without an offset":       {text: "2026-11-26 10:00:00", want: ten},
		"with an offset without a colon":           {text: "2026-11-26T12:00:00+0200", want: ten},
		"with an offset of hours":                  {text: "2026-11-26 12:00:00.5+02", want: "2026-11-26T10:00:00.500Z"},
		"Unix seconds":                             {text: "1795687200", want: ten},
		"Unix seconds with a fraction":             {text: "1795687200.1239", want: "2026-11-26T10:00:00.123Z"},
		"Unix seconds with a short fraction":       {text: "1795687200.5", want: "2026-11-26T10:00:00.500Z"},
		"Unix milliseconds":                        {text: "1795687200123", want: "2026-11-26T10:00:00.123Z"},
		"long ago":                                 {text: "1999-12-31T23:59:59Z", want: "1999-12-31T23:59:59.000Z"},
		"a day ahead":                              {text: "2026-11-27T10:00:05Z", want: "2026-11-27T10:00:05.000Z"},
		"more than a day ahead is not believed":    {text: "2026-11-27T10:00:05.001Z"},
		"the far future is not believed":           {text: "9999-12-31T23:59:59Z"},
		"a number of the far future":               {text: "9999999999"},
		"a number of milliseconds, far ahead":      {text: "9999999999999"},
		"a date in digits is no number of ours":    {text: "20261126"},
		"a time in digits is none either":          {text: "20261126100000"},
		"microseconds":                             {text: "1795687200123456"},
		"a negative number":                        {text: "-1795687200"},
		"a number with an exponent":                {text: "1.7956872E9"},
		"two fractions":                            {text: "1795687200.1.2"},
		"a date":                                   {text: "2026-11-26"},
		"without seconds":                          {text: "2026-11-26T10:00Z"},
		"a comma":                                  {text: "2026-11-26T10:00:00,5Z"},
		"a day that is not":                        {text: "2026-02-30T10:00:00Z"},
		"an hour that is not":                      {text: "2026-11-26T24:00:00Z"},
		"a second that is not":                     {text: "2026-11-26T10:00:61Z"},
		"an offset that is not":                    {text: "2026-11-26T10:00:00+24:00"},
		"a name of a zone":                         {text: "2026-11-26 10:00:00 UTC"},
		"the zero time":                            {text: "0001-01-01T00:00:00Z"},
		"out of range in UTC":                      {text: "0000-01-01T00:00:00+01:00"},
		"words":                                    {text: "14 March 2026"},
		"nothing":                                  {text: ""},
		"a time with something after it":           {text: "2026-11-26T10:00:00Z\n"},
		"a time with digits of another script":     {text: "2026-11-26T10:00:0०Z"},
		"a number with digits of another script":   {text: "179568720०"},
		"a fraction that is missing after a point": {text: "2026-11-26T10:00:00.Z"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOccurred(test.text, recorded)
			if got.String() != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%s is read as %q, %v; want %q", test.text, got, err, test.want)
			}
		})
	}
}

// Whatever the document system wrote is read as a time that can be written again, or not at all.
func FuzzParseOccurred(f *testing.F) {
	for _, seed := range []string{
		"2026-11-26t10:00:00.5z", "2026-11-26 10:00:60+0200", "1795687200.1", "1795687200123", "9999-12-31 23:59:60-23",
	} {
		f.Add(seed)
	}
	recorded := time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseOccurred(text, recorded)
		if err != nil {
			if !got.IsZero() {
				t.Errorf("%q is refused and is %s", text, got)
			}
			return
		}
		if again, err := ParseTime(got.String()); err != nil || again != got {
			t.Errorf("%q is read as %s, which is read as %s, %v", text, got, again, err)
		}
	})
}
