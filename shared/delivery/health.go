package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Health keeps what results mean for a config.
type Health interface {
	// Deactivate deactivates config if it is still at the version that was attempted. It reports whether the
	// config is inactive for this reason now.
	Deactivate(ctx context.Context, config *webhook.Config, reason string, now time.Time) (bool, error)
	// CountFailure counts one more final failure and returns the count and when it began.
	CountFailure(ctx context.Context, config *webhook.Config, now time.Time) (count int, since time.Time, err error)
	// ResetFailures forgets the failures, after a success.
	ResetFailures(ctx context.Context, config *webhook.Config) error
	// SetLane writes the end of a lane of config if its URL is still the one that was attempted.
	SetLane(ctx context.Context, config *webhook.Config, lane webhook.Lane) error
}

// failingFor is how long an endpoint must have failed before its config is deactivated.
const failingFor = 24 * time.Hour

// lanes lets only one message of a batch write the lane of a config.
type lanes struct {
	mu      sync.Mutex
	written map[string]bool // keys are config and lane
}

// first reports whether nobody has asked this of a config and a lane before.
func (l *lanes) first(configID string, lane webhook.Lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written == nil {
		l.written = map[string]bool{}
	}
	key := configID + string(lane)
	before := l.written[key]
	l.written[key] = true
	return !before
}

// judge keeps the health and the lane of a config. The message does not depend on it: an endpoint that is slow
// or failing will say so again.
func (b *batch) judge(ctx context.Context, config *webhook.Config, o webhook.Outcome, recorded webhook.Recorded, result endpoint.Result) {
	if o.Tried == nil || o.Tried.ErrorCode == webhook.CodeCredentials {
		return // nothing was sent, so nothing is known of the endpoint
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b.judgeLane(ctx, config, result)
	var err error
	switch {
	case o.Status == webhook.Delivered && config.FailureCount > 0:
		err = b.Health.ResetFailures(ctx, config)
		config.FailureCount = 0
	case o.DeadLetter && recorded.Counts && b.FailureThreshold > 0:
		var since time.Time
		config.FailureCount, since, err = b.Health.CountFailure(ctx, config, o.At.Time)
		if err == nil && config.FailureCount >= b.FailureThreshold && o.At.Sub(since) >= failingFor {
			b.deactivate(ctx, config, webhook.EndpointFailing)
		}
	}
	if err != nil {
		b.Log.ErrorContext(ctx, "config not updated",
			"organization_id", config.OrganizationID, "config_id", config.ID, "error", err.Error())
	}
}

// judgeLane says whether an endpoint is fast or slow, where that is news.
func (b *batch) judgeLane(ctx context.Context, config *webhook.Config, result endpoint.Result) {
	lane := config.Judge(b.Now(), result.Duration, result.Status != 0)
	if lane == "" || !b.lanes.first(config.ID, lane) {
		return
	}
	if err := b.Health.SetLane(ctx, config, lane); err != nil {
		b.Log.WarnContext(ctx, "lane not written", "organization_id", config.OrganizationID, "config_id", config.ID, "error", err.Error())
	}
}

// deactivate deactivates a config and reports whether it is inactive for this reason now. An organization may
// have changed it meanwhile: another URL is not judged by what the one before answered.
func (b *batch) deactivate(ctx context.Context, config *webhook.Config, reason string) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	done, err := b.Health.Deactivate(ctx, config, reason, b.Now())
	if err != nil {
		b.Log.ErrorContext(ctx, "config not deactivated",
			"organization_id", config.OrganizationID, "config_id", config.ID, "error", err.Error())
		return false
	}
	if done {
		b.Metrics.Add(metricDeactivated, 1)
		b.Log.WarnContext(ctx, "config deactivated", "organization_id", config.OrganizationID, "config_id", config.ID, "reason", reason)
	}
	return done
}
