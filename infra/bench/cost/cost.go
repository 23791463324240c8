package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

const million = 1e6

// prices are list prices of us-east-1 in US dollars, without free tiers and discounts for volume. Looked
// up in November 2026 in copies of these pages and of articles about them, of March to September 2026.
type prices struct {
	// https://aws.amazon.com/lambda/pricing/
	lambdaRequest  float64
	lambdaGBSecond float64 // arm64

	// https://aws.amazon.com/dynamodb/pricing/on-demand/ (reading a stream costs nothing for Lambda)
	writeUnit float64
	readUnit  float64
	gbMonth   float64
	backupGB  float64 // a month, for point-in-time recovery

	// https://aws.amazon.com/sqs/pricing/
	sqsRequest  float64
	fairRequest float64 // what a message group id adds on a standard queue

	// https://aws.amazon.com/cloudwatch/pricing/
	logGB     float64
	metric    float64 // a month
	alarm     float64 // a month, for each metric that an alarm looks at
	dashboard float64 // a month

	// https://aws.amazon.com/xray/pricing/
	trace float64

	// https://aws.amazon.com/secrets-manager/pricing/
	secret     float64 // a month
	secretCall float64

	// https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer
	outGB float64
}

func listPrices() prices {
	return prices{
		lambdaRequest:  0.20 / million,
		lambdaGBSecond: 0.0000133334,
		writeUnit:      0.625 / million,
		readUnit:       0.125 / million,
		gbMonth:        0.25,
		backupGB:       0.20,
		sqsRequest:     0.40 / million,
		fairRequest:    0.10 / million,
		logGB:          0.50,
		metric:         0.30,
		alarm:          0.10,
		dashboard:      3.00,
		trace:          5.00 / million,
		secret:         0.40,
		secretCall:     0.05 / 10_000,
		outGB:          0.09,
	}
}

// traffic is what there is to deliver, and how it comes.
type traffic struct {
	name       string
	deliveries float64
	perSecond  float64       // deliveries, while there are any
	latency    time.Duration // of the endpoints, on average
	fanout     float64       // configs that an event goes to
	retried    float64       // share of the deliveries that need a second attempt
	records    float64       // of the stream, in one batch of dispatch
	messages   float64       // in one batch of deliver
}

// What the code takes. Units and batch sizes are the design's; `make scale` measures the units.
const (
	memoryGB = 256.0 / 1024

	writesEvent   = 2 // the item and its entry in the index by document
	writesAtOnce  = 1 // the item of a delivery that succeeds at once
	writesRetried = 5 // more: the item is written again, its entries in the indexes of unsettled and of due ones come and go
	readsInBatch  = 2 // the config and the item, of each message
	readsDispatch = 1 // the organization's active configs, up to 4 KB; each record of a batch from another one

	storedEvent   = 700  // bytes: the item, its entry in the index, and what DynamoDB adds to both
	backedUp      = 400  // bytes of these: backups are of the item alone
	storedItem    = 700  // bytes: the item of a delivery, and what DynamoDB adds to it
	storedMonths  = 3    // 90 days
	sendBatch     = 10   // messages in one SendMessageBatch
	attemptOut    = 3000 // bytes to the internet: TLS handshake, headers, body
	logBatch      = 1300 // bytes: one line and the metrics of a batch
	logFailure    = 800  // bytes: the line of a failed attempt
	deliverItself = 30 * time.Millisecond
	dispatchBatch = 20 * time.Millisecond
	dispatchEach  = time.Millisecond // more for each record

	tracedShare  = 0.05 // of what is beyond one invocation a second, which X-Ray always records
	minutesMonth = 730 * 60
	idlePolls    = 3 * 5 * 3 // long polls a minute: Lambda keeps five, of 20 s each, on each of three empty queues
	sweepTakes   = 100 * time.Millisecond
	sweepReads   = 18 * 0.5 // of 16 shards and of two counts, eventually consistent and mostly empty
	sweepLog     = 700      // bytes: one line and the metrics
	keyringReads = 12 * 730
	bytesInGB    = 1e9
	metricsInUse = 14 // of those in the code, those that come up while all is well
)

// line is one line of a bill.
type line struct {
	service string
	what    string
	amount  float64 // US dollars
}

// bill returns what it costs to deliver the traffic.
func bill(t traffic, p prices) []line {
	events := t.deliveries / t.fanout
	attempts := t.deliveries * (1 + t.retried)
	dispatches := events / t.records
	batches := attempts / t.messages
	sends := t.deliveries / math.Min(sendBatch, t.records*t.fanout)

	deliverSeconds := (time.Duration(slowest(t.messages)*float64(t.latency)) + deliverItself).Seconds()
	dispatchSeconds := (dispatchBatch + time.Duration(t.records*float64(dispatchEach))).Seconds()
	requests := sends + 2*batches + t.deliveries*t.retried // receive and delete each batch, and send each second attempt
	writes := events*writesEvent + t.deliveries*(writesAtOnce+t.retried*writesRetried)
	stored := (events*storedEvent + t.deliveries*storedItem) / bytesInGB
	logged := (dispatches+batches)*logBatch + t.deliveries*t.retried*logFailure

	return []line{
		{
			service: "Lambda",
			what:    fmt.Sprintf("deliver, %.0f ms a batch", deliverSeconds*1000),
			amount:  batches * p.invocation(deliverSeconds),
		},
		{
			service: "Lambda",
			what:    fmt.Sprintf("dispatch, %.0f ms a batch", dispatchSeconds*1000),
			amount:  dispatches * p.invocation(dispatchSeconds),
		},
		{service: "DynamoDB", what: "writes", amount: writes * p.writeUnit},
		{service: "DynamoDB", what: "reads", amount: (attempts*readsInBatch + events*readsDispatch) * p.readUnit},
		{service: "DynamoDB", what: "90 days of events and log", amount: stored * storedMonths * p.gbMonth},
		{service: "DynamoDB", what: "backups of events", amount: events * backedUp / bytesInGB * storedMonths * p.backupGB},
		{service: "SQS", what: "requests, fair queue", amount: requests * (p.sqsRequest + p.fairRequest)},
		{service: "CloudWatch", what: "logs", amount: logged / bytesInGB * p.logGB},
		{service: "Network", what: "to the endpoints", amount: attempts * attemptOut / bytesInGB * p.outGB},
	}
}

