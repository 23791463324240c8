package identity

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

const (
	table = "arn:aws:dynamodb:us-east-1:000000000000:table/ConfigsTable"
	queue = "arn:aws:sqs:us-east-1:000000000000:DeliveryQueue"
)

type Statement = template.Statement

func policies(t *testing.T, enforce bool, onDenied func(Denial), statements ...Statement) *Policies {
	t.Helper()
	p, err := New(
		Options{Principals: []Principal{{Function: "DeliverFunction", Statements: statements}}, Enforce: enforce, OnDenied: onDenied},
	)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAllow(t *testing.T) {
	allow := func(actions, resources []string) Statement {
		return Statement{Sid: "Yes", Effect: "Allow", Actions: actions, Resources: resources}
	}
	deny := Statement{Sid: "No", Effect: "Deny", Actions: []string{"dynamodb:Delete*"}, Resources: []string{"*"}}
	type call struct{ action, arn string }
	for name, test := range map[string]struct {
		statements []Statement
		call       call
		allowed    bool
	}{
		"an exact action on an exact resource is allowed": {
			[]Statement{allow([]string{"dynamodb:GetItem"}, []string{table})}, call{"dynamodb:GetItem", table}, true,
		},
		"another action is denied": {
			[]Statement{allow([]string{"dynamodb:GetItem"}, []string{table})}, call{"dynamodb:PutItem", table}, false,
		},
		"another resource is denied": {
			[]Statement{allow([]string{"dynamodb:GetItem"}, []string{table})}, call{"dynamodb:GetItem", queue}, false,
		},
		"a table does not include its indexes": {
			[]Statement{allow([]string{"dynamodb:Query"}, []string{table})}, call{"dynamodb:Query", table + "/index/by_state"}, false,
		},
		"an index does not include its table": {
			[]Statement{allow([]string{"dynamodb:Query"}, []string{table + "/index/by_state"})}, call{"dynamodb:Query", table}, false,
		},
		"a star ends with anything": {
			[]Statement{allow([]string{"dynamodb:*"}, []string{table + "/index/*"})}, call{"dynamodb:Query", table + "/index/by_state"},
			true,
		},
		"a star in the middle matches": {
			[]Statement{allow([]string{"dynamodb:*Item"}, []string{"arn:aws:*:table/Configs*"})}, call{"dynamodb:BatchGetItem", table},
			true,
		},
		"a question mark is one character": {
			[]Statement{allow([]string{"sqs:SendMessag?"}, []string{queue})}, call{"sqs:SendMessage", queue}, true,
		},
		"a question mark is not none": {
			[]Statement{allow([]string{"sqs:SendMessage?"}, []string{queue})}, call{"sqs:SendMessage", queue}, false,
		},
		"actions do not care about case": {
			[]Statement{allow([]string{"DynamoDB:getitem"}, []string{table})}, call{"dynamodb:GetItem", table}, true,
		},
		"resources do care about case": {
			[]Statement{allow([]string{"dynamodb:GetItem"}, []string{strings.ToLower(table)})}, call{"dynamodb:GetItem", table}, false,
		},
		"a second statement can allow": {
			[]Statement{allow([]string{"sqs:SendMessage"}, []string{queue}), allow([]string{"dynamodb:GetItem"}, []string{table})},
			call{"dynamodb:GetItem", table}, true,
		},
		"a deny wins over an earlier allow": {
			[]Statement{allow([]string{"*"}, []string{"*"}), deny}, call{"dynamodb:DeleteItem", table}, false,
		},
		"a deny wins over a later allow": {
			[]Statement{deny, allow([]string{"*"}, []string{"*"})}, call{"dynamodb:DeleteItem", table}, false,
		},
		"a deny of something else changes nothing": {
			[]Statement{deny, allow([]string{"*"}, []string{"*"})}, call{"dynamodb:GetItem", table}, true,
		},
		"without statements everything is denied": {nil, call{"dynamodb:GetItem", table}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := policies(t, true, nil, test.statements...)
			err := p.Allow(AccessKey("DeliverFunction"), test.call.action, test.call.arn)
			var denied *awsjson.Error
			if got := err == nil; got != test.allowed {
				t.Fatalf("allowed = %v, want %v (%v)", got, test.allowed, err)
			}
			if err != nil && (!errors.As(err, &denied) || denied.Code != "AccessDeniedException" ||
				!strings.Contains(denied.Message, test.call.action)) {
				t.Errorf("error = %v, want an AccessDeniedException that names the action", err)
			}
		})
	}
}

