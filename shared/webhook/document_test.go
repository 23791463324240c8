package webhook

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestDocumentURL(t *testing.T) {
	for _, test := range []struct{ name, template, documentID, want string }{
		{name: "none leads nowhere", documentID: "doc_1"},
		{
			name:       "an id takes its place in the path",
			template:   "https://documents.example/v1/{document_id}/content",
			documentID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
			want:       "https://documents.example/v1/6ba7b810-9dad-11d1-80b4-00c04fd430c8/content",
		},
		{
			name:       "or in the query",
			template:   "https://documents.example:8443?id={document_id}&v=1",
			documentID: "a b&c=d+e#f?g",
			want:       "https://documents.example:8443?id=a%20b%26c%3Dd%2Be%23f%3Fg&v=1",
		},
		{
			name:       "an id cannot lead elsewhere",
			template:   "https://documents.example/{document_id}",
			documentID: `../x//y\@evil.example:1%2F{document_id}`,
			want:       "https://documents.example/..%2Fx%2F%2Fy%5C%40evil.example%3A1%252F%7Bdocument_id%7D",
		},
		{name: "nor can one that means the folder", template: "https://documents.example/v1/{document_id}?a=b", documentID: "."},
		{name: "or the one above", template: "https://documents.example/v1/{document_id}", documentID: ".."},
		{name: "or that of dots before it", template: "https://documents.example/v1/.{document_id}/a", documentID: "."},
		{
			name:       "dots beside others are no step",
			template:   "https://documents.example/v1/{document_id}",
			documentID: "..a",
			want:       "https://documents.example/v1/..a",
		},
		{
			name:       "nor are they before a slash, which is encoded",
			template:   "https://documents.example/v1/{document_id}",
			documentID: "../",
			want:       "https://documents.example/v1/..%2F",
		},
		{
			name:       "an id beyond ASCII is encoded by byte",
			template:   "https://documents.example/{document_id}",
			documentID: "ü\n\x00\"~-._",
			want:       "https://documents.example/%C3%BC%0A%00%22~-._",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			template, err := ParseDocumentURL(test.template)
			if err != nil {
				t.Fatal(err)
			}
			if got := template.Of(test.documentID); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	for name, template := range map[string]string{
		"no place for an id":        "https://documents.example/",
		"two places":                "https://documents.example/{document_id}/{document_id}",
		"another place":             "https://documents.example/{id}/{document_id}",
		"http":                      "http://documents.example/{document_id}",
		"a place in the host":       "https://{document_id}.example/",
		"a place in the port":       "https://documents.example:{document_id}/",
		"a place instead of a host": "https://{document_id}",
		"a place instead of all":    "{document_id}",
		"a path":                    "/documents/{document_id}",
		"a fragment":                "https://documents.example/#{document_id}",
		"a password":                "https://me:mine@documents.example/{document_id}",
		"a space":                   "https://documents.example/a {document_id}",
		"a quotation mark":          `https://documents.example/"{document_id}`,
		"a line feed":               "https://documents.example/{document_id}\n",
		"513 bytes":                 "https://documents.example/" + strings.Repeat("a", 513-26-13) + "{document_id}",
	} {
		if got, err := ParseDocumentURL(template); !errors.Is(err, ErrDocumentURL) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestBodySizes holds limits.md to the sizes that bodies really have.
func TestBodySizes(t *testing.T) {
	const uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	size := func(e Event) int {
		e.Version, e.ID, e.OccurredAt = 1, someEvent, noon
		body, err := e.Render(someConfig)
		if err != nil {
			t.Fatal(err)
		}
		return len(body)
	}
	change := func(documentID, template string) Event {
		url, err := ParseDocumentURL(template)
		if err != nil {
			t.Fatal(err)
		}
		return Event{
			DocumentID: documentID, Status: Processing, PreviousStatus: Processed, Sequence: someSequence, Related: url.Of(documentID),
		}
	}
	longestTemplate := "https://documents.example/" + strings.Repeat("a", MaxDocumentURLLength-26-13) + "{document_id}"
	smallest := size(Event{DocumentID: "1", Status: Failed})
	usual := size(change(uuid, ""))
	related := size(change(uuid, "https://documents.example/v1/{document_id}"))
	ascii := size(change(strings.Repeat("a", MaxDocumentIDLength), ""))
	longest := size(change(strings.Repeat("\x01", MaxDocumentIDLength), longestTemplate))
	for _, other := range []string{`"`, "\u2028", "\xff", "ü", "<", "😀", "\x7f", "%"} {
		id := strings.Repeat(other, MaxDocumentIDLength/len(other))
		if got := size(change(id, longestTemplate)); got > longest {
			t.Errorf("%d bytes for %q, %d for the longest", got, other, longest)
		}
	}
	limits, err := os.ReadFile("../../infra/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("%d bytes at least", smallest), fmt.Sprintf("%d for a UUID", usual), fmt.Sprintf("%d with a link to it", related),
		fmt.Sprintf("%d for 256 plain characters", ascii), fmt.Sprintf("%d at most", longest),
	} {
		if !strings.Contains(string(limits), want) {
			t.Errorf("limits.md does not say %q", want)
		}
	}
}