// invocation is what one costs that takes so many seconds.
func (p prices) invocation(seconds float64) float64 {
	return p.lambdaRequest + seconds*memoryGB*p.lambdaGBSecond
}

// tracing returns what X-Ray costs more if it is on.
func tracing(t traffic, p prices) float64 {
	dispatches := t.deliveries / t.fanout / t.records
	batches := t.deliveries * (1 + t.retried) / t.messages
	return (dispatches*traced(t.perSecond/t.fanout/t.records) + batches*traced(t.perSecond/t.messages)) * p.trace
}

// slowest is how many times longer than the average the slowest of n endpoints takes, if their
// latencies are distributed exponentially: 1 + 1/2 + … + 1/n.
func slowest(n float64) float64 {
	sum := 0.0
	for i := 1.0; i <= n; i++ {
		sum += 1 / i
	}
	return sum
}

// traced is the share of invocations that X-Ray records at so many a second.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
func traced(perSecond float64) float64 {
	if perSecond <= 1 {
		return 1
	}
	return (1 + tracedShare*(perSecond-1)) / perSecond
}

// monthly returns what a stack costs in a month beside its traffic.
func monthly(alarmMetrics int, p prices) []line {
	sweep := p.invocation(sweepTakes.Seconds()) + sweepReads*p.readUnit + sweepLog/bytesInGB*p.logGB
	return []line{
		{service: "Secrets Manager", what: "the keyring", amount: p.secret + keyringReads*p.secretCall},
		{service: "CloudWatch", what: fmt.Sprintf("alarms on %d metrics", alarmMetrics), amount: float64(alarmMetrics) * p.alarm},
		{service: "CloudWatch", what: "dashboard", amount: p.dashboard},
		{service: "SQS", what: "polling empty queues", amount: minutesMonth * idlePolls * p.sqsRequest},
		{service: "Lambda", what: "the sweep, its reads and its log", amount: minutesMonth * sweep},
		{
			service: "CloudWatch",
			what:    fmt.Sprintf("%d metrics, in months with deliveries", metricsInUse),
			amount:  metricsInUse * p.metric,
		},
	}
}

// alternatives returns what others ask for the same number of deliveries, by their public price lists.
func alternatives(deliveries float64) []line {
	return []line{
		// https://aws.amazon.com/eventbridge/pricing/ (March 2026) A custom event and an API destination.
		// It signs nothing and has no log of deliveries.
		{
			service: "EventBridge",
			what:    "event and API destination, neither signed nor logged",
			amount:  deliveries * (1.00 + 0.20) / million,
		},
		// https://www.svix.com/pricing/ (September 2026) 50,000 messages are included in both plans.
		{service: "Svix", what: "Free plan", amount: math.Max(0, deliveries-50_000) * 0.0001},
		{service: "Svix", what: "Professional plan", amount: 490 + math.Max(0, deliveries-50_000)*0.0001},
	}
}

// write prints the tables.
func write(out io.Writer, traffics []traffic, alarmMetrics int, p prices) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range traffics {
		fmt.Fprintf(table, "%.0f deliveries, %s\t\tUSD\n", t.deliveries, t.name)
		fmt.Fprintf(table, "  (endpoints take %s, %.0f %% need a second attempt, an event goes to %.0f configs)\n",
			t.latency, t.retried*100, t.fanout)
		lines(table, bill(t, p))
		fmt.Fprintf(table, "  X-Ray\tmore, with Tracing=Active\t%8.2f\n\n", tracing(t, p))
	}
	fmt.Fprintf(table, "A month, whatever is delivered\t\tUSD\n")
	lines(table, monthly(alarmMetrics, p))
	fmt.Fprintf(table, "\n%.0f deliveries elsewhere\t\tUSD\n", traffics[0].deliveries)
	for _, l := range alternatives(traffics[0].deliveries) {
		fmt.Fprintf(table, "  %s\t%s\t%8.2f\n", l.service, l.what, l.amount)
	}
	return table.Flush()
}

func lines(out io.Writer, lines []line) {
	for _, l := range lines {
		fmt.Fprintf(out, "  %s\t%s\t%8.2f\n", l.service, l.what, l.amount)
	}
	fmt.Fprintf(out, "  Sum\t\t%8.2f\n", sum(lines))
}

func sum(lines []line) float64 {
	sum := 0.0
	for _, l := range lines {
		sum += l.amount
	}
	return sum
}
