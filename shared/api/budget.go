package api

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
)

// Budget is how often an organization may do something in each minute of the clock. What is asked for counts, whatever
// comes of it. Calls that come at the same time cannot exceed it.
type Budget struct {
	Uses interface {
		// Use counts a use of something by an organization in a minute, named by its beginning. It reports false, and counts
		// nothing, if there have been limit of them.
		Use(ctx context.Context, organizationID, what string, minute time.Time, limit int) (bool, error)
	}
	What  string // a plural, such as "resends"
	Limit int    // at least 1
}

// spent is the error of a request for which the budget is used up.
type spent struct {
	jsonapi.Errors
	wait time.Duration // until the next minute
}

// Unwrap makes spent jsonapi.Errors.
func (s spent) Unwrap() error { return s.Errors }

// use counts a use. It errors with spent.
func (b Budget) use(ctx context.Context, organizationID string, now time.Time) error {
	minute := now.UTC().Truncate(time.Minute)
	ok, err := b.Uses.Use(ctx, organizationID, b.What, minute, b.Limit)
	if err != nil {
		return fmt.Errorf("counting %s: %w", b.What, err)
	}
	if ok {
		return nil
	}
	wait := minute.Add(time.Minute).Sub(now)
	return spent{wait: wait, Errors: jsonapi.NewError(429, "budget_used_up",
		"an organization has %d %s a minute; the next one begins in %d s", b.Limit, b.What, seconds(wait))}
}

// seconds rounds up, so that who waits for them has waited long enough.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
