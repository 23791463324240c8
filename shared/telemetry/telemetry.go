// Package telemetry writes structured logs and metrics.
//
// Both are lines of JSON on standard output, where CloudWatch picks them up: logs through slog,
// metrics in the Embedded Metric Format, so that no call to CloudWatch is on the path of a
// delivery. Metrics are collected during an invocation and written as one line at its end.
//
// Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package telemetry

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// NewLogger returns a logger that writes JSON lines to out from level on, with the id of the Lambda
// request that the context belongs to. Time, level and message have Lambda's own keys, by which its log levels and
// what reads the logs of other functions find them.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
func NewLogger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(requestHandler{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: lambdaKeys})})
}

// lambdaKeys renames what slog adds to every line.
func lambdaKeys(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey:
			a.Key = "timestamp"
		case slog.MessageKey:
			a.Key = "message"
		}
	}
	return a
}

type requestHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h requestHandler) Handle(ctx context.Context, record slog.Record) error {
	if lambda, ok := lambdacontext.FromContext(ctx); ok {
		record.AddAttrs(slog.String("request_id", lambda.AwsRequestID))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}

// StandardLog returns an output for package log that turns its lines into warnings of logger.
//
// Nothing of ours uses package log, but net/http does, and quotes what endpoints send unasked on an
// idle connection. That might be a token that came back: it is cut off.
func StandardLog(logger *slog.Logger) io.Writer { return standardLog{logger} }

type standardLog struct{ logger *slog.Logger }

// Write implements io.Writer. Package log calls it once for each line.
func (s standardLog) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), " starting with ")
	s.logger.Warn("standard log", "text", strings.TrimSpace(text))
	return len(line), nil
}

// Unit is a unit that CloudWatch knows.
type Unit string

// The units in use.
const (
	Count        Unit = "Count"
	Milliseconds Unit = "Milliseconds"
)

// maxValues is the most values that one metric may have in one EMF object.
const maxValues = 100

type key struct{ dimension, value, name string }

type series struct {
	unit   Unit
	values []float64
}

// Metrics collects the metrics of one service. It is safe for concurrent use.
type Metrics struct {
	Out       io.Writer
	Namespace string // in CloudWatch, one for each stack: two stacks of an account must not add up
	Now       func() time.Time

	mu     sync.Mutex
	series map[key]*series
}

// Add counts n more of a metric.
func (m *Metrics) Add(name string, n int) { m.AddBy("", "", name, n) }

// AddBy counts n more of a metric with one dimension, whose values must be few.
func (m *Metrics) AddBy(dimension, value, name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(key{dimension, value, name}, Count)
	if len(s.values) == 0 {
		s.values = []float64{0}
	}
	s.values[0] += float64(n)
}

// Observe records a duration of a metric.
func (m *Metrics) Observe(name string, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(key{name: name}, Milliseconds)
	s.values = append(s.values, float64(d.Microseconds())/1000)
}

// get returns a series, a new one if need be. The caller holds m.mu.
func (m *Metrics) get(k key, unit Unit) *series {
	if m.series == nil {
		m.series = map[key]*series{}
	}
	s := m.series[k]
	if s == nil {
		s = &series{unit: unit}
		m.series[k] = s
	}
	return s
}

type definition struct {
	Name string `json:"Name"`
	Unit Unit   `json:"Unit"`
}

type directive struct {
	Namespace  string       `json:"Namespace"`
	Dimensions [][]string   `json:"Dimensions"`
	Metrics    []definition `json:"Metrics"`
}

// Flush writes what has been collected and starts anew: one line, and more of them for dimensions with more values
// and for metrics with more values than a line may hold.
func (m *Metrics) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.series) > 0 {
		m.write()
	}
}

// write writes one line, which has one value of each dimension and of each metric the values that may be in one. What is
// written is forgotten. The caller holds m.mu, and there is something to write.
func (m *Metrics) write() {
	keys := slices.SortedFunc(maps.Keys(m.series), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.dimension, b.dimension), cmp.Compare(a.value, b.value), cmp.Compare(a.name, b.name))
	})
	var directives []directive
	var dimension string // of the last directive
	line := map[string]any{}
	for _, k := range keys {
		_, taken := line[k.name] // by a metric of that name with another dimension
		if other, ok := line[k.dimension]; taken || ok && other != k.value {
			continue
		}
		if len(directives) == 0 || k.dimension != dimension {
			dimension = k.dimension
			directives = append(directives, directive{Namespace: m.Namespace, Dimensions: [][]string{{}}})
			if k.dimension != "" {
				directives[len(directives)-1].Dimensions[0] = []string{k.dimension}
				line[k.dimension] = k.value
			}
		}
		s, d := m.series[k], &directives[len(directives)-1]
		d.Metrics = append(d.Metrics, definition{k.name, s.unit})
		n := min(maxValues, len(s.values))
		line[k.name] = s.values[:n]
		if n == 1 {
			line[k.name] = s.values[0]
		}
		if s.values = s.values[n:]; len(s.values) == 0 {
			delete(m.series, k)
		}
	}
	line["_aws"] = map[string]any{"Timestamp": m.Now().UnixMilli(), "CloudWatchMetrics": directives}
	if data, err := json.Marshal(line); err == nil {
		m.Out.Write(append(data, '\n'))
	}
}
