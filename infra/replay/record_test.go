package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/webhook"
)

// The dispatch function's sample events, taken for what the stream holds, must come out as the very
// messages that the function has sent for them.
func TestReplaySendsWhatDispatchWouldHaveSent(t *testing.T) {
	samples, err := filepath.Glob("../../functions/dispatch/events/*.json")
	if err != nil || len(samples) == 0 {
		t.Fatal(samples, err)
	}
	for _, sample := range samples {
		t.Run(filepath.Base(sample), func(t *testing.T) {
			data, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			var batch dispatch.Batch
			if err := json.Unmarshal(data, &batch); err != nil {
				t.Fatal(err)
			}
			var again dispatch.Batch
			for i, raw := range batch.Records {
				var message struct{ Body *string }
				if json.Unmarshal(raw, &message) == nil && message.Body != nil {
					raw = json.RawMessage(*message.Body) // of DispatchRetryQueue
					batch.Records[i] = raw
				}
				converted, err := convert(fromLambda(t, raw), "arn:aws:dynamodb:eu-central-1:123456789012:"+
					"table/docuhook-DocumentsTable-1A2B3C4D5E6F7/stream/2026-03-01T09:30:15.123")
				if err != nil {
					t.Fatal(err)
				}
				var want, got any
				if json.Unmarshal(raw, &want) != nil || json.Unmarshal(converted, &got) != nil {
					t.Fatalf("%s is not JSON", converted)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the record is not as Lambda had it: %s", diff)
				}
				again.Records = append(again.Records, converted)
			}
			if diff := cmp.Diff(messagesOf(t, batch), messagesOf(t, again)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// messagesOf returns the messages that a batch causes, by event and config: organizations are worked on beside each
// other, in any order.
func messagesOf(t *testing.T, batch dispatch.Batch) []webhook.Message {
	t.Helper()
	var mu sync.Mutex
	var sent []webhook.Message
	d := &dispatch.Dispatcher{
		Configs: configsFunc(everyone), Events: &eventsTable{}, Metrics: noMetrics{}, Log: slog.New(slog.DiscardHandler), Now: now,
		DeliveryQueue: unused(t), DispatchRetryQueue: keepPointer{},
		RetryQueue: queueFunc(func(messages []webhook.Message) []error {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, messages...)
			return nil
		}),
	}
	if _, err := d.Handle(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(sent, func(a, b webhook.Message) int {
		return strings.Compare(a.Event.ID+a.ConfigID, b.Event.ID+b.ConfigID)
	})
	return sent
}

// fromLambda turns a record of Lambda's event into what the SDK makes of the same record, with a
// fraction of a second that the stream may have and the event has not.
func fromLambda(t *testing.T, raw json.RawMessage) types.Record {
	t.Helper()
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	values := func(from map[string]any) map[string]types.AttributeValue {
		if from == nil {
			return nil
		}
		to := map[string]types.AttributeValue{}
		for name, value := range from {
			for kind, content := range value.(map[string]any) {
				switch kind {
				case "S":
					to[name] = &types.AttributeValueMemberS{Value: content.(string)}
				case "N":
					to[name] = &types.AttributeValueMemberN{Value: content.(string)}
				default:
					t.Fatalf("no type %s in the sample events", kind)
				}
			}
		}
		return to
	}
	out := types.Record{
		EventID:      &r.EventID,
		EventName:    types.OperationType(r.EventName),
		EventVersion: &r.EventVersion,
		EventSource:  &r.EventSource,
		AwsRegion:    &r.AWSRegion,
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Unix(r.DynamoDB.ApproximateCreationDateTime, 987_654_321)),
			Keys:                        values(r.DynamoDB.Keys),
			NewImage:                    values(r.DynamoDB.NewImage),
			OldImage:                    values(r.DynamoDB.OldImage),
			SequenceNumber:              &r.DynamoDB.SequenceNumber,
			SizeBytes:                   &r.DynamoDB.SizeBytes,
			StreamViewType:              types.StreamViewType(r.DynamoDB.StreamViewType),
		},
	}
	if r.UserIdentity != nil {
		out.UserIdentity = &types.Identity{Type: &r.UserIdentity.Type, PrincipalId: &r.UserIdentity.PrincipalID}
	}
	return out
}

func TestConvertAttributes(t *testing.T) {
	everything := &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
		"s":          &types.AttributeValueMemberS{Value: "<&>é"},
		"n":          &types.AttributeValueMemberN{Value: "12345678901234567890.5"},
		"b":          &types.AttributeValueMemberB{Value: []byte{0, 255}},
		"t":          &types.AttributeValueMemberBOOL{Value: true},
		"z":          &types.AttributeValueMemberNULL{Value: true},
		"ss":         &types.AttributeValueMemberSS{Value: []string{"a"}},
		"ns":         &types.AttributeValueMemberNS{Value: []string{"1"}},
		"bs":         &types.AttributeValueMemberBS{Value: [][]byte{{1}}},
		"l":          &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: "x"}}},
		"empty list": &types.AttributeValueMemberL{},
		"empty map":  &types.AttributeValueMemberM{},
	}}
	converted, err := attribute(everything)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(converted)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"M":{"b":{"B":"AP8="},"bs":{"BS":["AQ=="]},"empty list":{"L":[]},"empty map":{"M":{}},` +
		`"l":{"L":[{"S":"x"}]},"n":{"N":"12345678901234567890.5"},` +
		`"ns":{"NS":["1"]},"s":{"S":"\u003c\u0026\u003eé"},"ss":{"SS":["a"]},"t":{"BOOL":true},"z":{"NULL":true}}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if _, err := attribute(&types.UnknownUnionMember{Tag: "X"}); err == nil {
		t.Error("a type that nobody knows is converted")
	}
}

func TestCompare(t *testing.T) {
	ordered := []string{
		"0", "1", "9", "10", "99", "100000000003126276362", "800000000003126276362", "4421584500000000017450439091",
		"4421584500000000017450439092",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			got := compare(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compare(%s, %s) is %d", a, b, got)
			}
		}
	}
	if compare("007", "7") != 0 {
		t.Error("leading zeros count")
	}
}