func TestUnknownAccessKeyIsAdministrator(t *testing.T) {
	p := policies(t, true, nil)
	for _, key := range []string{"", "test", AccessKey("AnotherFunction")} {
		if err := p.Allow(key, "dynamodb:DeleteTable", table); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if got := p.Denied(); len(got) != 0 {
		t.Errorf("denied = %v, want none", got)
	}
}

func TestRecordsWhatWasNeededAndDenied(t *testing.T) {
	var reported []Denial
	p := policies(t, true, func(d Denial) { reported = append(reported, d) },
		Statement{
			Sid: "Read", Effect: "Allow", Actions: []string{"dynamodb:GetItem", "dynamodb:Query"},
			Resources: []string{table, table + "/index/*"},
		},
		Statement{Sid: "Scan", Effect: "Allow", Actions: []string{"dynamodb:Scan"}, Resources: []string{table}},
		Statement{Sid: "ScanAll", Effect: "Allow", Actions: []string{"dynamodb:Scan"}, Resources: []string{"*"}},
		Statement{Sid: "Send", Effect: "Allow", Actions: []string{"sqs:Send*"}, Resources: []string{queue}},
		Statement{Sid: "Never", Effect: "Deny", Actions: []string{"sqs:PurgeQueue"}, Resources: []string{"*"}},
	)
	key := AccessKey("DeliverFunction")
	for _, call := range [][2]string{
		{"dynamodb:GetItem", table}, {"dynamodb:GetItem", table}, {"sqs:SendMessage", queue},
		{"dynamodb:Scan", table}, // which two statements allow
		{"dynamodb:PutItem", table}, {"dynamodb:PutItem", table}, {"sqs:PurgeQueue", queue},
	} {
		_ = p.Allow(key, call[0], call[1])
	}
	wantNeeded := []Grant{{"DeliverFunction", "Read", "dynamodb:GetItem", table}, {"DeliverFunction", "Send", "sqs:Send*", queue}}
	if diff := cmp.Diff(wantNeeded, p.Needed()); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
	wantGranted := []Grant{
		{"DeliverFunction", "Read", "dynamodb:GetItem", table}, {"DeliverFunction", "Read", "dynamodb:GetItem", table + "/index/*"},
		{"DeliverFunction", "Read", "dynamodb:Query", table}, {"DeliverFunction", "Read", "dynamodb:Query", table + "/index/*"},
		{"DeliverFunction", "Scan", "dynamodb:Scan", table}, {"DeliverFunction", "ScanAll", "dynamodb:Scan", "*"},
		{"DeliverFunction", "Send", "sqs:Send*", queue},
	}
	if diff := cmp.Diff(wantGranted, p.Granted()); diff != "" {
		t.Errorf("granted (-want +got):\n%s", diff)
	}
	wantDenied := []Denial{{"DeliverFunction", "dynamodb:PutItem", table, ""}, {"DeliverFunction", "sqs:PurgeQueue", queue, "Never"}}
	if diff := cmp.Diff(wantDenied, p.Denied()); diff != "" {
		t.Errorf("denied (-want +got):\n%s", diff)
	}
	if len(reported) != 3 {
		t.Errorf("reported %d denials, want each of the 3", len(reported))
	}
}

func TestWithoutEnforcementDenialsAreOnlyRecorded(t *testing.T) {
	p := policies(t, false, nil)
	if err := p.Allow(AccessKey("DeliverFunction"), "dynamodb:GetItem", table); err != nil {
		t.Errorf("Allow = %v, want nil", err)
	}
	if diff := cmp.Diff([]Denial{{"DeliverFunction", "dynamodb:GetItem", table, ""}}, p.Denied()); diff != "" {
		t.Errorf("denied (-want +got):\n%s", diff)
	}
}

func TestNewRefusesTwoSetsOfOneFunction(t *testing.T) {
	_, err := New(Options{Principals: []Principal{{Function: "F"}, {Function: "F"}}})
	if err == nil || !strings.Contains(err.Error(), "F has two sets of policies") {
		t.Errorf("New = %v, want an error that names the function", err)
	}
}

func TestAccessKeyLooksLikeOneAndIsStable(t *testing.T) {
	a, b := AccessKey("A"), AccessKey("B")
	if a == b || a != AccessKey("A") || len(a) != 20 || !strings.HasPrefix(a, "AKIA") {
		t.Errorf("keys %q and %q must differ, be stable, and have 20 characters", a, b)
	}
}

func FuzzLike(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if like("*", text) != true || like(text, text) != true && !strings.ContainsAny(text, "*?") {
			t.Errorf("%q must match itself and *", text)
		}
		if like(pattern, text) && !like("*"+pattern+"*", text) {
			t.Errorf("wider stars must not lose the match of %q and %q", pattern, text)
		}
	})
}
