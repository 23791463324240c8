package conformance

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// cmpErr is the first error.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func url(ctx context.Context, s services, queue string) *string {
	out, err := s.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return aws.String("no queue " + queue)
	}
	return out.QueueUrl
}

func arn(ctx context.Context, s services, queue string) string {
	out, err := s.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       url(ctx, s, queue),
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return code(err)
	}
	return out.Attributes["QueueArn"]
}

func send(ctx context.Context, s services, queue, body string) error {
	_, err := s.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url(ctx, s, queue), MessageBody: &body})
	return err
}

// receive receives a message, waiting up to a second for it; nil if there is none. With visibility 0
// it is at once visible again.
func receive(ctx context.Context, s services, queue string, visibility int32) (*types.Message, error) {
	out, err := s.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    url(ctx, s, queue),
		WaitTimeSeconds:             1,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil || len(out.Messages) == 0 {
		return nil, err
	}
	// The client leaves a timeout of 0 out of a receive, so that the queue's own would count.
	_, err = s.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl:          url(ctx, s, queue),
		ReceiptHandle:     out.Messages[0].ReceiptHandle,
		VisibilityTimeout: visibility,
	})
	return &out.Messages[0], err
}

func remove(ctx context.Context, s services, queue string, m *types.Message) error {
	_, err := s.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url(ctx, s, queue), ReceiptHandle: m.ReceiptHandle})
	return err
}

// sqsBehaviours are of the queues work, dead and plain. Each case leaves them empty.
func sqsBehaviours() []behaviour {
	return []behaviour{
		{name: "a message is received, counted, and deleted, twice if need be", run: func(ctx context.Context, s services) string {
			if err := send(ctx, s, "plain", "hello"); err != nil {
				return code(err)
			}
			first, err := receive(ctx, s, "plain", 0)
			if err != nil || first == nil {
				return "nothing, " + code(err)
			}
			second, err := receive(ctx, s, "plain", 30)
			if err != nil || second == nil {
				return "nothing again, " + code(err)
			}
			return fmt.Sprintf("%s %s %t %s %s",
				aws.ToString(second.Body), second.Attributes["ApproximateReceiveCount"], *first.MessageId == *second.MessageId,
				code(remove(ctx, s, "plain", second)), code(remove(ctx, s, "plain", second)))
		}, want: "hello 2 true ok ok"},
		{
			name: "a message received too often goes to the dead-letter queue, as itself, and comes back as another",
			run: func(ctx context.Context, s services) string {
				if err := send(ctx, s, work, "poison"); err != nil {
					return code(err)
				}
				first, err := receive(ctx, s, work, 0)
				if err != nil || first == nil {
					return "nothing, " + code(err)
				}
				if again, err := receive(ctx, s, work, 0); again != nil || err != nil {
					return "received once too often, " + code(err)
				}
				buried, err := receive(ctx, s, dead, 0)
				if err != nil || buried == nil {
					return "not dead, " + code(err)
				}
				result := fmt.Sprintf("same id: %t, origin: %t",
					*first.MessageId == *buried.MessageId, buried.Attributes["DeadLetterQueueSourceArn"] == arn(ctx, s, work))
				_, err = s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arn(ctx, s, dead))})
				if err != nil {
					return result + ", " + code(err)
				}
				back, err := receive(ctx, s, work, 30)
				if err != nil || back == nil {
					return result + ", not moved, " + code(err)
				}
				return result + fmt.Sprintf(", moved, same id: %t, receives: %s, %s", *first.MessageId == *back.MessageId,
					back.Attributes["ApproximateReceiveCount"], code(remove(ctx, s, work, back)))
			},
			want: "same id: true, origin: true, moved, same id: false, receives: 1, ok",
		},
		{name: "a message group on a standard queue travels with the message", run: func(ctx context.Context, s services) string {
			_, err := s.sqs.SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl:       url(ctx, s, "plain"),
				MessageBody:    aws.String("fair"),
				MessageGroupId: aws.String("tenant"),
			})
			if err != nil {
				return code(err)
			}
			m, err := receive(ctx, s, "plain", 30)
			if err != nil || m == nil {
				return "nothing, " + code(err)
			}
			return m.Attributes["MessageGroupId"] + " " + code(remove(ctx, s, "plain", m))
		}, want: "tenant ok"},
		{name: "visibility cannot be changed of a message that is gone", run: func(ctx context.Context, s services) string {
			if err := send(ctx, s, "plain", "x"); err != nil {
				return code(err)
			}
			m, err := receive(ctx, s, "plain", 30)
			if err != nil || m == nil {
				return "nothing, " + code(err)
			}
			if err := remove(ctx, s, "plain", m); err != nil {
				return code(err)
			}
			_, err = s.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
				QueueUrl:          url(ctx, s, "plain"),
				ReceiptHandle:     m.ReceiptHandle,
				VisibilityTimeout: 1,
			})
			if got := code(err); got != "AWS.SimpleQueueService.MessageNotInflight" && got != "InvalidParameterValue" {
				return got // the first is what is documented, the second what people report
			}
			return "refused"
		}, want: "refused"},
		{name: "a visibility beyond twelve hours is refused", run: func(ctx context.Context, s services) string {
			if err := send(ctx, s, "plain", "x"); err != nil {
				return code(err)
			}
			m, err := receive(ctx, s, "plain", 30)
			if err != nil || m == nil {
				return "nothing, " + code(err)
			}
			_, err = s.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
				QueueUrl:          url(ctx, s, "plain"),
				ReceiptHandle:     m.ReceiptHandle,
				VisibilityTimeout: 43201,
			})
			return code(err) + " " + code(remove(ctx, s, "plain", m))
		}, want: "InvalidParameterValue ok"},
		{name: "a handle that SQS has not given is invalid", run: func(ctx context.Context, s services) string {
			return code(remove(ctx, s, "plain", &types.Message{ReceiptHandle: aws.String("nonsense")}))
		}, want: "ReceiptHandleIsInvalid"},
		{name: "a delay above 15 minutes is refused", run: func(ctx context.Context, s services) string {
			_, err := s.sqs.SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl:     url(ctx, s, "plain"),
				MessageBody:  aws.String("x"),
				DelaySeconds: 901,
			})
			return code(err)
		}, want: "InvalidParameterValue"},
		{name: "a message above 1 MiB is refused", run: func(ctx context.Context, s services) string {
			return code(send(ctx, s, "plain", strings.Repeat("x", 1<<20+1)))
		}, want: "InvalidParameterValue"},
		{name: "a queue that is not there", run: func(ctx context.Context, s services) string {
			_, err := s.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
			return code(err)
		}, want: "AWS.SimpleQueueService.NonExistentQueue"},
		{name: "an empty batch is refused", run: func(ctx context.Context, s services) string {
			return code(sendBatch(ctx, s))
		}, want: "AWS.SimpleQueueService.EmptyBatchRequest"},
		{name: "a batch of eleven is refused", run: func(ctx context.Context, s services) string {
			return code(sendBatch(ctx, s, strings.Split("a b c d e f g h i j k", " ")...))
		}, want: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"},
		{name: "a batch with an id twice is refused", run: func(ctx context.Context, s services) string {
			return code(sendBatch(ctx, s, "a", "a"))
		}, want: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"},
		{name: "a batch with an id of other characters is refused", run: func(ctx context.Context, s services) string {
			return code(sendBatch(ctx, s, "a b"))
		}, want: "AWS.SimpleQueueService.InvalidBatchEntryId"},
		{name: "a second purge within a minute is refused", run: func(ctx context.Context, s services) string {
			_, first := s.sqs.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: url(ctx, s, "plain")})
			_, second := s.sqs.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: url(ctx, s, "plain")})
			return code(first) + " " + code(second)
		}, want: "ok AWS.SimpleQueueService.PurgeQueueInProgress"},
		{name: "only a dead-letter queue can be redriven", run: func(ctx context.Context, s services) string {
			_, err := s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arn(ctx, s, "plain"))})
			return says(err, "Source queue must be configured as a Dead Letter Queue")
		}, want: "InvalidParameterValue: Source queue must be configured as a Dead Letter Queue"},
	}
}

