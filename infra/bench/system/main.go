// Command system measures the system as a whole on this machine, beside the least that could do its work.
//
// It starts the local stack, which runs the functions' real binaries, writes documents and takes the webhooks. The
// functions' processor time is that of their processes, without what plays AWS. Beside it, in the same run, stand a
// bare loop that signs twice and POSTs, and a function that says hello: ratios to these compare machines and
// revisions better than times do.
//
// Usage:
//
//	go run ./infra/bench/system [flags]
//
// With -root it measures another working copy, and with -json it prints one object instead of a table. The parts
// are told one after the other, each with what it has a ratio for first.
//
// # Where the time goes
//
// Of both processors of a machine, while the producer is faster than the system (full batches) and at 200 single changes a
// second, in profiles by Linux's perf (November 2026):
//
//	                                             full batches   200 a second
//	the local stack, which plays AWS                 40 %            31 %
//	deliver                                          30 %            22 %
//	dispatch                                         20 %            22 %
//	the producer and the endpoint                     7 %            13 %
//	nothing                                           3 %            12 %
//
// and by what all these processes were at:
//
//	the kernel: sockets, polling, futexes            20 %            27 %
//	JSON                                             20 %            11 %
//	allocation and garbage                           19 %            17 %
//	net/http                                         13 %            19 %
//	own code, of which the local stack's is 2/3      16 %            12 %
//	Go's scheduler: sysmon, channels, stacks          8 %            11 %
//	the SDK: middlewares, signing, attributes         7 %            14 %
//
// At full batches a fifth of deliver is calls of AWS, and two fifths are the POSTs and the goroutines of all connections. So
// the deliveries a second are bounded by what plays AWS as much as by the functions: by these shares two processors would carry
// twice as many without it, the producer and the endpoint.
//
// Of a single change the time is waking. A delivery is ten requests over HTTP: of each function the one that asks for an event,
// the one that answers it, and three more, and before each a process has slept. What that takes the bare loop shows: for a POST at
// 200 a second it needs seven to ten times as long as without rest, and a delivery about six times as long as such a POST. Where
// both processors never rest, since loops of the lowest priority run beside it, such a POST took 310 instead of 557 µs; what the
// rest of it is was not measured. Between the write and the POST lie eight of the requests, each about as long as such a
// POST, which makes the median; and since the machine is busy for seven eighths of the time, the slow ones are those that find
// others before them.
//
// So what would help is fewer requests, and each is a promise: the config as it is now, the event on record before its message, the
// message in the queue, the log before the end of the message. To come to three times the bare loop would, by these shares, take
// one process that reads the stream and posts, without them.
//
// Tried, and left out, in alternating runs:
//
//   - no checksums of answers, no retries in the SDK: 3 and 1 % of a call's allocations, nothing of its time;
//   - attribute values of the local stack decoded by hand: fewer passes over the text, more allocations;
//   - a profile-guided build of dispatch and deliver: 6 % less at full batches, nothing for single changes, and the SDK compiled
//     twice more by each build;
//   - connections to AWS without the two goroutines of net/http: 4 to 18 % less at full batches, nothing for single changes, and
//     all that net/http knows of dead connections to be written anew;
//   - the local stack, the producer and the endpoint with one processor (GOMAXPROCS=1), or with fewer collections (GOGC=400): no
//     shorter latencies, 6 to 21 % fewer deliveries a second.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// settings are the command's flags.
type settings struct {
	root    string // the working copy that is measured
	rounds  int
	changes int
	items   int // of the longest list
	only    string
	asJSON  bool
	loop    string        // URL; set where this process is the bare loop
	count   int           // POSTs of the bare loop
	pause   time.Duration // before each
}

func main() {
	var s settings
	flag.StringVar(&s.root, "root", ".", "`folder` of the working copy that is measured")
	flag.IntVar(&s.rounds, "rounds", 3, "`rounds` of which the median is told")
	flag.IntVar(&s.changes, "changes", 20_000, "changes that are written at once, `N`")
	flag.IntVar(&s.items, "items", 1_000_000, "length of the longest list, `N`; a million take about 8 GB of memory")
	flag.StringVar(&s.only, "only", "", "measure only this `part`: "+partNames())
	flag.BoolVar(&s.asJSON, "json", false, "print one JSON object")
	flag.StringVar(&s.loop, "loop", "", "be the bare loop: sign twice and POST to this `URL`")
	flag.IntVar(&s.count, "count", 20_000, "POSTs of the bare loop, `N`")
	flag.DurationVar(&s.pause, "pause", 0, "`duration` of the bare loop's rest before each POST")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "system:", err)
		os.Exit(1)
	}
}

// part is something to measure.
type part struct {
	name    string
	measure func(b *bench, ctx context.Context) error
}

