package stack

import (
	"bytes"
	"fmt"
	"io"
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

// functionLog takes the functions' lines, one in each Write. The documents that carry metrics are
// for CloudWatch and only clutter a terminal, and so do the lines that tell of each batch.
type functionLog struct {
	w       io.Writer
	details bool
}

func (l functionLog) Write(line []byte) (int, error) {
	if !l.details && (bytes.Contains(line, []byte(`"CloudWatchMetrics":`)) || bytes.Contains(line, []byte(`:"batch",`))) {
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
