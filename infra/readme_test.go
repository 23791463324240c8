package infra_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

// pages are what is written for people, by their paths from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	read, root := map[string]string{}, os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".build", ".aws-sam", ".git", "node_modules", "testdata"}, entry.Name()) {
			return fs.SkipDir
		}
		if entry.IsDir() || path.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		read[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// says reports whether a page says a sentence, wherever its lines break.
func says(page, sentence string) bool {
	return strings.Contains(strings.Join(strings.Fields(page), " "), sentence)
}

// links matches the links within the repository: the file, relative to the page, and the heading.
var links = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)

// parameters returns the defaults of the template's parameters.
func parameters(t *testing.T) map[string]string {
	t.Helper()
	var document struct {
		Parameters map[string]struct {
			Default any `yaml:"Default"`
		} `yaml:"Parameters"`
	}
	parseTemplate(t, &document)
	defaults := map[string]string{}
	for name, parameter := range document.Parameters {
		defaults[name] = fmt.Sprint(parameter.Default)
	}
	return defaults
}

// spoken writes a duration as the README does.
func spoken(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		n    time.Duration
		name string
	}{
		{n: d / time.Hour, name: "h"},
		{n: d % time.Hour / time.Minute, name: "min"},
		{n: d % time.Minute / time.Second, name: "s"},
	} {
		if unit.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", unit.n, unit.name))
		}
	}
	return strings.Join(parts, " ")
}

// schedule reads the retry delays of a preset.
func schedule(t *testing.T, preset string) delivery.Schedule {
	t.Helper()
	delays, err := delivery.ParseSchedule(preset)
	if err != nil {
		t.Fatal(err)
	}
	return delays
}

// total is how long a round takes whose attempts take no time.
func total(delays delivery.Schedule) time.Duration {
	sum := time.Duration(0)
	for _, delay := range delays {
		sum += delay
	}
	return sum
}

// largestBody returns the size of the largest body of a webhook whose document id repeats a character.
func largestBody(t *testing.T, character string) int {
	t.Helper()
	largest, at := 0, time.Unix(1e9, 0)
	for _, status := range webhook.Statuses() {
		for _, previous := range webhook.Statuses() {
			event := webhook.Event{
				Version:        webhook.RenderVersion,
				ID:             webhook.NewEventID(at, "1"),
				DocumentID:     strings.Repeat(character, webhook.MaxDocumentIDLength),
				Status:         status,
				PreviousStatus: previous,
				Sequence:       strings.Repeat("1", 40),
				OccurredAt:     webhook.At(at),
			}
			body, err := event.Render(uuid.NewString())
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, len(body))
		}
	}
	return largest
}

