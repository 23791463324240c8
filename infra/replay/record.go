package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// record is a stream record as Lambda hands it over.
type record struct {
	EventID        string        `json:"eventID"`
	EventName      string        `json:"eventName"`
	EventVersion   string        `json:"eventVersion"`
	EventSource    string        `json:"eventSource"`
	AWSRegion      string        `json:"awsRegion"`
	DynamoDB       change        `json:"dynamodb"`
	EventSourceARN string        `json:"eventSourceARN"`
	UserIdentity   *userIdentity `json:"userIdentity,omitempty"`
}

type change struct {
	// Whole Unix seconds, as in Lambda's event, where the SDK would keep a fraction: the event's id
	// and the time of the request come from it and must be the same again.
	ApproximateCreationDateTime int64          `json:"ApproximateCreationDateTime,omitempty"`
	Keys                        map[string]any `json:"Keys,omitempty"`
	NewImage                    map[string]any `json:"NewImage,omitempty"`
	OldImage                    map[string]any `json:"OldImage,omitempty"`
	SequenceNumber              string         `json:"SequenceNumber"`
	SizeBytes                   int64          `json:"SizeBytes"`
	StreamViewType              string         `json:"StreamViewType"`
}

type userIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
}

// convert returns what Lambda would have handed to the dispatch function.
func convert(r types.Record, streamARN string) (json.RawMessage, error) {
	out := record{
		EventID:        aws.ToString(r.EventID),
		EventName:      string(r.EventName),
		EventVersion:   aws.ToString(r.EventVersion),
		EventSource:    aws.ToString(r.EventSource),
		AWSRegion:      aws.ToString(r.AwsRegion),
		EventSourceARN: streamARN,
	}
	if r.UserIdentity != nil {
		out.UserIdentity = &userIdentity{aws.ToString(r.UserIdentity.Type), aws.ToString(r.UserIdentity.PrincipalId)}
	}
	if d := r.Dynamodb; d != nil {
		out.DynamoDB = change{
			SequenceNumber: aws.ToString(d.SequenceNumber), SizeBytes: aws.ToInt64(d.SizeBytes), StreamViewType: string(d.StreamViewType),
		}
		if d.ApproximateCreationDateTime != nil {
			out.DynamoDB.ApproximateCreationDateTime = d.ApproximateCreationDateTime.Unix()
		}
		for _, image := range []struct {
			from map[string]types.AttributeValue
			to   *map[string]any
		}{{d.Keys, &out.DynamoDB.Keys}, {d.NewImage, &out.DynamoDB.NewImage}, {d.OldImage, &out.DynamoDB.OldImage}} {
			var err error
			if *image.to, err = attributes(image.from); err != nil {
				return nil, fmt.Errorf("record %s: %w", out.DynamoDB.SequenceNumber, err)
			}
		}
	}
	return json.Marshal(out)
}

func attributes(from map[string]types.AttributeValue) (map[string]any, error) {
	if len(from) == 0 {
		return nil, nil
	}
	to := map[string]any{}
	for name, value := range from {
		converted, err := attribute(value)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		to[name] = converted
	}
	return to, nil
}

// attribute returns a value with its type as DynamoDB's JSON has them.
func attribute(from types.AttributeValue) (any, error) {
	switch v := from.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}, nil
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}, nil
	case *types.AttributeValueMemberB:
		return map[string]any{"B": v.Value}, nil
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}, nil
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": v.Value}, nil
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}, nil
	case *types.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}, nil
	case *types.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}, nil
	case *types.AttributeValueMemberM:
		inner, err := attributes(v.Value)
		if inner == nil {
			inner = map[string]any{}
		}
		return map[string]any{"M": inner}, err
	case *types.AttributeValueMemberL:
		inner := []any{}
		for _, one := range v.Value {
			converted, err := attribute(one)
			if err != nil {
				return nil, err
			}
			inner = append(inner, converted)
		}
		return map[string]any{"L": inner}, nil
	}
	return nil, fmt.Errorf("no such type of attribute: %T", from)
}

// compare compares sequence numbers, which are decimal numbers of any length.
func compare(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
