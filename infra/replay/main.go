// Command replay dispatches again what DispatchFailureQueue points to.
//
// When status changes could not be dispatched for six hours, Lambda gives them up and leaves a
// pointer: shard and range of sequence numbers, nothing more. This command reads those records again
// while the stream holds them (24 hours), dispatches them exactly as the function would have, and
// deletes a pointer only after the queues have accepted everything. Event ids come from the
// records, so running it twice, or over records that did go out, sends nothing new to anybody.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/infra/deployed"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/queue"
)

const usage = `Dispatches again the status changes that DispatchFailureQueue points to.

    replay [-dry-run] [-discard-expired]

Everything of the deployed stack docuhook is meant, unless flags say otherwise. Deploy or repair what
kept the changes from being dispatched first. The exit code is 0 if nothing is left in the queue, 1
if something is, and 2 for wrong flags.

`

// Exit codes.
const (
	exitLeft  = 1
	exitUsage = 2
)

// Outputs of the stack.
const (
	pointersOutput = "DispatchFailureQueue"
	configsOutput  = "ConfigsTable"
	eventsOutput   = "EventsTable"
	deliveryOutput = "DeliveryQueue"
	retryOutput    = "RetryQueue"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags of the command.
type options struct {
	stack          deployed.Flags
	pointers       string
	configs        string
	events         string
	delivery       string
	retry          string
	dryRun         bool
	discardExpired bool
}

// run returns the exit code.
func run(ctx context.Context, arguments []string, out, stderr io.Writer) int {
	var o options
	set := flag.NewFlagSet("replay", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	o.stack.Register(set)
	set.StringVar(&o.pointers, "queue", "", "`URL` of the queue of pointers, instead of the stack's")
	set.StringVar(&o.configs, "configs-table", "", "`name` of the table of configs, instead of the stack's")
	set.StringVar(&o.events, "events-table", "", "`name` of the table of events, instead of the stack's")
	set.StringVar(&o.delivery, "delivery-queue", "", "`URL` of the delivery queue, instead of the stack's")
	set.StringVar(&o.retry, "retry-queue", "", "`URL` of the retry queue, instead of the stack's")
	set.BoolVar(&o.dryRun, "dry-run", false, "read everything, send and delete nothing")
	set.BoolVar(&o.discardExpired, "discard-expired", false, "delete pointers to records that the stream no longer holds")
	err := set.Parse(arguments)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, usage)
		set.SetOutput(stderr)
		set.PrintDefaults()
		return 0
	case err == nil && set.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
		fallthrough
	case err != nil:
		fmt.Fprintf(stderr, "replay: %v\nRun replay -h for help.\n", err)
		return exitUsage
	}
	r, err := o.build(ctx, out, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "replay: %v\n", err)
		return exitLeft
	}
	s, err := r.run(ctx)
	fmt.Fprintf(stderr, "replay: %d pointers done, %d expired, %d failed\n", s.done, s.expired, s.failed)
	if err != nil {
		fmt.Fprintf(stderr, "replay: %v\n", err)
		return exitLeft
	}
	if s.failed > 0 || s.expired > 0 && !o.discardExpired || o.dryRun && s != (summary{}) {
		return exitLeft
	}
	return 0
}

// build finds the stack's parts and puts the replay together.
func (o *options) build(ctx context.Context, out, stderr io.Writer) (*replay, error) {
	loaded, err := o.stack.Config(ctx)
	if err != nil {
		return nil, err
	}
	var wanted []string
	parts := map[string]*string{
		pointersOutput: &o.pointers,
		configsOutput:  &o.configs,
		eventsOutput:   &o.events,
		deliveryOutput: &o.delivery,
		retryOutput:    &o.retry,
	}
	for output, value := range parts {
		if *value == "" {
			wanted = append(wanted, output)
		}
	}
	if len(wanted) > 0 {
		names, err := o.stack.Names(ctx, loaded, wanted...)
		if err != nil {
			return nil, err
		}
		for _, output := range wanted {
			*parts[output] = names[output]
		}
	}
	queues, tables := sqs.NewFromConfig(loaded), dynamodb.NewFromConfig(loaded)
	return &replay{
		pointers:       queues,
		queueURL:       o.pointers,
		reader:         reader{stream: dynamodbstreams.NewFromConfig(loaded), sleep: sleep},
		configs:        &dynamo.Configs{Client: tables, Table: o.configs},
		events:         &dynamo.Events{Client: tables, Table: o.events},
		deliveryQueue:  &queue.Queue{Client: queues, URL: o.delivery, Now: time.Now},
		retryQueue:     &queue.Queue{Client: queues, URL: o.retry, Now: time.Now},
		now:            time.Now,
		dryRun:         o.dryRun,
		discardExpired: o.discardExpired,
		out:            out,
		log:            slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, nil
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
