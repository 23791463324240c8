// Package infra_test keeps what is written about the system in step with the system: the runbook with
// the template's alarms, and the template's alarms and dashboard with the metrics that the code emits.
package infra_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// namespace is the CloudWatch namespace of the stack's own metrics, as the template writes it.
const namespace = "Docuhook/${AWS::StackName}"

type dimension struct {
	Name  string `yaml:"Name"`
	Value any    `yaml:"Value"` // a text, or a call of an intrinsic function
}

type metric struct {
	Namespace  string      `yaml:"Namespace"`
	MetricName string      `yaml:"MetricName"`
	Dimensions []dimension `yaml:"Dimensions"`
}

type alarm struct {
	Metric           metric   `yaml:",inline"`
	AlarmDescription string   `yaml:"AlarmDescription"`
	TreatMissingData string   `yaml:"TreatMissingData"`
	AlarmActions     []string `yaml:"AlarmActions"`
	OKActions        []string `yaml:"OKActions"`
	Metrics          []struct {
		MetricStat struct {
			Metric metric `yaml:"Metric"`
		} `yaml:"MetricStat"`
	} `yaml:"Metrics"`
}

// metrics returns the metrics that an alarm looks at.
func (a alarm) metrics() []metric {
	var all []metric
	if a.Metric.MetricName != "" {
		all = append(all, a.Metric)
	}
	for _, m := range a.Metrics {
		if m.MetricStat.Metric.MetricName != "" {
			all = append(all, m.MetricStat.Metric)
		}
	}
	return all
}

// template is what is read of template.yaml.
type template struct {
	alarms    map[string]alarm // by logical id
	dashboard string           // its body, with ${…} as it is
}

