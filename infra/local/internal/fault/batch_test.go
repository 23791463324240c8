package fault

import (
	"testing"

	"encoding/json"

	"github.com/google/go-cmp/cmp"
)

func TestFailedStatementsAreAnsweredInTheirPlaces(t *testing.T) {
	request := object{"Statements": json.RawMessage(`[{"n":0},{"n":1},{"n":2},{"n":3}]`)}
	amend, left, err := loseStatements(request, func(int) []bool { return []bool{true, false, false, true} })
	if err != nil || left != 2 || string(request["Statements"]) != `[{"n":1},{"n":2}]` {
		t.Fatalf("%d statements are left, %s (%v)", left, request["Statements"], err)
	}
	answer := object{"Responses": json.RawMessage(`[{"n":1},{"n":2}]`)}
	if err := amend(answer); err != nil {
		t.Fatal(err)
	}
	failed := `{"Error":{"Code":"ThrottlingError","Message":"a fault of the plan"}}`
	if diff := cmp.Diff(`[`+failed+`,{"n":1},{"n":2},`+failed+`]`, string(answer["Responses"])); diff != "" {
		t.Errorf("responses (-want +got):\n%s", diff)
	}
}
