package stack

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/definition"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/apikey"
)

func TestWhatIsOverIsDeletedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		database := dynamodb.New(dynamodb.Options{})
		if err := database.CreateTable(dynamodb.Schema{
			Name: "T", HashKey: dynamodb.Key{
				Name: "id", Type: attribute.String,
			}, TTLAttribute: "end", Stream: true, StreamARN: "arn:stream",
		}); err != nil {
			t.Fatal(err)
		}
		s := &Stack{Options: Options{Clock: clock.New(1, nil)}, Storage: definition.Storage{Database: database}}
		for _, item := range []string{
			`{"id":{"S":"old"},"end":{"N":"946684800"}}`, // when the bubble's time begins
			`{"id":{"S":"new"},"end":{"N":"4000000000"}}`,
		} {
			put := []byte(`{"TableName":"T","Item":` + item + `}`)
			if _, err := database.Service().Serve(t.Context(), "PutItem", put, Administrator); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.expire(ctx) }()
		<-time.After(expireInterval + time.Second)
		cancel()
		<-done
		records, err := database.Stream("arn:stream").Read(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 3 || records[2].EventName() != "REMOVE" {
			t.Errorf("%d records, want two inserts and one removal", len(records))
		}
	})
}

func TestRolesMustAllowWhatLambdaDoesForTheFunction(t *testing.T) {
	function := template.Function{
		Name: "F", Role: "R", LogGroup: "G", Traced: true,
		Streams:    []template.StreamSource{{EventSource: template.EventSource{Event: "Documents"}, Table: "T", FailureQueue: "D"}},
		QueueFeeds: []template.QueueSource{{EventSource: template.EventSource{Event: "Queue"}, Queue: "Q"}},
	}
	needs := function.Needs()
	// check asks with a role that allows all needs but one, and whatever else.
	check := func(t *testing.T, without int, more ...template.Statement) (*identity.Policies, error) {
		f := function
		f.Statements = more
		for i, need := range needs {
			if i != without {
				f.Statements = append(
					f.Statements, template.Statement{Effect: "Allow", Actions: []string{need.Action}, Resources: []string{need.Resource}},
				)
			}
		}
		policies, err := identity.New(identity.Options{Principals: definition.Principals([]template.Function{f}), Enforce: true})
		if err != nil {
			t.Fatal(err)
		}
		return policies, checkNeeds([]template.Function{f}, policies)
	}
	policies, err := check(t, -1)
	if err != nil {
		t.Errorf("with all of them: %v", err)
	}
	if diff := cmp.Diff(policies.Granted(), policies.Needed()); diff != "" {
		t.Errorf("each of them counts as needed (-granted +needed):\n%s", diff)
	}
	for i, need := range needs {
		if _, err := check(t, i); err == nil || !strings.HasPrefix(err.Error(), "F: "+need.Property+": ") || !strings.Contains(
			err.Error(), need.Action+" on "+need.Resource,
		) {
			t.Errorf("without %s: %v, want an error that names function, property and action", need.Action, err)
		}
	}
	deny := template.Statement{Effect: "Deny", Actions: []string{"sqs:Delete*"}, Resources: []string{"*"}}
	if _, err := check(t, -1, deny); err == nil || !strings.Contains(err.Error(), "sqs:DeleteMessage") {
		t.Errorf("with a denial: %v, want an error", err)
	}
}

// parsed is a small template with other texts in some places.
func parsed(t *testing.T, oldnew ...string) *template.Template {
	t.Helper()
	source, err := os.ReadFile("../../testdata/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	declared, err := template.Parse([]byte(strings.NewReplacer(oldnew...).Replace(string(source))), template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}

func made(t *testing.T, declared *template.Template) (*Stack, error) {
	t.Helper()
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		return listener
	}
	s, err := New(Options{
		Template: declared, Binaries: t.TempDir(), API: listen(), AWS: listen(), Organizations: []Organization{
			{"org_a", "key_a"}, {"org_b", "key_b"},
		},
		Clock: clock.New(1, nil), Log: io.Discard,
	})
	if err == nil {
		t.Cleanup(func() {
			if err := s.Functions.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

func TestOrganizationsGetTheirKeys(t *testing.T) {
	s, err := made(t, parsed(t))
	if err != nil {
		t.Fatal(err)
	}
	for key, organization := range map[string]string{"key_a": "org_a", "key_b": "org_b"} {
		request := `{"TableName":"ApiKeysTable","Key":{"key_hash":{"S":"` + apikey.Hash(key) + `"}}}`
		got, err := s.Database.Service().Serve(t.Context(), "GetItem", []byte(request), Administrator)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := json.Marshal(got); err != nil || !strings.Contains(string(raw), `{"S":"`+organization+`"}`) {
			t.Errorf("%s belongs to %s (%v), want %s", key, raw, err, organization)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"an authorizer that is told of no table": {
			"{TABLE: !Ref ApiKeysTable}", "{OTHER: x}", "AuthorizeFunction: Properties.Environment: names no table",
		},
		"a variable that Lambda reserves": {
			"{CALLBACK_URL: !Ref CallbackUrl}", "{AWS_REGION: x}", "RecordFunction: Environment: the variable AWS_REGION is reserved",
		},
		"a filter that is not supported": {
			"BatchSize: 10}", `BatchSize: 10, FilterCriteria: {Filters: [{Pattern: '{"a":"b"}'}]}}`,
			"RelayFunction: Properties.Events.Documents.Properties: FilterCriteria.Filters[0]: a: neither",
		},
		"a path parameter that is there twice": {"/echo/{id}", "/echo/{id}/{id}", "EchoFunction: the route POST /echo/{id}/{id}: parsing"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := made(t, parsed(t, test.old, test.new)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestDocumentsAreInTheTableThatIsFollowed(t *testing.T) {
	s, err := made(t, parsed(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.DocumentsTable(); got != "DocumentsTable" {
		t.Errorf("documents are in %q", got)
	}
	s.Template.Functions = nil
	if _, err := s.PutDocument(
		t.Context(), "doc_1", map[string]any{"status": "processed"},
	); err == nil || !strings.Contains(err.Error(), "no function of the template follows") {
		t.Errorf("without one writing a document says %v", err)
	}
}

func TestOneFunctionsClockIsSkewed(t *testing.T) {
	s, err := made(t, parsed(t))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := fault.ParsePlan([]byte(`{"rules":[{"function":"RelayFunction","kind":"skewed","probability":1,"seconds":-90}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Injector.Follow(plan)
	if got, want := s.skew("RelayFunction"), []string{"LOCAL_CLOCK=" + s.Clock.Ahead(-90*time.Second).String()}; !cmp.Equal(got, want) {
		t.Errorf("its processes are told %q, want %q", got, want)
	}
	if got := s.skew("RecordFunction"); got != nil {
		t.Errorf("processes of another function are told %q", got)
	}
}