func readTemplate(t *testing.T) template {
	t.Helper()
	var document struct {
		Resources map[string]struct {
			Type       string `yaml:"Type"`
			Properties any    `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	parseTemplate(t, &document)
	read := template{alarms: map[string]alarm{}}
	for id, resource := range document.Resources {
		properties, err := yaml.Marshal(resource.Properties)
		if err != nil {
			t.Fatal(err)
		}
		switch resource.Type {
		case "AWS::CloudWatch::Alarm":
			var one alarm
			if err := yaml.Unmarshal(properties, &one); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			read.alarms[id] = one
		case "AWS::CloudWatch::Dashboard":
			var one struct {
				DashboardBody string `yaml:"DashboardBody"`
			}
			if err := yaml.Unmarshal(properties, &one); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			read.dashboard = one.DashboardBody
		}
	}
	if len(read.alarms) == 0 || read.dashboard == "" {
		t.Fatal("the template has no alarms or no dashboard")
	}
	return read
}

// emitted returns the metrics of the code, each with the name of its dimension, "" for none: the
// constants metric… and the calls of Add, AddBy and Observe that use them.
func emitted(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, path := range []string{"../shared/delivery", "../shared/dispatch"} {
		packages, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		names, dimensions := map[string]string{}, map[string]string{}
		for _, entry := range packages {
			if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path+"/"+entry.Name(), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					if len(n.Values) == 1 && strings.HasPrefix(n.Names[0].Name, "metric") {
						names[n.Names[0].Name] = unquote(n.Values[0])
					}
				case *ast.CallExpr:
					method, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || !slices.Contains([]string{"Add", "AddBy", "Observe"}, method.Sel.Name) {
						return true
					}
					for _, argument := range n.Args {
						if name, ok := argument.(*ast.Ident); ok && strings.HasPrefix(name.Name, "metric") {
							dimensions[name.Name] = ""
							if method.Sel.Name == "AddBy" {
								dimensions[name.Name] = unquote(n.Args[0])
							}
						}
					}
				}
				return true
			})
		}
		for constant, dimension := range dimensions {
			if names[constant] == "" {
				t.Fatalf("%s: %s is no constant with a metric's name", path, constant)
			}
			found[names[constant]] = dimension
		}
	}
	return found
}

// unquote returns the value of a string literal, "" for anything else.
func unquote(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	value, _ := strconv.Unquote(literal.Value)
	return value
}

func TestEveryAlarmHasItsSectionInTheRunbook(t *testing.T) {
	runbook, err := os.ReadFile("runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(runbook), "\n## Alarms\n")
	if !found {
		t.Fatal("the runbook has no section Alarms")
	}
	alarms, _, _ := strings.Cut(after, "\n## ")
	var have, want []string
	for _, section := range strings.Split(alarms, "\n### ")[1:] {
		id, text, _ := strings.Cut(section, "\n")
		have = append(have, id)
		for _, part := range []string{"**Means:**", "**Look at:**", "**Do:**"} {
			if strings.Count(text, part) != 1 {
				t.Errorf("%s: the section must have %s once", id, part)
			}
		}
	}
	for id := range readTemplate(t).alarms {
		want = append(want, id)
	}
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("alarms (-template +runbook):\n%s", diff)
	}
}

// TestRunbookQuotesWhatTheCodeLogs finds messages of the log that an operator would look for in vain.
func TestRunbookQuotesWhatTheCodeLogs(t *testing.T) {
	code := loggingCode(t)
	quoted := regexp.MustCompile("`([a-z]+(?: [a-z]+)+)`").FindAllStringSubmatch(pages(t)["infra/runbook.md"], -1)
	if len(quoted) == 0 {
		t.Fatal("the runbook quotes no message")
	}
	for _, match := range quoted {
		if !strings.Contains(code, strconv.Quote(match[1])) && !regexp.MustCompile("^(make|sam) ").MatchString(match[1]) {
			t.Errorf("the runbook quotes %q, which nothing logs", match[1])
		}
	}
}

// TestRunbookAsksForFieldsThatAreLogged finds queries that find nothing, which an operator takes for good news.
func TestRunbookAsksForFieldsThatAreLogged(t *testing.T) {
	code := loggingCode(t)
	queries := regexp.MustCompile(`(?m)^ +(?:filter|\| (?:stats|display)) .*$`).FindAllString(pages(t)["infra/runbook.md"], -1)
	values := regexp.MustCompile(`"[^"]*"|/[^/]*/|bin\([^)]*\)|[a-z_]+\(\*?|\bas [a-z_]+|@timestamp|\| sort .*`)
	words := []string{"filter", "stats", "display", "by", "and", "in", "like", "level"} // which package slog writes
	found := map[string]bool{}
	for _, query := range queries {
		for _, field := range regexp.MustCompile(`[a-z_]+`).FindAllString(values.ReplaceAllString(query, " "), -1) {
			if slices.Contains(words, field) {
				continue
			}
			found[field] = true
			if !strings.Contains(code, strconv.Quote(field)) {
				t.Errorf("%s asks for %s, which nothing logs", strings.TrimSpace(query), field)
			}
		}
	}
	for _, field := range []string{"url_host_before", "url_host", "route", "outcome", "delivery_id"} {
		if !found[field] {
			t.Errorf("no query asks for %s", field)
		}
	}
}

// loggingCode returns all code of the functions, and the format of the gateway's log.
func loggingCode(t *testing.T) string {
	t.Helper()
	var code strings.Builder
	err := fs.WalkDir(os.DirFS("../shared"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := os.ReadFile("../shared/" + name)
		code.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	code.Write(templateSource(t))
	return code.String()
}

func TestAlarmsReachAPerson(t *testing.T) {
	for id, one := range readTemplate(t).alarms {
		if diff := cmp.Diff([]string{"AlarmTopic"}, one.AlarmActions); diff != "" {
			t.Errorf("%s: AlarmActions (-want +got):\n%s", id, diff)
		}
		if diff := cmp.Diff([]string{"AlarmTopic"}, one.OKActions); diff != "" {
			t.Errorf("%s: OKActions (-want +got):\n%s", id, diff)
		}
		if one.AlarmDescription == "" {
			t.Errorf("%s: an alarm without a description is a mail that says nothing", id)
		}
		want := "notBreaching" // an idle system reports nothing, and would raise the alarm
		if id == "SweepAgeAlarm" {
			want = "breaching" // the sweep reports each minute, and only its silence tells that it does not run
		}
		if one.TreatMissingData != want {
			t.Errorf("%s: TreatMissingData = %q, want %q", id, one.TreatMissingData, want)
		}
		if n := len(one.metrics()); n == 0 || n > 10 {
			t.Errorf("%s: %d metrics, CloudWatch takes 1 to 10", id, n)
		}
	}
}

func TestAlarmsLookAtMetricsThatTheCodeEmits(t *testing.T) {
	code := emitted(t)
	for id, one := range readTemplate(t).alarms {
		for _, m := range one.metrics() {
			if !strings.HasPrefix(m.Namespace, "Docuhook") {
				continue
			}
			if m.Namespace != namespace {
				t.Errorf("%s: namespace %s, want %s", id, m.Namespace, namespace)
			}
			want, ok := code[m.MetricName]
			if !ok {
				t.Errorf("%s: nothing emits %s", id, m.MetricName)
			}
			var have string
			for _, d := range m.Dimensions {
				have += d.Name
			}
			if have != want {
				t.Errorf("%s: %s has the dimension %q, the code emits it with %q", id, m.MetricName, have, want)
			}
		}
	}
}

// widget is a part of the dashboard.
type widget struct {
	Type       string
	X, Y       int
	Width      int
	Height     int
	Properties struct {
		Title   string
		Metrics [][]any
		Alarms  []string
	}
}

func readDashboard(t *testing.T) []widget {
	t.Helper()
	// Within quotes a reference may stay as it is; as a number it has to become one.
	body := regexp.MustCompile(`: \$\{[A-Za-z:]+\}`).ReplaceAllString(readTemplate(t).dashboard, ": 1")
	var dashboard struct{ Widgets []widget }
	if err := json.Unmarshal([]byte(body), &dashboard); err != nil {
		t.Fatalf("the dashboard's body is no JSON: %v", err)
	}
	return dashboard.Widgets
}

func TestDashboardHasEveryAlarm(t *testing.T) {
	var have, want []string
	for _, w := range readDashboard(t) {
		for _, arn := range w.Properties.Alarms {
			have = append(have, strings.TrimSuffix(strings.TrimPrefix(arn, "${"), ".Arn}"))
		}
	}
	for id := range readTemplate(t).alarms {
		want = append(want, id)
	}
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("alarms (-template +dashboard):\n%s", diff)
	}
}

func TestDashboardShowsMetricsThatTheCodeEmits(t *testing.T) {
	code := emitted(t)
	shown := map[string]bool{}
	for _, w := range readDashboard(t) {
		var before []any
		for _, row := range w.Properties.Metrics {
			row = expand(before, row)
			before = row
			if len(row) < 2 || row[0] != namespace {
				if text, _ := json.Marshal(row); strings.Contains(string(text), "Docuhook") && !strings.Contains(string(text), "SEARCH") {
					t.Errorf("%s: namespace of %s", w.Properties.Title, text)
				}
				continue
			}
			name, have := row[1].(string), ""
			if len(row) > 2 {
				have = row[2].(string)
			}
			want, ok := code[name]
			if !ok {
				t.Errorf("%s: nothing emits %s", w.Properties.Title, name)
			} else if have != want {
				t.Errorf("%s: %s has the dimension %q, the code emits it with %q", w.Properties.Title, name, have, want)
			}
			shown[name] = true
		}
	}
	for name := range code {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// expand returns the names and values of a row of metrics, with the short forms "." (the same as in
// the row before) and "..." (all the same but the last) written out, and without its options.
func expand(before, row []any) []any {
	if n := len(row); n > 0 {
		if _, options := row[n-1].(map[string]any); options {
			row = row[:n-1]
		}
	}
	if len(row) > 0 && row[0] == "..." {
		return slices.Concat(before[:len(before)-len(row)+1], row[1:])
	}
	full := slices.Clone(row)
	for i := range full {
		if full[i] == "." {
			full[i] = before[i]
		}
	}
	return full
}

func TestDashboardFitsTogether(t *testing.T) {
	const columns = 24
	taken := map[[2]int]string{}
	for _, w := range readDashboard(t) {
		if w.Properties.Title == "" {
			t.Errorf("the widget at %d, %d has no title", w.X, w.Y)
		}
		if w.X+w.Width > columns {
			t.Errorf("%s reaches beyond the right edge", w.Properties.Title)
		}
		for x := w.X; x < w.X+w.Width; x++ {
			for y := w.Y; y < w.Y+w.Height; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s covers %s", w.Properties.Title, other)
				}
				taken[[2]int{x, y}] = w.Properties.Title
			}
		}
	}
}

func TestTemplateSectionsAreInOrder(t *testing.T) {
	source := templateSource(t)
	var have []string
	heading := regexp.MustCompile(`(?m)^(?:  # -{20,} (\w+).*|(Parameters|Globals|Outputs):)$`)
	for _, match := range heading.FindAllStringSubmatch(string(source), -1) {
		have = append(have, match[1]+match[2])
	}
	want := []string{"Parameters", "Globals", "API", "Functions", "Tables", "Queues", "Secrets", "Monitoring", "Outputs"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
}
