package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/telemetry"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// metric is a metric as CloudWatch extracts it from one line.
type metric struct {
	Name, Unit, Dimension, Value string
	Values                       []float64
}

// extract reads lines as the specification says CloudWatch does, and fails where one breaks a rule.
//
// Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func extract(t *testing.T, lines []byte) []metric {
	t.Helper()
	var all []metric
	scanner := bufio.NewScanner(bytes.NewReader(lines))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if len(scanner.Bytes()) > 256<<10 {
			t.Errorf("a line has %d bytes, more than an event may have", len(scanner.Bytes()))
		}
		root := map[string]any{}
		if err := json.Unmarshal(scanner.Bytes(), &root); err != nil {
			t.Fatalf("not a JSON object: %v: %s", err, scanner.Bytes())
		}
		metadata := root["_aws"].(map[string]any)
		if stamp := metadata["Timestamp"].(float64); stamp != float64(noon().UnixMilli()) {
			t.Errorf("timestamp %v is not in milliseconds since 1970", stamp)
		}
		for _, one := range metadata["CloudWatchMetrics"].([]any) {
			directive := one.(map[string]any)
			if directive["Namespace"] != "Docuhook/test" {
				t.Errorf("namespace %v", directive["Namespace"])
			}
			sets := directive["Dimensions"].([]any)
			if len(sets) != 1 || len(sets[0].([]any)) > 30 {
				t.Errorf("dimensions %v", sets)
			}
			dimension, value := "", ""
			for _, name := range sets[0].([]any) {
				dimension = name.(string)
				text, isString := root[dimension].(string)
				if !isString || text == "" || len(text) > 1024 {
					t.Errorf("dimension %s is %v", dimension, root[dimension])
				}
				value = text
			}
			definitions := directive["Metrics"].([]any)
			if len(definitions) == 0 || len(definitions) > 100 {
				t.Errorf("%d metrics in a directive", len(definitions))
			}
			for _, d := range definitions {
				definition := d.(map[string]any)
				m := metric{Name: definition["Name"].(string), Unit: definition["Unit"].(string), Dimension: dimension, Value: value}
				switch target := root[m.Name].(type) {
				case float64:
					m.Values = []float64{target}
				case []any:
					if len(target) == 0 || len(target) > 100 {
						t.Errorf("%s has %d values", m.Name, len(target))
					}
					for _, v := range target {
						m.Values = append(m.Values, v.(float64))
					}
				default:
					t.Errorf("%s has the target %v", m.Name, target)
				}
				all = append(all, m)
			}
		}
	}
	return all
}

