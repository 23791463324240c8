package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

// traffic is what there is to deliver, and how it comes.
type traffic struct {
	name, way  string
	deliveries float64
	perSecond  float64       // deliveries, while there are any
	latency    time.Duration // of the endpoints, on average
	fanout     float64       // configs that an event goes to
	once       float64       // share of the deliveries whose first attempt fails
	dead       float64       // share of the deliveries whose endpoint answers nothing for a day: all five attempts fail
	records    float64       // of the stream, in one batch of dispatch
	messages   float64       // in one batch of deliver
	memory     float64       // MB of a function
	days       float64       // for which events and log are kept
}

// What the code takes, as measured and counted by the commands that are named.
const (
	// make scale: units
	writesEvent  = 2  // the item and its entry in the index by document
	writesAtOnce = 1  // the item of a delivery that succeeds at once
	writesOnce   = 5  // more: the item is written again, its entries in the indexes of unsettled and of due ones come and go
	writesDead   = 26 // more: 3, 3, 4, 4 and 4 of the attempts, 4 of each of two sweeps, and the config's count of failures
	readsInBatch = 2  // the config and the item, of each message
	readDispatch = 1  // the organization's active configs, up to 4 KB; each record of a batch from another one

	// make bench FLAGS='-only log': bytes
	logDispatch = 390 // one line and the metrics of a batch
	logDeliver  = 700 // the same
	logMessage  = 16  // more for each message of a batch: the latencies of its attempt
	logFailure  = 650 // the line of a failed attempt

	// make bench FLAGS='-only invocations': processor time, of which a function has a share by its memory, and what a batch
	// waits for services that answer in 5 ms (DynamoDB) and 10 ms (SQS)
	cpuDeliver       = 3100 * time.Microsecond // of a batch
	cpuDeliverEach   = 270 * time.Microsecond  // more for each message
	cpuDispatch      = 3100 * time.Microsecond
	cpuDispatchEach  = 160 * time.Microsecond
	waitDeliver      = 14 * time.Millisecond // reading and logging
	waitDispatch     = 24 * time.Millisecond // reading configs, writing events, sending
	waitDispatchEach = 360 * time.Microsecond
	wholeProcessor   = 1769 // MB

	storedEvent = 690 // bytes: the item, its entry in the index, and what DynamoDB adds to both
	backedUp    = 360 // bytes of these: backups are of the item alone
	storedItem  = 700 // bytes: the item of a delivery, and what DynamoDB adds to it
	monthDays   = 30

	sendBatch    = 10               // messages in one SendMessageBatch
	attemptOut   = 3000             // bytes to the internet: TLS handshake, headers, body
	deadTakes    = 10 * time.Second // the deadline to connect
	deadAttempts = 5
	deadDelayed  = 2 // attempts that a delayed message brings, the other two are the sweep's
	deadReceives = 4 // more of the last message, until SQS moves it

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

// batches of deliver: of attempts that are answered, of attempts that no answer comes to, and of messages that are only
// looked at.
func (t traffic) batches() (answered, timedOut, idle float64) {
	answered = t.deliveries * (1 - t.dead + t.once) / t.messages
	timedOut = t.deliveries * t.dead * deadAttempts / t.messages
	return answered, timedOut, t.deliveries * t.dead * deadReceives / t.messages
}

// deliverTakes is how long a batch of deliver takes beside its endpoints, and dispatchTakes one of dispatch.
func (t traffic) deliverTakes() time.Duration {
	return waitDeliver + t.computed(cpuDeliver+of(t.messages, cpuDeliverEach))
}

func (t traffic) dispatchTakes() time.Duration {
	return waitDispatch + of(t.records, waitDispatchEach) + t.computed(cpuDispatch+of(t.records, cpuDispatchEach))
}

func of(n float64, each time.Duration) time.Duration { return time.Duration(n * float64(each)) }

// computed is how long a function takes for what takes a whole processor so long.
func (t traffic) computed(cpu time.Duration) time.Duration {
	return time.Duration(float64(cpu) * wholeProcessor / t.memory)
}

// bill returns what it costs to deliver the traffic.
func bill(t traffic, p prices) []line {
	events := t.deliveries / t.fanout
	dispatches := events / t.records
	answered, timedOut, idle := t.batches()
	attempts := (answered + timedOut) * t.messages
	failures := t.deliveries * (t.once + t.dead*deadAttempts)

	own := t.deliverTakes()
	quick := (time.Duration(slowest(t.messages)*float64(t.latency)) + own).Seconds()
	deliver := answered*p.invocation(quick, t.memory) + timedOut*p.invocation((deadTakes+own).Seconds(), t.memory) +
		idle*p.invocation(own.Seconds(), t.memory)

	sends := t.deliveries/math.Min(sendBatch, t.records*t.fanout) + t.deliveries*t.once +
		t.deliveries*t.dead*(deadDelayed+(deadAttempts-1-deadDelayed)/t.messages)
	requests := sends + 2*(answered+timedOut+idle) // each batch is received, and then deleted or made visible again
	writes := events*writesEvent + t.deliveries*(writesAtOnce+t.once*writesOnce+t.dead*writesDead)
	reads := (attempts+idle*t.messages)*readsInBatch + events*readDispatch
	stored := (events*storedEvent + t.deliveries*storedItem) / bytesInGB
	logged := dispatches*logDispatch + (answered+timedOut+idle)*logDeliver + attempts*logMessage + failures*logFailure

	return []line{
		{
			service: "Lambda",
			what:    fmt.Sprintf("deliver, %.0f ms a batch that is answered", quick*1000),
			amount:  deliver,
		},
		{
			service: "Lambda",
			what:    fmt.Sprintf("dispatch, %.0f ms a batch", t.dispatchTakes().Seconds()*1000),
			amount:  dispatches * p.invocation(t.dispatchTakes().Seconds(), t.memory),
		},
		{service: "DynamoDB", what: "writes", amount: writes * p.WriteUnit.each()},
		{service: "DynamoDB", what: "reads", amount: reads * p.ReadUnit.each()},
		{
			service: "DynamoDB",
			what:    fmt.Sprintf("%.0f days of events and log", t.days),
			amount:  stored * t.days / monthDays * p.GBMonth.each(),
		},
		{service: "DynamoDB", what: "backups of events", amount: events * backedUp / bytesInGB * t.days / monthDays * p.BackupGB.each()},
		{service: "SQS", what: "requests, fair queue", amount: requests * (p.SQSRequest.each() + p.FairRequest.each())},
		{service: "CloudWatch", what: "logs and metrics", amount: logged / bytesInGB * p.LogGB.each()},
		{service: "Network", what: "to the endpoints", amount: answered * t.messages * attemptOut / bytesInGB * p.OutGB.each()},
	}
}

// unwanted returns what as many changes cost that no config wants: each is an event all the same.
func unwanted(t traffic, p prices) float64 {
	t.fanout = 1
	bytes := t.deliveries / bytesInGB * t.days / monthDays
	return t.deliveries/t.records*(p.invocation(t.dispatchTakes().Seconds(), t.memory)+logDispatch/bytesInGB*p.LogGB.each()) +
		t.deliveries*(writesEvent*p.WriteUnit.each()+readDispatch*p.ReadUnit.each()) +
		bytes*(storedEvent*p.GBMonth.each()+backedUp*p.BackupGB.each())
}

// invocation is what one costs that takes so many seconds.
func (p prices) invocation(seconds, memory float64) float64 {
	return p.LambdaRequest.each() + seconds*memory/1024*p.LambdaGBSecond.each()
}

// tracing returns what X-Ray costs more if it is on.
func tracing(t traffic, p prices) float64 {
	dispatches := t.deliveries / t.fanout / t.records
	answered, timedOut, idle := t.batches()
	batches := answered + timedOut + idle
	return (dispatches*traced(t.perSecond/t.fanout/t.records) + batches*traced(t.perSecond/t.messages)) * p.Trace.each()
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
func monthly(alarmMetrics int, memory float64, p prices) []line {
	sweep := p.invocation(sweepTakes.Seconds(), memory) + sweepReads*p.ReadUnit.each() + sweepLog/bytesInGB*p.LogGB.each()
	return []line{
		{service: "Secrets Manager", what: "the keyring", amount: p.Secret.each() + keyringReads*p.SecretCall.each()},
		{
			service: "CloudWatch",
			what:    fmt.Sprintf("alarms on %d metrics", alarmMetrics),
			amount:  float64(alarmMetrics) * p.Alarm.each(),
		},
		{service: "CloudWatch", what: "dashboard", amount: p.Dashboard.each()},
		{service: "SQS", what: "polling empty queues", amount: minutesMonth * idlePolls * p.SQSRequest.each()},
		{service: "Lambda", what: "the sweep, its reads and its log", amount: minutesMonth * sweep},
		{
			service: "CloudWatch",
			what:    fmt.Sprintf("%d metrics, in months with deliveries", metricsInUse),
			amount:  metricsInUse * p.Metric.each(),
		},
	}
}

// elsewhere returns what the same traffic costs through services of AWS that POST too. A change comes out of the stream
// through a pipe, to a bus or a topic. None of them signs for each receiver, logs deliveries or resends them, and they
// repeat an attempt as their own schedule says: what fails for a day is counted with as many attempts as here.
func elsewhere(t traffic, p prices) []line {
	events := t.deliveries / t.fanout
	attempts := t.deliveries * (1 + t.once + t.dead*(deadAttempts-1))
	network := t.deliveries * (1 - t.dead + t.once) * attemptOut / bytesInGB * p.OutGB.each()
	return []line{
		{
			service: "EventBridge",
			what:    "pipe, bus and API destination, neither signed nor logged",
			amount:  events*(p.PipeRequest.each()+p.CustomEvent.each()) + attempts*p.APIDestination.each() + network,
		},
		{
			service: "SNS",
			what:    "pipe, topic and HTTP, with a signature of its own and not logged",
			amount:  events*(p.PipeRequest.each()+p.SNSPublish.each()) + attempts*p.SNSHTTP.each() + network,
		},
	}
}

// services returns what services that send webhooks ask for the same number of deliveries. 50,000 a month are in both plans.
func services(deliveries float64, p prices) []line {
	messages := math.Max(0, deliveries-50_000) * p.SvixMessage.each()
	return []line{
		{service: "Svix", what: "Free plan", amount: messages},
		{service: "Svix", what: "Professional plan", amount: p.SvixProfessional.each() + messages},
	}
}

// write prints a summary, and then the bills line by line.
func write(out io.Writer, traffics []traffic, alarmMetrics int, list priceList) error {
	p, first := list.Prices, traffics[0]
	fmt.Fprintf(out, "List prices of %s, %s. Endpoints answer in %s, functions have %.0f MB, X-Ray is off.\n\n",
		list.Region, list.AsOf, first.latency, first.memory)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "USD for %.0f deliveries\tDocuhook\tEventBridge\tSNS\tX-Ray more\n", first.deliveries)
	for _, t := range traffics {
		other := elsewhere(t, p)
		fmt.Fprintf(table, "%s\t%8.2f\t%8.2f\t%8.2f\t%8.2f\n", t.name, sum(bill(t, p)), other[0].amount, other[1].amount, tracing(t, p))
	}
	for _, t := range traffics {
		if t.once+t.dead == 0 && t.fanout == 1 {
			fmt.Fprintf(table, "as many changes that no config wants, %s\t%8.2f\n", t.way, unwanted(t, p))
		}
	}
	fmt.Fprintln(table)
	for _, t := range traffics {
		fmt.Fprintf(table, "%s\t\tUSD\n", t.name)
		lines(table, bill(t, p))
	}
	fmt.Fprintf(table, "A month, whatever is delivered\t\tUSD\n")
	lines(table, monthly(alarmMetrics, first.memory, p))
	fmt.Fprintf(table, "%.0f deliveries elsewhere, one by one, each succeeds\t\tUSD\n", first.deliveries)
	for _, l := range append(elsewhere(first, p), services(first.deliveries, p)...) {
		fmt.Fprintf(table, "  %s\t%s\t%8.2f\n", l.service, l.what, l.amount)
	}
	return table.Flush()
}

func lines(out io.Writer, lines []line) {
	for _, l := range lines {
		fmt.Fprintf(out, "  %s\t%s\t%8.2f\n", l.service, l.what, l.amount)
	}
	fmt.Fprintf(out, "  Sum\t\t%8.2f\n\n", sum(lines))
}

func sum(lines []line) float64 {
	sum := 0.0
	for _, l := range lines {
		sum += l.amount
	}
	return sum
}
