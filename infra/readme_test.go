package infra_test

import (
	"fmt"
	"os"
	"path/filepath"
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

// pages are what is written for people, from here.
func pages(t *testing.T) map[string]string {
	t.Helper()
	read := map[string]string{}
	for _, name := range []string{"../README.md", "runbook.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		read[name] = string(text)
	}
	return read
}

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

func TestReadmeHasTheNumbersOfTheCode(t *testing.T) {
	readme, defaults := pages(t)["../README.md"], parameters(t)
	rows := []string{
		fmt.Sprintf("| Configs of an organization | %s | `ConfigLimit` |", defaults["ConfigLimit"]),
		fmt.Sprintf("| API requests | %s a second, %s at once, of all organizations |", defaults["ApiRateLimit"], defaults["ApiBurstLimit"]),
		fmt.Sprintf("| %d KiB; %d items, up to %d |", jsonapi.MaxBody>>10, jsonapi.DefaultPageSize, jsonapi.MaxPageSize),
		fmt.Sprintf("| %d,%03d bytes; %d characters; %d bytes |", webhook.MaxURLLength/1000, webhook.MaxURLLength%1000, webhook.MaxDescriptionLength, webhook.MaxDocumentIDLength),
		fmt.Sprintf("| Log of a delivery | %.0f days, the last %d attempts |", webhook.Retention.Hours()/24, webhook.MaxLoggedAttempts),
		fmt.Sprintf("%.0f s in all, 16 KiB", endpoint.AttemptTimeout.Seconds()),
		fmt.Sprintf("%s seconds unless `AuthorizerCacheSeconds` says otherwise", defaults["AuthorizerCacheSeconds"]),
		fmt.Sprintf("so do %s final failures in a row", defaults["EndpointFailureThreshold"]),
		fmt.Sprintf("X-Ray (`Tracing=%s`, the default)", defaults["Tracing"]),
	}
	sum := time.Duration(0)
	for i, text := range strings.Split(defaults["RetryDelays"], ",") {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(seconds) * time.Second
		sum += delay
		rows = append(rows, fmt.Sprintf("| %d | %s | %s |", i+2, spoken(delay), spoken(sum)))
	}
	for _, row := range rows {
		if !strings.Contains(readme, row) {
			t.Errorf("the README does not say %q", row)
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
		for _, match := range regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			file, anchor := filepath.Join(filepath.Dir(name), match[1]), strings.TrimPrefix(match[2], "#")
			if match[1] == "" {
				file = name
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
