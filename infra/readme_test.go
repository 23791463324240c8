package infra_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	text := ""
	if m := d / time.Minute; m > 0 {
		text = fmt.Sprintf("%d min ", m)
	}
	if s := d % time.Minute / time.Second; s > 0 {
		text += fmt.Sprintf("%d s", s)
	}
	return strings.TrimSpace(text)
}

func TestPagesHaveTheNumbersOfTheCode(t *testing.T) {
	texts, defaults := pages(t), parameters(t)
	thousands := func(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	promises := map[string][]string{
		"README.md": {
			fmt.Sprintf("**Answer** 2xx within %.0f seconds", endpoint.AttemptTimeout.Seconds()),
			fmt.Sprintf("%s seconds unless `AuthorizerCacheSeconds` says otherwise", defaults["AuthorizerCacheSeconds"]),
			fmt.Sprintf("so do %s final failures in a row", defaults["EndpointFailureThreshold"]),
		},
		"infra/limits.md": {
			fmt.Sprintf("| Configs of an organization | %s | `ConfigLimit` |", defaults["ConfigLimit"]),
			fmt.Sprintf("| API requests | %s a second, %s at once, of all organizations |", defaults["ApiRateLimit"], defaults["ApiBurstLimit"]),
			fmt.Sprintf("| %d KiB; %d items, up to %d |", jsonapi.MaxBody>>10, jsonapi.DefaultPageSize, jsonapi.MaxPageSize),
			fmt.Sprintf("| %s bytes; %d characters; %d bytes |",
				thousands(webhook.MaxURLLength), webhook.MaxDescriptionLength, webhook.MaxDocumentIDLength),
			fmt.Sprintf("| Log of a delivery | %.0f days, the last %d attempts |", webhook.Retention.Hours()/24, webhook.MaxLoggedAttempts),
			fmt.Sprintf("%.0f s in all, 16 KiB", endpoint.AttemptTimeout.Seconds()),
		},
		"infra/receivers/README.md": {
			fmt.Sprintf("Answer 2xx within %.0f seconds", endpoint.AttemptTimeout.Seconds()),
		},
		"infra/bench/cost/README.md": {
			fmt.Sprintf("X-Ray (`Tracing=%s`, the default)", defaults["Tracing"]),
		},
	}
	sum := time.Duration(0)
	for i, text := range strings.Split(defaults["RetryDelays"], ",") {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(seconds) * time.Second
		sum += delay
		promises["README.md"] = append(promises["README.md"], fmt.Sprintf("| %d | %s | %s |", i+2, spoken(delay), spoken(sum)))
	}
	for page, sentences := range promises {
		for _, sentence := range sentences {
			if !strings.Contains(texts[page], sentence) {
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

// TestPagesSpeakOfWhatThereIs looks up the files, targets, parameters and headings that are named.
func TestPagesSpeakOfWhatThereIs(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9]+):.* ## `).FindAllStringSubmatch(string(makefile), -1) {
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