func TestMetricsLines(t *testing.T) {
	var out bytes.Buffer
	m := &telemetry.Metrics{Out: &out, Namespace: "Docuhook/test", Now: noon}
	m.AddBy("Outcome", "timeout", "Attempts", 1)
	m.AddBy("Outcome", "success", "Attempts", 2)
	m.AddBy("Outcome", "success", "Attempts", 3)
	m.AddBy("Status", "delivered", "Deliveries", 5)
	m.Add("Obsolete", 1)
	m.Add("Obsolete", 1)
	m.Add("PutBack", 0)
	m.Observe("EndpointLatency", 1234567*time.Nanosecond)
	m.Observe("EndpointLatency", 2*time.Second)
	m.Observe("StatusChangeToSuccess", 0)
	m.Flush()
	golden(t, "metrics.jsonl", out.Bytes())
	want := []metric{
		{"EndpointLatency", "Milliseconds", "", "", []float64{1.234, 2000}},
		{"Obsolete", "Count", "", "", []float64{2}},
		{"PutBack", "Count", "", "", []float64{0}},
		{"StatusChangeToSuccess", "Milliseconds", "", "", []float64{0}},
		{"Attempts", "Count", "Outcome", "success", []float64{5}},
		{"Deliveries", "Count", "Status", "delivered", []float64{5}},
		{"Attempts", "Count", "Outcome", "timeout", []float64{1}},
	}
	if diff := cmp.Diff(want, extract(t, out.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	m.Flush()
	if out.Len() != 0 {
		t.Errorf("flushed again: %s", &out)
	}
}

func TestAMetricOfTwoDimensionsIsInTwoLines(t *testing.T) {
	var out bytes.Buffer
	m := &telemetry.Metrics{Out: &out, Namespace: "Docuhook/test", Now: noon}
	m.AddBy("Lane", "fast", "Attempts", 7)
	m.AddBy("Outcome", "success", "Attempts", 5)
	m.AddBy("Outcome", "success", "Retries", 1)
	m.Flush()
	want := []metric{
		{"Attempts", "Count", "Lane", "fast", []float64{7}},
		{"Retries", "Count", "Outcome", "success", []float64{1}},
		{"Attempts", "Count", "Outcome", "success", []float64{5}},
	}
	if diff := cmp.Diff(want, extract(t, out.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMoreValuesThanALineMayHold(t *testing.T) {
	for _, n := range []int{1, 99, 100, 101, 250} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var out bytes.Buffer
			m := &telemetry.Metrics{Out: &out, Namespace: "Docuhook/test", Now: noon}
			m.Add("Messages", n)
			var want []float64
			for i := range n {
				m.Observe("EndpointLatency", time.Duration(i)*time.Millisecond)
				want = append(want, float64(i))
			}
			m.Flush()
			var got []float64
			messages := 0
			for _, one := range extract(t, out.Bytes()) {
				switch one.Name {
				case "EndpointLatency":
					got = append(got, one.Values...)
				case "Messages":
					messages += int(one.Values[0])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || messages != n {
				t.Errorf("%d messages; values (-want +got):\n%s", messages, diff)
			}
		})
	}
}

// lineWriter notes what is written at once. It is guarded by nothing but the metrics' own lock.
type lineWriter struct{ writes []string }

func (w *lineWriter) Write(b []byte) (int, error) {
	w.writes = append(w.writes, string(b))
	return len(b), nil
}

// TestManyCount runs under the race detector.
func TestManyCount(t *testing.T) {
	out := &lineWriter{}
	m := &telemetry.Metrics{Out: out, Namespace: "Docuhook/test", Now: noon}
	var wait sync.WaitGroup
	for n := range 20 {
		wait.Go(func() {
			for range 50 {
				m.Add("Messages", 1)
				m.AddBy("Outcome", fmt.Sprint("code", n%3), "Attempts", 1)
				m.Observe("EndpointLatency", time.Millisecond)
			}
			m.Flush()
		})
	}
	wait.Wait()
	m.Flush()
	var messages, attempts, latencies float64
	for _, line := range out.writes {
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Fatalf("a write is not a line: %q", line)
		}
		for _, one := range extract(t, []byte(line)) {
			switch one.Name {
			case "Messages":
				messages += one.Values[0]
			case "Attempts":
				attempts += one.Values[0]
			case "EndpointLatency":
				latencies += float64(len(one.Values))
			}
		}
	}
	if messages != 1000 || attempts != 1000 || latencies != 1000 {
		t.Errorf("%v messages, %v attempts, %v latencies; want 1000 of each", messages, attempts, latencies)
	}
}

func TestDurationsThatAreOutOfTheOrdinary(t *testing.T) {
	var out bytes.Buffer
	m := &telemetry.Metrics{Out: &out, Namespace: "Docuhook/test", Now: noon}
	m.Observe("EndpointLatency", math.MaxInt64)
	m.Observe("EndpointLatency", -time.Second)
	m.Observe("EndpointLatency", time.Nanosecond)
	m.Flush()
	if got := extract(t, out.Bytes()); len(got) != 1 || len(got[0].Values) != 3 {
		t.Errorf("%v", got)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	logger := telemetry.NewLogger(&out, slog.LevelInfo)
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "8f5e-1"})
	lines := []struct {
		name string
		log  func()
		want map[string]any // without the time
	}{
		{
			name: "adds the request's id",
			log:  func() { logger.InfoContext(ctx, "batch", "messages", 3) },
			want: map[string]any{"level": "INFO", "message": "batch", "messages": 3.0, "request_id": "8f5e-1"},
		},
		{
			name: "adds it beside attributes of its own",
			log:  func() { logger.With("function", "deliver").WarnContext(ctx, "put back") },
			want: map[string]any{"level": "WARN", "message": "put back", "function": "deliver", "request_id": "8f5e-1"},
		},
		{
			name: "has groups",
			log:  func() { logger.WithGroup("g").Info("x", "a", 1) },
			want: map[string]any{"level": "INFO", "message": "x", "g": map[string]any{"a": 1.0}},
		},
		{
			name: "has no id outside of a request",
			log:  func() { logger.InfoContext(context.Background(), "start") },
			want: map[string]any{"level": "INFO", "message": "start"},
		},
		{name: "leaves out what is below its level", log: func() { logger.DebugContext(ctx, "obsolete") }},
	}
	for _, l := range lines {
		t.Run(l.name, func(t *testing.T) {
			out.Reset()
			l.log()
			var got map[string]any
			if out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if _, err := time.Parse(time.RFC3339Nano, got["timestamp"].(string)); err != nil {
					t.Error(err)
				}
				delete(got, "timestamp")
			}
			if diff := cmp.Diff(l.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStandardLogQuotesNoEndpoint(t *testing.T) {
	var out bytes.Buffer
	standard := log.New(telemetry.StandardLog(telemetry.NewLogger(&out, slog.LevelInfo)), "", 0)
	standard.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "HTTP/1.1 400 whtok_planted", io.EOF)
	standard.Print("something else")
	got := out.String()
	if strings.Contains(got, "planted") ||
		!strings.Contains(got, "Unsolicited response received on idle HTTP channel\"") || !strings.Contains(got, "something else") {
		t.Error(got)
	}
}
