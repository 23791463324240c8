package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/telemetry"
	"github.com/docuhook/docuhook/shared/webhook"
)

// answering answers every attempt with the same result, and needs no credentials.
type answering endpoint.Result

func (a answering) Post(context.Context, endpoint.Request) endpoint.Result { return endpoint.Result(a) }
func (answering) Rested()                                                  {}
func (answering) Open(context.Context, string, string, string) (signature.Credentials, error) {
	return signature.Credentials{}, nil
}

// attempt delivers a message, received for the second time, and returns what was printed.
func attempt(t *testing.T, level slog.Level, result endpoint.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	s := &surroundings{config: &webhook.Config{OrganizationID: "org_1", ID: configID, URL: "https://endpoint.example/", Active: true}}
	result.StartedAt = noon().Add(2500 * time.Millisecond)
	d := &delivery.Deliverer{
		Store: s, Health: s, DeliveryQueue: s, RetryQueue: s, Credentials: answering{}, Poster: answering(result), FailureThreshold: 20,
		Schedule: delivery.Schedule{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute},
		Metrics:  &telemetry.Metrics{Out: &out, Namespace: "Docuhook/test", Now: noon}, Log: telemetry.NewLogger(&out, level),
		Now: func() time.Time { return noon().Add(3 * time.Second) }, MachineNow: time.Now, Random: func() float64 { return 0.5 },
	}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "8f5e-1"})
	one := batch(t)
	one.Records = one.Records[:1]
	one.Records[0].Attributes.ApproximateReceiveCount = "2"
	if _, err := d.Handle(ctx, one); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// splitAttempts returns the wide lines among those that were printed, and the others.
func splitAttempts(t *testing.T, printed []byte) (wide []map[string]any, others [][]byte) {
	t.Helper()
	for line := range bytes.Lines(printed) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if fields["message"] == "attempt" {
			delete(fields, "timestamp")
			wide = append(wide, fields)
		} else {
			others = append(others, line)
		}
	}
	return wide, others
}

func TestAttemptIsOneWideLine(t *testing.T) {
	eventID := webhook.NewEventID(noon(), "1")
	deliveryID, err := webhook.DeliveryID(configID, eventID)
	if err != nil {
		t.Fatal(err)
	}
	wide := func(changes map[string]any) map[string]any {
		fields := map[string]any{
			"level":            "INFO",
			"message":          "attempt",
			"request_id":       "8f5e-1",
			"organization_id":  "org_1",
			"config_id":        configID,
			"delivery_id":      deliveryID,
			"event_id":         eventID,
			"message_id":       "m1",
			"trigger":          "status_change",
			"round":            "0",
			"attempt":          1.0,
			"receive_count":    2.0,
			"duration_ms":      500.0,
			"since_request_ms": 3000.0,
			"outcome":          "http_status",
			"delivery_status":  "retrying",
			"response_status":  503.0,
			"error":            "the endpoint answered 503",
			"next_attempt_at":  "2026-03-01T12:00:13.000Z",
		}
		maps.Copy(fields, changes)
		return fields
	}
	cases := []struct {
		name   string
		level  slog.Level
		result endpoint.Result
		want   []map[string]any
	}{
		{
			name: "for a failure",
			result: endpoint.Result{
				Duration: 500 * time.Millisecond,
				Status:   503,
				Code:     endpoint.CodeHTTPStatus,
				Error:    "the endpoint answered 503",
				Snippet:  "no",
			},
			want: []map[string]any{wide(nil)},
		},
		{
			name: "for a success, where it is asked for", level: slog.LevelDebug,
			result: endpoint.Result{Duration: 500 * time.Millisecond, Status: 200},
			want: []map[string]any{wide(map[string]any{
				"level":           "DEBUG",
				"outcome":         "success",
				"delivery_status": "delivered",
				"response_status": 200.0,
				"error":           "",
				"next_attempt_at": "",
			})},
		},
		{name: "and none for a success otherwise, as logs cost as much as deliveries", result: endpoint.Result{Status: 200}},
		{
			name: "without a text that quotes the answer",
			result: endpoint.Result{
				Duration: 500 * time.Millisecond,
				Code:     endpoint.CodeProtocolError,
				Error:    `malformed HTTP response "{}"`,
			},
			want: []map[string]any{wide(map[string]any{"outcome": "protocol_error", "response_status": 0.0, "error": ""})},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, _ := splitAttempts(t, attempt(t, c.level, c.result))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetricsOfAnAttemptHaveFewDimensions(t *testing.T) {
	for code, want := range map[string][]string{
		"": {
			"Attempts Outcome=success: 1", "Deliveries Status=delivered: 1", "EndpointLatency: 500", "StatusChangeToSuccess: 3000",
		},
		endpoint.CodeTimeout: {"Attempts Outcome=timeout: 1", "EndpointLatency: 500"},
	} {
		_, lines := splitAttempts(t, attempt(t, slog.LevelError, endpoint.Result{Duration: 500 * time.Millisecond, Code: code}))
		var got []string
		for _, m := range extract(t, bytes.Join(lines, nil)) {
			name := m.Name
			if m.Dimension != "" {
				name += " " + m.Dimension + "=" + m.Value
			}
			got = append(got, fmt.Sprintf("%s: %v", name, strings.Trim(fmt.Sprint(m.Values), "[]")))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", code, diff)
		}
	}
}
