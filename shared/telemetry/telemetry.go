// Package telemetry writes structured logs and metrics.
//
// Both are lines of JSON on standard output, where CloudWatch picks them up: logs through slog,
// metrics in the Embedded Metric Format, so that no call to CloudWatch is on the path of a
// delivery. Metrics are collected during an invocation and written as one line at its end.
//
// Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package telemetry

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Namespace is the CloudWatch namespace of all metrics.
const Namespace = "Docuhook"

// NewLogger returns a logger that writes JSON lines to out from level on, with the id of the Lambda
// request that the context belongs to.
func NewLogger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(requestHandler{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})})
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
	sum    bool // Count metrics are added up
}

// Metrics collects the metrics of one service. It is safe for concurrent use.
type Metrics struct {
	Out io.Writer
	Now func() time.Time

	mu     sync.Mutex
	series map[key]*series
}

// Add counts n more of a metric.
func (m *Metrics) Add(name string, n int) { m.AddBy("", "", name, n) }

// AddBy counts n more of a metric with one dimension, whose values must be few.
func (m *Metrics) AddBy(dimension, value, name string, n int) {
	m.record(key{dimension, value, name}, Count, float64(n), true)
}

// Observe records a duration of a metric.
func (m *Metrics) Observe(name string, d time.Duration) {
	m.record(key{name: name}, Milliseconds, float64(d.Microseconds())/1000, false)
}

func (m *Metrics) record(k key, unit Unit, value float64, sum bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.series == nil {
		m.series = map[key]*series{}
	}
	s := m.series[k]
	if s == nil {
		s = &series{unit: unit, sum: sum}
		m.series[k] = s
	}
	switch {
	case s.sum && len(s.values) == 1:
		s.values[0] += value
	case len(s.values) < maxValues:
		s.values = append(s.values, value)
	}
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

// Flush writes what has been collected, one line for each value of a dimension, and starts anew.
func (m *Metrics) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	groups := map[[2]string][]key{}
	for k := range m.series {
		group := [2]string{k.dimension, k.value}
		groups[group] = append(groups[group], k)
	}
	for group, keys := range groups {
		slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.name, b.name) })
		d := directive{Namespace: Namespace, Dimensions: [][]string{{}}}
		line := map[string]any{}
		if group[0] != "" {
			d.Dimensions = [][]string{{group[0]}}
			line[group[0]] = group[1]
		}
		for _, k := range keys {
			s := m.series[k]
			d.Metrics = append(d.Metrics, definition{k.name, s.unit})
			if s.sum {
				line[k.name] = s.values[0]
			} else {
				line[k.name] = s.values
			}
		}
		line["_aws"] = map[string]any{"Timestamp": m.Now().UnixMilli(), "CloudWatchMetrics": []directive{d}}
		if data, err := json.Marshal(line); err == nil {
			m.Out.Write(append(data, '\n'))
		}
	}
	m.series = nil
}