func sendBatch(ctx context.Context, s services, ids ...string) error {
	entries := []types.SendMessageBatchRequestEntry{}
	for _, id := range ids {
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("x")})
	}
	_, err := s.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url(ctx, s, "plain"), Entries: entries})
	return err
}

// secretsBehaviours are of the secret keyring, in this order.
func secretsBehaviours() []behaviour {
	value := func(ctx context.Context, s services, id, stage string) string {
		in := &secretsmanager.GetSecretValueInput{SecretId: &id}
		if stage != "" {
			in.VersionStage = &stage
		}
		out, err := s.secrets.GetSecretValue(ctx, in)
		if err != nil {
			return code(err)
		}
		return aws.ToString(out.SecretString)
	}
	return []behaviour{
		{name: "a secret is found by its name and by its ARN", run: func(ctx context.Context, s services) string {
			out, err := s.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(secret)})
			if err != nil {
				return code(err)
			}
			return value(ctx, s, secret, "") + " " + value(ctx, s, aws.ToString(out.ARN), "")
		}, want: firstSecret + " " + firstSecret},
		{name: "a secret that is not there", run: func(ctx context.Context, s services) string {
			return value(ctx, s, "none", "")
		}, want: "ResourceNotFoundException"},
		{name: "a version stage that is not there", run: func(ctx context.Context, s services) string {
			return value(ctx, s, secret, "AWSPENDING")
		}, want: "ResourceNotFoundException"},
		{name: "a new value is current, and the old one previous", run: func(ctx context.Context, s services) string {
			_, err := s.secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
				SecretId:     aws.String(secret),
				SecretString: aws.String("two"),
			})
			return code(err) + " " + value(ctx, s, secret, "") + " " + value(ctx, s, secret, "AWSPREVIOUS")
		}, want: "ok two " + firstSecret},
	}
}
