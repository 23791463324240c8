// Command scale measures what the functions ask of DynamoDB.
//
// It takes deliveries through dispatch, deliver and sweep, and fills the tables of template.yaml, in the local
// stack's DynamoDB, through the same code that the functions use, and makes the calls of the list operations,
// twice: on a small table and on one that is ten times larger. Every request asks DynamoDB for the capacity that
// it consumed. The command fails if a delivery takes other units than it should, or if a call goes beyond its
// bound or grows with the table.
//
// Usage:
//
//	go run ./infra/bench/scale [flags]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/docuhook/docuhook/infra/local/tables"
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/dynamo"
)

type settings struct {
	template   string
	deliveries int
	configs    int
}

func main() {
	var s settings
	flag.StringVar(&s.template, "template", "template.yaml", "the SAM template, `file`")
	flag.IntVar(&s.deliveries, "deliveries", 200_000, "deliveries in the large table")
	flag.IntVar(&s.configs, "configs", 10_000, "configs in the large table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, out io.Writer) error {
	source, err := os.ReadFile(s.template)
	if err != nil {
		return err
	}
	engine, err := tables.New(source)
	if err != nil {
		return err
	}
	server := httptest.NewServer(engine)
	defer server.Close()
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	}, meter)
	b := &bench{
		out:        out,
		configs:    &dynamo.Configs{Client: client, Table: "ConfigsTable"},
		deliveries: &dynamo.Deliveries{Client: client, Table: "DeliveriesTable"},
		events:     &dynamo.Events{Client: client, Table: "EventsTable"},
	}
	if err := b.measurePath(ctx); err != nil {
		return err
	}
	if err := b.measureConfigs(ctx, s.configs); err != nil {
		return err
	}
	if err := b.measureDeliveries(ctx, s.deliveries); err != nil {
		return err
	}
	if len(b.problems) > 0 {
		return fmt.Errorf("%d figures are not as they should be:\n  %s", len(b.problems), strings.Join(b.problems, "\n  "))
	}
	return nil
}

// bench measures and prints.
type bench struct {
	out        io.Writer
	configs    *dynamo.Configs
	deliveries *dynamo.Deliveries
	events     *dynamo.Events
	problems   []string
}

// measureConfigs lists the configs of an organization with count/10 and with count of them.
func (b *bench) measureConfigs(ctx context.Context, count int) error {
	list := api.ListConfigs{Configs: b.configs, Now: now}
	calls := configCalls(list, count/100)
	measured := [2][]measurement{}
	from := 0
	for i, to := range []int{count / 10, count} {
		if err := b.load("configs", to, func() error { return createConfigs(ctx, b.configs, many, from, to) }); err != nil {
			return err
		}
		from = to
		found, err := measureAll(ctx, calls)
		if err != nil {
			return err
		}
		measured[i] = found
	}
	b.print("list-configs", "configs", count, calls, measured)
	return b.walkConfigs(ctx, list, count)
}

// measureDeliveries lists the deliveries and the events of an organization with count/10 and with count deliveries.
func (b *bench) measureDeliveries(ctx context.Context, count int) error {
	if err := createConfigs(ctx, b.configs, busy, 0, mergedConfigs); err != nil {
		return err
	}
	list := api.ListDeliveries{Deliveries: b.deliveries, Events: b.events, Configs: b.configs, Now: now}
	listEvents := api.ListEvents{Events: b.events, Now: now}
	calls, callsOfEvents := deliveryCalls(list), eventCalls(listEvents)
	measured, measuredEvents := [2][]measurement{}, [2][]measurement{}
	from := 0
	for i, to := range []int{count / 10, count} {
		if err := b.load("deliveries", to, func() error { return record(ctx, b.deliveries, b.events, from, to, count) }); err != nil {
			return err
		}
		from = to
		var err error
		if measured[i], err = measureAll(ctx, calls); err != nil {
			return err
		}
		if measuredEvents[i], err = measureAll(ctx, callsOfEvents); err != nil {
			return err
		}
	}
	b.print("list-deliveries", "deliveries", count, calls, measured)
	b.print("list-events", "events", count/perEvent, callsOfEvents, measuredEvents)
	if err := b.walkEvents(ctx, listEvents, count/perEvent); err != nil {
		return err
	}
	return b.walkDeliveries(ctx, list, count)
}

// load fills a table and says how long it took.
func (b *bench) load(what string, to int, fill func() error) error {
	began := time.Now()
	if err := fill(); err != nil {
		return fmt.Errorf("writing %s: %w", what, err)
	}
	fmt.Fprintf(b.out, "%d %s written after %s\n", to, what, time.Since(began).Round(time.Second))
	return nil
}

func measureAll(ctx context.Context, calls []call) ([]measurement, error) {
	var found []measurement
	for _, c := range calls {
		m, err := c.measure(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return found, nil
}

// print prints a table of calls and keeps what is wrong with them.
func (b *bench) print(operation, what string, count int, calls []call, measured [2][]measurement) {
	fmt.Fprintf(b.out, "\n%s, with %d and with %d %s\n", operation, count/10, count, what)
	table := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "items\t\trequests\t\tbound\tread units\t\tbound\t  ")
	for i, c := range calls {
		small, large := measured[0][i], measured[1][i]
		verdict := ""
		if problem := judge(c.bound, small, large); problem != "" {
			verdict = "  " + problem
			b.problems = append(b.problems, operation+", "+c.name+": "+problem)
		}
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t  %s%s\n",
			small.items, large.items, small.requests, large.requests, c.bound.requests,
			small.units, large.units, c.bound.units, c.name, verdict)
	}
	table.Flush()
	fmt.Fprintln(b.out)
}
