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
	maxRetryAfter = 24 * time.Hour
	// maxScheduled bounds what a schedule may say.
	maxScheduled = 7 * 24 * time.Hour
	jitter       = 0.2
)

// ErrSchedule is returned for a retry schedule that cannot be used.
var ErrSchedule = errors.New("unusable retry delays")

// Schedule is how long to wait after each failed attempt but the last.
type Schedule [webhook.MaxAttempts - 1]time.Duration

// presets returns the schedules that have names.
func presets() map[string]Schedule {
	return map[string]Schedule{
		"day":  {10 * time.Second, 5 * time.Minute, 90 * time.Minute, 22 * time.Hour}, // a day in all
		"fast": {10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute},
	}
}

// ParseSchedule reads the name of a preset, day or fast, or a comma-separated list of seconds, 1 to 604800, one
// for each attempt but the last.
func ParseSchedule(s string) (Schedule, error) {
	if preset, ok := presets()[s]; ok {
		return preset, nil
	}
	var schedule Schedule
	parts := strings.Split(s, ",")
	if len(parts) != len(schedule) {
		return schedule, fmt.Errorf("%w: %q is neither day nor fast nor %d numbers", ErrSchedule, s, len(schedule))
	}
	for i, part := range parts {
		seconds, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || seconds < 1 || seconds > int(maxScheduled.Seconds()) {
			return schedule, fmt.Errorf(
				"%w: %q is not a number of seconds between 1 and %d", ErrSchedule, part, int(maxScheduled.Seconds()),
			)
		}
		schedule[i] = time.Duration(seconds) * time.Second
	}
	return schedule, nil
}

// Delay returns how long to wait after failed attempt number n (1 to 4): the schedule's delay with jitter of
// ±20 %, or what the endpoint asked for if that is longer, up to a day. random is in [0, 1).
func (s Schedule) Delay(n int, retryAfter time.Duration, random float64) time.Duration {
	delay := time.Duration(float64(s[n-1]) * (1 - jitter + 2*jitter*random))
	return max(delay, min(retryAfter, maxRetryAfter))
}
