package receivers

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeShowsPartsOfTheExamples holds the code in README.md to the examples, which the other
// tests run.
func TestReadmeShowsPartsOfTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for language, file := range map[string]string{"go": "go/main.go", "js": "node/receiver.mjs", "python": "python/receiver.py"} {
		example, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllSubmatch(readme, -1)
		if len(blocks) != 2 {
			t.Errorf("the README has %d pieces of %s, want one for each way to verify", len(blocks), language)
		}
		for _, block := range blocks {
			if !strings.Contains(string(example), "\n"+string(block[1])+"\n") {
				t.Errorf("%s does not have these lines of the README any more:\n%s", file, block[1])
			}
		}
		statement := regexp.MustCompile("(?s)\n```sql\n(.*?)\n```\n").FindSubmatch(readme)
		oneLine := func(text []byte) string { return strings.Join(strings.Fields(string(text)), " ") }
		if !strings.Contains(oneLine(example), oneLine(statement[1])) {
			t.Errorf("%s does not have the statement of the README any more", file)
		}
	}
}
