package eventsource

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportedFailures(t *testing.T) {
	for _, tc := range []struct {
		name     string
		response string
		want     []string
		fails    bool
	}{
		{name: "an empty list is success", response: `{"batchItemFailures":[]}`},
		{name: "a null list is success", response: `{"batchItemFailures":null}`},
		{name: "an empty object is success", response: `{}`},
		{name: "null is success", response: `null`},
		{name: "nothing is success", response: ``},
		{name: "white space is success", response: " \n"},
		{name: "other members are passed over", response: `{"version":1,"batchItemFailures":[{"itemIdentifier":"a",` +
			`"why":"x"}]}`, want: []string{"a"}},
		{name: "what is reported fails", response: `{"batchItemFailures":[{"itemIdentifier":"b"},` +
			`{"itemIdentifier":"a"}]}`, want: []string{"b", "a"}},
		{name: "what is reported twice fails", response: `{"batchItemFailures":[{"itemIdentifier":"a"},` +
			`{"itemIdentifier":"a"}]}`, want: []string{"a", "a"}},
		{
			name:     "an unknown identifier fails all",
			response: `{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"z"}]}`,
			fails:    true,
		},
		{name: "an empty identifier fails all", response: `{"batchItemFailures":[{"itemIdentifier":""}]}`, fails: true},
		{name: "a null identifier fails all", response: `{"batchItemFailures":[{"itemIdentifier":null}]}`, fails: true},
		{name: "a number as identifier fails all", response: `{"batchItemFailures":[{"itemIdentifier":1}]}`, fails: true},
		{name: "a bad key name fails all", response: `{"batchItemFailures":[{"ItemIdentifier":"a"}]}`, fails: true},
		{name: "an empty item fails all", response: `{"batchItemFailures":[{}]}`, fails: true},
		{name: "a null item fails all", response: `{"batchItemFailures":[null]}`, fails: true},
		{name: "a list of texts fails all", response: `{"batchItemFailures":["a"]}`, fails: true},
		{name: "a list that is none fails all", response: `{"batchItemFailures":"a"}`, fails: true},
		{name: "malformed JSON fails all", response: `{"batchItemFailures":[`, fails: true},
		{name: "what follows the JSON fails all", response: `{} {}`, fails: true},
		{name: "a text fails all", response: `"ok"`, fails: true},
		{name: "a list fails all", response: `[]`, fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := reportedFailures([]byte(tc.response), func(id string) bool { return slices.Contains([]string{"a", "b"}, id) })
			if tc.fails != errors.Is(err, errResponse) || !tc.fails && err != nil {
				t.Errorf("error %v, want one: %t", err, tc.fails)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
