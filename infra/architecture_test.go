package infra_test

import (
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// architecture returns a section of architecture.md.
func architecture(t *testing.T, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(pages(t)["infra/architecture.md"], "\n## "+heading+"\n")
	if !found {
		t.Fatalf("architecture.md has no section %q", heading)
	}
	section, _, _ := strings.Cut(after, "\n## ")
	return section
}

func TestLifeOfADeliveryHasItsStatuses(t *testing.T) {
	_, picture, _ := strings.Cut(architecture(t, "The life of a delivery"), "```mermaid\n")
	picture, words, found := strings.Cut(picture, "```\n")
	if !found {
		t.Fatal("there is no picture, or nothing below it")
	}
	var drawn, told, want []string
	for _, match := range regexp.MustCompile(`(?m)^ +attempt --> (\w+): `).FindAllStringSubmatch(picture, -1) {
		drawn = append(drawn, match[1])
	}
	for _, match := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(words, -1) {
		told = append(told, match[1])
	}
	for _, status := range webhook.DeliveryStatuses() {
		want = append(want, string(status))
		if !slices.Contains(told, string(status)) {
			t.Errorf("the words do not say how a delivery becomes %s", status)
		}
		leaves := "    " + string(status) + " --> [*]\n"
		if status == webhook.Retrying {
			leaves = "    retrying --> attempt\n"
		}
		if !strings.Contains(picture, leaves) {
			t.Errorf("the picture does not show %q", strings.TrimSpace(leaves))
		}
	}
	slices.Sort(drawn)
	slices.Sort(want)
	if diff := cmp.Diff(want, drawn); diff != "" {
		t.Errorf("statuses (-code +picture):\n%s", diff)
	}
}

// TestWordsAreThoseOfTheCode holds the page's words to the glossary in the package doc of shared/webhook.
func TestWordsAreThoseOfTheCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../shared/webhook/webhook.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var code, page []string
	for _, match := range regexp.MustCompile(`(?m)^\t([a-z]+) {2,}\S`).FindAllStringSubmatch(file.Doc.Text(), -1) {
		code = append(code, match[1])
	}
	for _, match := range regexp.MustCompile(`(?m)^\| ([a-z]+) \|`).FindAllStringSubmatch(architecture(t, "Words"), -1) {
		page = append(page, match[1])
	}
	if len(code) == 0 {
		t.Fatal("the package doc has no glossary")
	}
	slices.Sort(code)
	slices.Sort(page)
	if diff := cmp.Diff(code, page); diff != "" {
		t.Errorf("words (-code +page):\n%s", diff)
	}
}

func TestReadingPathNamesEveryPackage(t *testing.T) {
	section := architecture(t, "Reading path")
	packages, err := os.ReadDir("../shared")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range packages {
		if entry.IsDir() && !strings.Contains(section, "`shared/"+entry.Name()+"`") {
			t.Errorf("the reading path does not lead to shared/%s", entry.Name())
		}
	}
}

func TestDecisionsAreShortAndSayWhatWasRejected(t *testing.T) {
	for _, decision := range strings.Split(strings.TrimSpace(architecture(t, "Decisions")), "\n\n") {
		title, _, _ := strings.Cut(decision, "\n")
		if !strings.HasPrefix(title, "**") || !strings.Contains(strings.Join(strings.Fields(decision), " "), " Rejected: ") {
			t.Errorf("does not have a title and what was rejected: %s", title)
		}
		if lines := strings.Count(decision, "\n") + 1; lines > 5 {
			t.Errorf("%d lines, want 5 at most: %s", lines, title)
		}
	}
}
