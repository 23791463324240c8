package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

func TestConcurrentConsumersSettleEveryMessageOnce(t *testing.T) {
	const producers, consumers, each = 4, 8, 250
	// Visibility ends after 3 ms: only the hold keeps a message from being seen twice.
	b := newBroker(t, sqs.Options{Clock: clock.New(1e4, nil)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	var mu sync.Mutex
	seen := map[string]int{}
	var consuming, producing sync.WaitGroup
	for range consumers {
		consuming.Go(func() {
			for {
				messages, err := b.Receive(ctx, arnPrefix+"other", 10)
				if errors.Is(err, context.Canceled) {
					return
				}
				var handles []string
				mu.Lock()
				for _, m := range messages {
					seen[m.Body]++
					handles = append(handles, m.ReceiptHandle)
				}
				done := len(seen) == producers*each
				mu.Unlock()
				if err := b.Settle(arnPrefix+"other", handles, nil); err != nil {
					t.Error(err)
				}
				if done {
					cancel()
				}
			}
		})
	}
	for p := range producers {
		producing.Go(func() {
			for i := range each {
				if _, err := b.Send(arnPrefix+"other", fmt.Sprint(p, "/", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	producing.Wait()
	consuming.Wait()
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s was received %d times", body, n)
		}
	}
	wantSame(t, len(seen), producers*each)
}

func TestCancellingAMoveTaskNeedsPermission(t *testing.T) {
	deny := policies(func(action, arn string) error {
		if action == "sqs:CancelMessageMoveTask" {
			return awsjson.AccessDenied("deliver", action, arn)
		}
		return nil
	})
	c := connect(t, newBroker(t, sqs.Options{}), deny)
	handle := startMove(t, c, client.StartMessageMoveTaskInput{DestinationArn: aws.String(arnPrefix + "other")})
	_, err := c.CancelMessageMoveTask(t.Context(), &client.CancelMessageMoveTaskInput{TaskHandle: handle})
	wantCode(t, err, "AccessDeniedException")
}
