package fault

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFailedStatementsAreAnsweredInTheirPlaces(t *testing.T) {
	request := object{"Statements": json.RawMessage(`[{"n":0},{"n":1},{"n":2},{"n":3}]`)}
	left, amend := loseStatements(request, func(int) []bool { return []bool{true, false, false, true} })
	if left != 2 || string(request["Statements"]) != `[{"n":1},{"n":2}]` {
		t.Fatalf("%d statements are left, %s", left, request["Statements"])
	}
	answer := object{"Responses": json.RawMessage(`[{"n":1},{"n":2}]`)}
	amend(answer)
	failed := `{"Error":{"Code":"ThrottlingError","Message":"a fault of the plan"}}`
	if diff := cmp.Diff(`[`+failed+`,{"n":1},{"n":2},`+failed+`]`, string(answer["Responses"])); diff != "" {
		t.Errorf("responses (-want +got):\n%s", diff)
	}
}