func TestPagesHaveTheNumbersOfTheCode(t *testing.T) {
	texts, defaults := pages(t), parameters(t)
	thousands := func(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	promises := map[string][]string{
		"README.md": {
			fmt.Sprintf("**Answer** 2xx within %.0f seconds", endpoint.AttemptTimeout.Seconds()),
			fmt.Sprintf("%s seconds unless `AuthorizerCacheSeconds` says otherwise", defaults["AuthorizerCacheSeconds"]),
			fmt.Sprintf("so do %s final failures in a row", defaults["EndpointFailureThreshold"]),
			fmt.Sprintf("`%s` (default)", defaults["RetryDelays"]),
			fmt.Sprintf("A round is up to %s attempts", []string{5: "five"}[webhook.MaxAttempts]),
			fmt.Sprintf("every change of a status is listed for %.0f days", webhook.Retention.Hours()/24),
			fmt.Sprintf("attempt's deadline, %.0f seconds, at most", endpoint.AttemptTimeout.Seconds()),
			fmt.Sprintf("next attempt, if due within %.0f min", webhook.MaxDelay.Minutes()),
		},
		"infra/limits.md": {
			fmt.Sprintf("| Configs of an organization | %s | `ConfigLimit` |", defaults["ConfigLimit"]),
			fmt.Sprintf("| API requests | %s a second, %s at once, of all organizations |",
				defaults["ApiRateLimit"], defaults["ApiBurstLimit"]),
			fmt.Sprintf("| Resends; test events | %s; %s in each minute of the clock, of one organization |",
				defaults["ResendsPerMinute"], defaults["TestsPerMinute"]),
			fmt.Sprintf("| %d KiB; %d items, up to %d |", jsonapi.MaxBody>>10, jsonapi.DefaultPageSize, jsonapi.MaxPageSize),
			fmt.Sprintf("| %s bytes; %d characters; %d bytes |",
				thousands(webhook.MaxURLLength), webhook.MaxDescriptionLength, webhook.MaxDocumentIDLength),
			fmt.Sprintf("| Log of a delivery | %.0f days since its last attempt, the last %d attempts |",
				webhook.Retention.Hours()/24, webhook.MaxLoggedAttempts),
			fmt.Sprintf("| Record of an event | %.0f days |", webhook.Retention.Hours()/24),
			fmt.Sprintf("%.0f s in all, 16 KiB", endpoint.AttemptTimeout.Seconds()),
		},
		"infra/receivers/README.md": {
			fmt.Sprintf("Answer 2xx within %.0f seconds", endpoint.AttemptTimeout.Seconds()),
		},
		"infra/bench/cost/README.md": {
			fmt.Sprintf("X-Ray is off (`Tracing=%s`, the default)", defaults["Tracing"]),
		},
	}
	day, fast := schedule(t, defaults["RetryDelays"]), schedule(t, "fast")
	var sinceDay, sinceFast time.Duration
	for i := range day {
		sinceDay, sinceFast = sinceDay+day[i], sinceFast+fast[i]
		promises["README.md"] = append(promises["README.md"], fmt.Sprintf("| %d | %s | %s | %s | %s |",
			i+2, spoken(day[i]), spoken(sinceDay), spoken(fast[i]), spoken(sinceFast)))
	}
	if plain, escaped := largestBody(t, "d"), largestBody(t, "\x01"); plain >= 1<<10 || escaped <= 1<<10 || escaped >= 4<<10 {
		t.Errorf("bodies of %d and %d bytes, limits.md says under 1 and under 4 KiB", plain, escaped)
	}
	for page, sentences := range promises {
		for _, sentence := range sentences {
			if !says(texts[page], sentence) {
				t.Errorf("%s does not say %q", page, sentence)
			}
		}
	}
}

// TestReadmeIsAFrontDoor keeps it to what a visitor reads; the rest is a page beside what it is about.
func TestReadmeIsAFrontDoor(t *testing.T) {
	readme := pages(t)["README.md"]
	if lines := strings.Count(readme, "\n"); lines > 220 {
		t.Errorf("%d lines, want 220 at most", lines)
	}
	if len(readme) > 25<<10 {
		t.Errorf("%d bytes, want 25 KiB at most", len(readme))
	}
}

// TestEveryPageIsLinked finds pages that nobody reaches from the README.
func TestEveryPageIsLinked(t *testing.T) {
	texts := pages(t)
	reached, queue := map[string]bool{"README.md": true}, []string{"README.md"}
	for len(queue) > 0 {
		page := queue[0]
		queue = queue[1:]
		for _, match := range links.FindAllStringSubmatch(texts[page], -1) {
			target := path.Join(path.Dir(page), match[1])
			if _, ok := texts[target]; ok && !reached[target] {
				reached[target] = true
				queue = append(queue, target)
			}
		}
	}
	for page := range texts {
		if !reached[page] && !strings.HasPrefix(page, ".github/") { // those, GitHub shows where they are needed
			t.Errorf("no link leads from the README to %s", page)
		}
	}
}

// TestPagesNameResourcesOfTheTemplate finds tables, queues, functions and alarms that there are not, or no longer.
func TestPagesNameResourcesOfTheTemplate(t *testing.T) {
	declared := resources(t)
	name := regexp.MustCompile(`\b[A-Z][A-Za-z]+(?:Table|Queue|Function|Alarm|Secret|Topic|LogGroup)\b`)
	for page, text := range pages(t) {
		for _, resource := range name.FindAllString(text, -1) {
			if _, ok := declared[resource]; !ok {
				t.Errorf("%s speaks of %s, which the template does not have", page, resource)
			}
		}
	}
}

// TestFlowLeadsThroughEveryTableAndQueue finds what the README's picture of the flow leaves out.
func TestFlowLeadsThroughEveryTableAndQueue(t *testing.T) {
	_, picture, _ := strings.Cut(pages(t)["README.md"], "```\nclient ")
	picture, _, found := strings.Cut(picture, "```\n")
	if !found {
		t.Fatal("the README has no picture of the flow")
	}
	// Configs and API keys are no part of the flow, and what has failed to be dispatched is the runbook's.
	elsewhere := []string{"ConfigsTable", "ApiKeysTable", "DispatchRetryQueue", "DispatchFailureQueue"}
	for id, kind := range resources(t) {
		passed := kind == "AWS::DynamoDB::Table" || kind == "AWS::SQS::Queue"
		if passed && !slices.Contains(elsewhere, id) && !strings.Contains(picture, id) {
			t.Errorf("the picture of the flow does not show %s", id)
		}
	}
}

// TestPagesSpeakOfWhatThereIs looks up the files, targets, parameters and headings that are named.
func TestPagesSpeakOfWhatThereIs(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.* ## `).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, match[1])
	}
	defaults, texts := parameters(t), pages(t)
	for name, text := range texts {
		for _, match := range regexp.MustCompile("(?m)(?:^|`) *make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			if !slices.Contains(targets, match[1]) {
				t.Errorf("%s speaks of make %s, which the Makefile does not have", name, match[1])
			}
		}
		for _, match := range links.FindAllStringSubmatch(text, -1) {
			file, anchor := path.Join("..", path.Dir(name), match[1]), strings.TrimPrefix(match[2], "#")
			if match[1] == "" {
				file = path.Join("..", name)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
			}
			if anchor == "" {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
			}
			var anchors []string
			for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(content, -1) {
				anchors = append(anchors, strings.ReplaceAll(strings.ToLower(string(heading[1])), " ", "-"))
			}
			if !slices.Contains(anchors, anchor) {
				t.Errorf("%s links to the heading %s, which %s does not have", name, anchor, file)
			}
		}
		for _, match := range regexp.MustCompile(`parameter-overrides ([^'\n]*)`).FindAllStringSubmatch(text, -1) {
			for _, setting := range strings.Fields(match[1]) {
				parameter, _, _ := strings.Cut(setting, "=")
				if _, ok := defaults[parameter]; !ok {
					t.Errorf("%s sets the parameter %s, which the template does not have", name, parameter)
				}
			}
		}
		for _, match := range regexp.MustCompile("`((?:functions|shared|infra)/[a-z/.-]+)`").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("../" + match[1]); err != nil {
				t.Errorf("%s speaks of %s: %v", name, match[1], err)
			}
		}
	}
}