// parts in the order in which they are measured: the first two are what the others are compared with.
var parts = []part{
	{name: "loop", measure: (*bench).measureLoop},
	{name: "start", measure: (*bench).measureStarts},
	{name: "throughput", measure: (*bench).measureThroughput},
	{name: "latency", measure: (*bench).measureLatency},
	{name: "handlers", measure: (*bench).measureHandlers},
	{name: "invocations", measure: (*bench).measureInvocations},
	{name: "log", measure: (*bench).measureLog},
	{name: "neighbours", measure: (*bench).measureNeighbours},
	{name: "sweep", measure: (*bench).measureSweep},
	{name: "growth", measure: (*bench).measureGrowth},
	{name: "lists", measure: (*bench).measureLists},
}

func partNames() string {
	var names string
	for _, p := range parts {
		names += " " + p.name
	}
	return names[1:]
}

// figure is one line of the table.
type figure struct {
	Part  string  `json:"part"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Ratio float64 `json:"ratio,omitempty"` // of the value to that of what To names
	To    string  `json:"to,omitempty"`
}

// bench collects the figures.
type bench struct {
	settings
	folder   string // for binaries
	stack    string // the local stack's binary
	stacks   []*stack
	loopCPU  time.Duration // of one POST of the bare loop
	part     string        // that is measured
	figures  []figure
	progress io.Writer
}

// report is what is printed as JSON.
type report struct {
	Go         string   `json:"go"`
	Processors int      `json:"processors"`
	Rounds     int      `json:"rounds"`
	Changes    int      `json:"changes"`
	Figures    []figure `json:"figures"`
}

// run measures and prints.
func run(ctx context.Context, s settings, out io.Writer) error {
	if s.loop != "" {
		return loop(ctx, s.loop, s.count, s.pause, out)
	}
	if s.only != "" && !slices.ContainsFunc(parts, func(p part) bool { return p.name == s.only }) {
		return fmt.Errorf("there is no part %q; parts are: %s", s.only, partNames())
	}
	folder, err := os.MkdirTemp("", "docuhook-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{settings: s, folder: folder, progress: os.Stderr}
	defer func() { // of a part that failed
		for _, s := range b.stacks {
			if !s.stopped {
				s.stop()
			}
		}
	}()
	if b.stack, err = b.buildStack(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if s.only != "" && p.name != s.only && p.name != "loop" {
			continue
		}
		b.part = p.name
		began := time.Now()
		fmt.Fprintf(b.progress, "measuring %s … ", p.name)
		if err := p.measure(b, ctx); err != nil {
			fmt.Fprintln(b.progress, "failed")
			return errors.Join(fmt.Errorf("measuring %s: %w", p.name, err), b.print(out))
		}
		fmt.Fprintln(b.progress, time.Since(began).Round(time.Second))
	}
	return b.print(out)
}

// add notes a figure.
func (b *bench) add(name string, value float64, unit string) {
	b.figures = append(b.figures, figure{Part: b.part, Name: name, Value: value, Unit: unit})
}

// compare notes a figure beside another one of the same unit.
func (b *bench) compare(name string, value float64, unit, to string, other float64) {
	b.figures = append(b.figures, figure{Part: b.part, Name: name, Value: value, Unit: unit, Ratio: value / other, To: to})
}

func (b *bench) print(out io.Writer) error {
	if b.asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report{
			Go: runtime.Version(), Processors: runtime.NumCPU(), Rounds: b.rounds, Changes: b.changes, Figures: b.figures,
		})
	}
	// Within a part, what has a ratio comes first.
	order := slices.Clone(b.figures)
	slices.SortStableFunc(order, func(x, y figure) int {
		at := func(f figure) int { return slices.IndexFunc(parts, func(p part) bool { return p.name == f.Part }) }
		return cmp.Or(at(x)-at(y), min(1, len(y.To))-min(1, len(x.To)))
	})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "ratio\tvalue\t\t  what")
	for i, f := range order {
		if i > 0 && f.Part != order[i-1].Part {
			fmt.Fprintln(table, "\t\t\t")
		}
		ratio, name := "", f.Name
		if f.To != "" {
			ratio, name = fmt.Sprintf("%.2f ×", f.Ratio), f.Name+", beside "+f.To
		}
		fmt.Fprintf(table, "%s\t%.4g\t%s\t  %s\n", ratio, f.Value, f.Unit, name)
	}
	return table.Flush()
}

// median of some values.
func median[T float64 | time.Duration](values []T) T {
	return quantile(values, 0.5)
}

// quantile of some values, the share of which is at or below it.
func quantile[T float64 | time.Duration](values []T, share float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// micro is a duration in microseconds.
func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// milli is a duration in milliseconds.
func milli(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
