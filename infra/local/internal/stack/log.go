package stack

import (
	"fmt"
	"io"
	"regexp"
	"sync"

	"github.com/docuhook/docuhook/infra/local/internal/identity"
)

// reportDenial shows what a function was not allowed to do.
func (s *Stack) reportDenial(d identity.Denial) {
	why := "no statement of its policies allows it"
	if d.Sid != "" {
		why = "the statement " + d.Sid + " of its policies denies it"
	}
	consequence := "ACCESS DENIED"
	if !s.Enforce {
		consequence = "would be denied on AWS"
	}
	fmt.Fprintf(s.Log, "[iam] %s: %s %s on %s: %s\n", consequence, d.Function, d.Action, d.Resource, why)
}

// clutter are the lines that carry metrics for CloudWatch, those of each batch, and those of a sweep with nothing to do.
var clutter = regexp.MustCompile(`"CloudWatchMetrics":|:"batch",|:"sweep","sent":0,"not_sent":0,`)

// functionLog takes the functions' lines, one in each Write, without clutter unless details are wanted.
type functionLog struct {
	w       io.Writer
	details bool
}

func (l functionLog) Write(line []byte) (int, error) {
	if !l.details && clutter.Match(line) {
		return len(line), nil
	}
	return l.w.Write(line)
}

// lockedWriter lets several writers share one.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
