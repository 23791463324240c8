package webhook

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxOccurredAhead is how far ahead of the record of a change its own time may lie.
const maxOccurredAhead = 24 * time.Hour

// occurredForm is every form in which RFC 3339 lets a time be written, and those that databases and libraries
// make of it: without an offset, and with one that has no colon or no minutes. It is not compiled at the start of
// functions that do not need it.
var occurredForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(\.\d+)?([Zz]|[+-]\d\d(?::?\d\d)?)?$`)
})

// ParseOccurred reads the time of a change as the document system wrote it: RFC 3339 in any legal form, also
// without an offset, which is then UTC, or Unix seconds (ten digits and perhaps a fraction) or milliseconds
// (thirteen). It errors if text is none of these or lies more than a day after recorded, when the change was
// recorded: a time of the far future tells nothing.
//
// Source: https://www.rfc-editor.org/rfc/rfc3339#section-5.6
func ParseOccurred(text string, recorded time.Time) (Time, error) {
	t, err := ParseTime(text) // the form that most write
	if err != nil {
		t, err = parseUnix(text)
	}
	if err != nil {
		t, err = parseWritten(text)
	}
	if err != nil {
		return Time{}, err
	}
	if t.Sub(recorded) > maxOccurredAhead {
		return Time{}, fmt.Errorf("%.40q is more than a day ahead", text)
	}
	return t, nil
}

func parseUnix(text string) (Time, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	number, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return Time{}, fmt.Errorf("%.40q is not a number", text)
	}
	switch len(whole) {
	case len("1764151200"):
		millis, _ := strconv.ParseInt((fraction + "000")[:3], 10, 64)
		return At(time.UnixMilli(int64(number)*1000 + millis)), nil
	case len("1764151200000"):
		return At(time.UnixMilli(int64(number))), nil
	}
	return Time{}, fmt.Errorf("%.40q is neither seconds nor milliseconds of our time", text)
}

func parseWritten(text string) (Time, error) {
	parts := occurredForm().FindStringSubmatch(text)
	if parts == nil {
		return Time{}, fmt.Errorf("%.40q is not a time", text)
	}
	date, minutes, second, fraction, offset := parts[1], parts[2], parts[3], parts[4], strings.ToUpper(parts[5])
	if second == "60" { // a leap second, which package time does not know
		second = "59"
	}
	switch len(offset) {
	case 0:
		offset = "Z"
	case len("+02"):
		offset += ":00"
	case len("+0200"):
		offset = offset[:3] + ":" + offset[3:]
	}
	t, err := ParseTime(date + "T" + minutes + second + fraction + offset)
	if err != nil {
		return Time{}, fmt.Errorf("%.40q is not a time", text)
	}
	return t, nil
}
