package delivery

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	// maxRetryAfter bounds how long an endpoint may ask us to wait.
	maxRetryAfter = 15 * time.Minute
	// maxVisibility is the limit of an SQS visibility timeout.
	maxVisibility = 12 * time.Hour
	jitter        = 0.2
)

// ErrSchedule is returned for a retry schedule that cannot be used.
var ErrSchedule = errors.New("unusable retry delays")

// Schedule is how long to wait after each failed attempt but the last.
type Schedule [webhook.MaxAttempts - 1]time.Duration

// ParseSchedule reads a comma-separated list of seconds, one for each attempt but the last.
func ParseSchedule(s string) (Schedule, error) {
	var schedule Schedule
	parts := strings.Split(s, ",")
	if len(parts) != len(schedule) {
		return schedule, fmt.Errorf("%w: %q has %d numbers, not %d", ErrSchedule, s, len(parts), len(schedule))
	}
	for i, part := range parts {
		seconds, err := strconv.Atoi(strings.TrimSpace(part))
		delay := time.Duration(seconds) * time.Second
		if err != nil || delay < time.Second || delay > maxVisibility {
			return schedule, fmt.Errorf("%w: %q is not a number of seconds between 1 and %d", ErrSchedule, part, int(maxVisibility.Seconds()))
		}
		schedule[i] = delay
	}
	return schedule, nil
}

// Delay returns how long to wait after failed attempt number n (1 to 4): the schedule's delay with
// jitter of ±20 %, or what the endpoint asked for if that is longer, up to 15 minutes. random is in [0, 1).
func (s Schedule) Delay(n int, retryAfter time.Duration, random float64) time.Duration {
	base := float64(s[min(max(n, 1), len(s))-1])
	delay := time.Duration(base * (1 - jitter + 2*jitter*random))
	return min(max(delay, min(retryAfter, maxRetryAfter)), maxVisibility)
}
