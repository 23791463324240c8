package dynamo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestConfigsCreate(t *testing.T) {
	full := func(c *webhook.Config) {
		c.PreviousSealed, c.PreviousExpiresAt = "k1.previous", webhook.At(start().Add(time.Hour))
		c.DeactivatedReason, c.Active = webhook.EndpointGone, false
		c.FailureCount, c.FailingSince = 3, webhook.At(start().Add(-time.Hour))
	}
	bare := func(c *webhook.Config) { c.Description = "" }
	for name, change := range map[string]func(*webhook.Config){
		"an ordinary config is read as it was stored":    func(*webhook.Config) {},
		"a config with every field is read as stored":    full,
		"a config without description is read as stored": bare,
	} {
		t.Run(name, func(t *testing.T) {
			configs := configsOf(dynamotest.New(t))
			want := create(t, configs, 1, change)
			got, err := configs.Get(t.Context(), organization, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the one beyond the limit is refused and counts for nothing", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		for n := range 2 {
			if err := configs.Create(t.Context(), newConfig(n), 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := configs.Create(t.Context(), newConfig(2), 2); !errors.Is(err, webhook.ErrLimit) {
			t.Errorf("got %v, want ErrLimit", err)
		}
		if got := count(t, db, organization); got != "2" {
			t.Errorf("counted %s, want 2", got)
		}
		if _, err := configs.Get(t.Context(), organization, configID(2)); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("the refused config: got %v, want ErrNotFound", err)
		}
	})
	t.Run("a limit holds for one organization alone", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		for n, id := range []string{organization, foreign} {
			c := newConfig(n)
			c.OrganizationID = id
			if err := configs.Create(t.Context(), c, 1); err != nil {
				t.Errorf("organization %d: %v", n, err)
			}
		}
	})
	t.Run("an id that is taken is an error and counts for nothing", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		create(t, configs, 1)
		if err := configs.Create(t.Context(), newConfig(1), 10); err == nil || errors.Is(err, webhook.ErrLimit) {
			t.Errorf("got %v, want an error that is not about the limit", err)
		}
		if got := count(t, db, organization); got != "1" {
			t.Errorf("counted %s, want 1", got)
		}
	})
}

// conflict is what DynamoDB answers to a transaction that met another one, which the engine never does.
func conflict() *dynamotest.Fault {
	return &dynamotest.Fault{Status: 400, Body: `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",` +
		`"message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}`}
}

func TestConfigsCreateInParallel(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	const limit, creators = 5, 20
	// Every second transaction meets another one, as it would on AWS.
	asked := 0
	db.Intercept(func(operation string, _ []byte) *dynamotest.Fault {
		if operation == "TransactWriteItems" {
			if asked++; asked%2 == 1 {
				return conflict()
			}
		}
		return nil
	})
	errs := make([]error, creators)
	var wait sync.WaitGroup
	for n := range creators {
		wait.Go(func() { errs[n] = configs.Create(t.Context(), newConfig(n), limit) })
	}
	wait.Wait()
	created, refused := 0, 0
	for _, err := range errs {
		switch {
		case err == nil:
			created++
		case errors.Is(err, webhook.ErrLimit):
			refused++
		default:
			t.Errorf("got %v, want nil or ErrLimit", err)
		}
	}
	if created != limit || refused != creators-limit {
		t.Errorf("%d created and %d refused, want %d and %d", created, refused, limit, creators-limit)
	}
	if stored, err := configs.List(t.Context(), organization, nil, "", 100); err != nil || len(stored) != limit {
		t.Errorf("%d stored (%v), want %d", len(stored), err, limit)
	}
	if got := count(t, db, organization); got != fmt.Sprint(limit) {
		t.Errorf("counted %s, want %d", got, limit)
	}
}

func TestConfigsTransactionFails(t *testing.T) {
	for name, test := range map[string]struct {
		fault *dynamotest.Fault
		tries int
	}{
		"an error that is no conflict is not tried again": {down(), 1},
		"a refusal for another reason is not tried again": {&dynamotest.Fault{Status: 400,
			Body: `{"__type":"TransactionCanceledException","CancellationReasons":[{"Code":"ValidationError"},{"Code":"None"}]}`}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			db := dynamotest.New(t)
			tries := 0
			db.Intercept(func(string, []byte) *dynamotest.Fault { tries++; return test.fault })
			err := configsOf(db).Create(t.Context(), newConfig(1), 10)
			if err == nil || errors.Is(err, webhook.ErrLimit) || tries != test.tries {
				t.Errorf("got %v after %d tries, want an error after %d", err, tries, test.tries)
			}
		})
	}
}

func TestConfigsUpdate(t *testing.T) {
	t.Run("what may change is changed and the version counted up", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		c := create(t, configs, 1)
		c.URL, c.Description, c.SubscribedStatuses, c.Active = "https://example.org/", "", []webhook.Status{webhook.Pending}, false
		c.Sealed, c.SecretPrefix, c.CustomHeaderNames = "k2.new", "whsec_ghijkl", []string{"Authorization", "x-key"}
		c.PreviousSealed, c.PreviousExpiresAt = "k1.sealed", webhook.At(start().Add(time.Hour))
		c.UpdatedAt = webhook.At(start().Add(time.Minute))
		if err := configs.Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if c.Version != 2 {
			t.Errorf("version %d, want 2", c.Version)
		}
		got, err := configs.Get(t.Context(), organization, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("of two who read the same version the second gets a conflict and changes nothing", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		first, second := create(t, configs, 1), newConfig(1)
		first.URL, second.URL = "https://first.example/", "https://second.example/"
		if err := configs.Update(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if err := configs.Update(t.Context(), second); !errors.Is(err, webhook.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		if got, _ := configs.Get(t.Context(), organization, first.ID); got.URL != first.URL {
			t.Errorf("the url is %s, want the first's", got.URL)
		}
	})
	t.Run("a config that never was is not found and not made", func(t *testing.T) {
		db := dynamotest.New(t)
		if err := configsOf(db).Update(t.Context(), newConfig(1)); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if items := db.Items(t, configsTable); len(items) != 0 {
			t.Errorf("the table holds %v", items)
		}
	})
	t.Run("a deleted config is not found and stays deleted", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		c := create(t, configs, 1)
		if err := configs.Delete(t.Context(), organization, c.ID, start()); err != nil {
			t.Fatal(err)
		}
		if err := configs.Update(t.Context(), c); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if listed, _ := configs.List(t.Context(), organization, nil, "", 10); len(listed) != 0 {
			t.Errorf("listed %v", listed)
		}
	})
	t.Run("one that is being deleted at this moment is a conflict", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		c := create(t, configs, 1)
		always(db, "UpdateItem", dynamotest.Refusal("TransactionConflictException", "Transaction is ongoing for the item"))
		if err := configs.Update(t.Context(), c); !errors.Is(err, webhook.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
	})
	t.Run("a failure that was counted after the read is kept", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		create(t, configs, 1)
		for range 2 {
			if _, _, err := configs.CountFailure(t.Context(), newConfig(1), start()); err != nil {
				t.Fatal(err)
			}
		}
		read, err := configs.Get(t.Context(), organization, configID(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := configs.CountFailure(t.Context(), read, start()); err != nil {
			t.Fatal(err)
		}
		read.Description = "another"
		if err := configs.Update(t.Context(), read); err != nil {
			t.Fatal(err)
		}
		if got, _ := configs.Get(t.Context(), organization, read.ID); got.FailureCount != 3 {
			t.Errorf("%d failures, want 3", got.FailureCount)
		}
	})
	t.Run("failures that were forgotten after the read do not come back", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		create(t, configs, 1)
		if _, _, err := configs.CountFailure(t.Context(), newConfig(1), start()); err != nil {
			t.Fatal(err)
		}
		read, err := configs.Get(t.Context(), organization, configID(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := configs.ResetFailures(t.Context(), read); err != nil {
			t.Fatal(err)
		}
		if err := configs.Update(t.Context(), read); err != nil {
			t.Fatal(err)
		}
		if got, _ := configs.Get(t.Context(), organization, read.ID); got.FailureCount != 0 || !got.FailingSince.IsZero() {
			t.Errorf("%d failures since %s, want none", got.FailureCount, got.FailingSince)
		}
	})
	t.Run("a config without failures has the stored ones forgotten", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		c := create(t, configs, 1, func(c *webhook.Config) { c.FailureCount, c.FailingSince = 7, webhook.At(start()) })
		c.FailureCount, c.FailingSince = 0, webhook.Time{}
		if err := configs.Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got, _ := configs.Get(t.Context(), organization, c.ID); got.FailureCount != 0 || !got.FailingSince.IsZero() {
			t.Errorf("%d failures since %s, want none", got.FailureCount, got.FailingSince)
		}
	})
}

func TestConfigsDelete(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	c := create(t, configs, 1, func(c *webhook.Config) {
		c.Sealed, c.PreviousSealed, c.PreviousExpiresAt = "k1.TOPSECRET", "k1.OLDSECRET", webhook.At(start().Add(time.Hour))
		c.URL, c.Description = "https://example.com/?token=URLSECRET", "DESCRIPTION"
		c.CustomHeaderNames = []string{"HEADER"}
	})
	create(t, configs, 2)
	if err := configs.Delete(t.Context(), organization, c.ID, start()); err != nil {
		t.Fatal(err)
	}
	items := strings.Join(db.Items(t, configsTable), "\n")
	for _, gone := range []string{"TOPSECRET", "OLDSECRET", "URLSECRET", "DESCRIPTION", "HEADER", "active#" + c.ID} {
		if strings.Contains(items, gone) {
			t.Errorf("the tombstone still holds %s", gone)
		}
	}
	if want := fmt.Sprintf(`"expires_at":{"N":"%d"}`, start().Add(90*24*time.Hour).Unix()); !strings.Contains(items, want) {
		t.Errorf("the tombstone lacks %s", want)
	}
	if _, err := configs.Get(t.Context(), organization, c.ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("Get: got %v, want ErrNotFound", err)
	}
	if exists, err := configs.Exists(t.Context(), organization, c.ID); err != nil || !exists {
		t.Errorf("Exists: got %t, %v; its deliveries must stay listed", exists, err)
	}
	if ids, err := configs.ListIDs(t.Context(), organization); err != nil || !slices.Equal(ids, []string{configID(2), configID(1)}) {
		t.Errorf("ListIDs: got %v, %v; its deliveries must stay listed", ids, err)
	}
	for name, list := range map[string]func() ([]webhook.Config, error){
		"List":       func() ([]webhook.Config, error) { return configs.List(t.Context(), organization, nil, "", 10) },
		"ListActive": func() ([]webhook.Config, error) { return configs.ListActive(t.Context(), organization) },
	} {
		if listed, err := list(); err != nil || len(listed) != 1 || listed[0].ID != configID(2) {
			t.Errorf("%s: got %v, %v; want the other config alone", name, listed, err)
		}
	}
	for range 2 {
		if err := configs.Delete(t.Context(), organization, c.ID, start()); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("deleting again: got %v, want ErrNotFound", err)
		}
	}
	if got := count(t, db, organization); got != "1" {
		t.Errorf("counted %s, want 1", got)
	}
	t.Run("the config of another organization is not found", func(t *testing.T) {
		if err := configs.Delete(t.Context(), foreign, configID(2), start()); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if got := count(t, db, foreign); got != "" {
			t.Errorf("counted %s for the other organization", got)
		}
	})
	t.Run("a conflict is tried again", func(t *testing.T) {
		failing(db, "TransactWriteItems", 2, conflict())
		if err := configs.Delete(t.Context(), organization, configID(2), start()); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigsOfAnotherOrganization(t *testing.T) {
	configs := configsOf(dynamotest.New(t))
	c := create(t, configs, 1)
	if _, err := configs.Get(t.Context(), foreign, c.ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("Get: got %v, want ErrNotFound", err)
	}
	if exists, err := configs.Exists(t.Context(), foreign, c.ID); err != nil || exists {
		t.Errorf("Exists: got %t, %v", exists, err)
	}
	stolen := *c
	stolen.OrganizationID = foreign
	if err := configs.Update(t.Context(), &stolen); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("Update: got %v, want ErrNotFound", err)
	}
	if listed, err := configs.List(t.Context(), foreign, nil, "", 10); err != nil || len(listed) != 0 {
		t.Errorf("List: got %v, %v", listed, err)
	}
	if ids, err := configs.ListIDs(t.Context(), foreign); err != nil || len(ids) != 0 {
		t.Errorf("ListIDs: got %v, %v", ids, err)
	}
}

func TestConfigsList(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	for i := range 9 { // created out of order; every third is inactive
		n := (i * 4) % 9
		change := func(*webhook.Config) {}
		if n%3 == 2 {
			change = inactive
		}
		create(t, configs, n, change)
	}
	yes, no := true, false
	ids := func(numbers ...int) []string {
		var ids []string
		for _, n := range numbers {
			ids = append(ids, configID(n))
		}
		return ids
	}
	for name, test := range map[string]struct {
		active *bool
		after  string
		limit  int
		want   []string
	}{
		"all in the order of their ids":                {nil, "", 100, ids(0, 1, 2, 3, 4, 5, 6, 7, 8)},
		"the active ones":                              {&yes, "", 100, ids(0, 1, 3, 4, 6, 7)},
		"the inactive ones":                            {&no, "", 100, ids(2, 5, 8)},
		"as many as the limit, of both kinds":          {nil, "", 4, ids(0, 1, 2, 3)},
		"those after an active one":                    {nil, configID(3), 3, ids(4, 5, 6)},
		"those after an inactive one":                  {nil, configID(5), 100, ids(6, 7, 8)},
		"the active ones after an inactive one":        {&yes, configID(5), 100, ids(6, 7)},
		"none after the last":                          {nil, configID(8), 100, nil},
		"those after an id that is not there any more": {nil, configID(2)[:35] + "2", 2, ids(3, 4)},
		"none after what is no id":                     {nil, "zzz", 100, nil},
	} {
		t.Run(name, func(t *testing.T) {
			listed, err := configs.List(t.Context(), organization, test.active, test.after, test.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range listed {
				got = append(got, c.ID)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for limit := 1; limit <= 10; limit++ {
		t.Run(fmt.Sprintf("pages of %d hold everything once", limit), func(t *testing.T) {
			var got []string
			after := ""
			for {
				page, err := configs.List(t.Context(), organization, nil, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range page {
					got = append(got, c.ID)
				}
				if len(page) < limit {
					break
				}
				after = page[len(page)-1].ID
			}
			if diff := cmp.Diff(ids(0, 1, 2, 3, 4, 5, 6, 7, 8), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("dispatching reads the active ones, consistently", func(t *testing.T) {
		db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
			if operation != "Query" || !strings.Contains(string(body), `"ConsistentRead":true`) {
				t.Errorf("%s of %s", operation, body)
			}
			return nil
		})
		defer db.Intercept(nil)
		listed, err := configs.ListActive(t.Context(), organization)
		if err != nil || len(listed) != 6 {
			t.Fatalf("%d configs, %v", len(listed), err)
		}
		for _, c := range listed {
			if !c.Receives() || c.Sealed == "" {
				t.Errorf("%+v is not an active config with all its attributes", c)
			}
		}
	})
	t.Run("an error says what was being done", func(t *testing.T) {
		always(db, "Query", down())
		defer db.Intercept(nil)
		_, errList := configs.List(t.Context(), organization, nil, "", 10)
		_, errActive := configs.ListActive(t.Context(), organization)
		_, errIDs := configs.ListIDs(t.Context(), organization)
		for _, err := range []error{errList, errActive, errIDs} {
			if err == nil || !strings.Contains(err.Error(), "listing") {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestConfigsListIDs deletes many configs, the greatest id first.
func TestConfigsListIDs(t *testing.T) {
	configs := configsOf(dynamotest.New(t))
	const deleted = 203
	create(t, configs, deleted)
	create(t, configs, deleted+1, inactive)
	for n := range deleted {
		create(t, configs, n)
	}
	for n := range deleted {
		if err := configs.Delete(t.Context(), organization, configID(deleted-1-n), start().Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{configID(deleted + 1), configID(deleted)}
	for n := range 200 {
		want = append(want, configID(n)) // the last that was deleted first
	}
	got, err := configs.ListIDs(t.Context(), organization)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all that there are and the 200 deleted last (-want +got):\n%s", diff)
	}
}

// Somebody has edited an item by hand. The organization's other configs are still read.
func TestActiveConfigsPassOverWhatMakesNoSense(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	sound := create(t, configs, 1)
	create(t, configs, 2, func(c *webhook.Config) { c.Active = false })
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err := db.Client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &configs.Table, Item: map[string]types.AttributeValue{
		"organization_id": text(organization), "id": text(configID(3)), "state_id": text("active#" + configID(3)),
		"subscribed_statuses": text("processed"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	readable, broken, err := configs.Active(t.Context(), organization)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]webhook.Config{*sound}, readable); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{configID(3)}, broken); diff != "" {
		t.Error(diff)
	}
}

func TestUsesAreLimitedByOrganizationAndMinute(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	minute := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var used atomic.Int64
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			ok, err := configs.Use(t.Context(), "org_1", "resends", minute, 5)
			if err != nil {
				t.Error(err)
			}
			if ok {
				used.Add(1)
			}
		})
	}
	calls.Wait()
	if used.Load() != 5 {
		t.Errorf("%d of 20 uses at once, want 5", used.Load())
	}
	for name, use := range map[string]func() (bool, error){
		"another organization":   func() (bool, error) { return configs.Use(t.Context(), "org_2", "resends", minute, 5) },
		"something else":         func() (bool, error) { return configs.Use(t.Context(), "org_1", "tests", minute, 5) },
		"the next minute":        func() (bool, error) { return configs.Use(t.Context(), "org_1", "resends", minute.Add(time.Minute), 5) },
		"a limit that is raised": func() (bool, error) { return configs.Use(t.Context(), "org_1", "resends", minute, 6) },
	} {
		if ok, err := use(); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	if ids, err := configs.ListIDs(t.Context(), "org_1"); err != nil || len(ids) != 0 {
		t.Errorf("what is counted is listed as %v, %v", ids, err)
	}
	always(db, "UpdateItem", down())
	if ok, err := configs.Use(canceled(t), "org_1", "resends", minute, 5); ok || err == nil {
		t.Errorf("%v, %v while the table is away", ok, err)
	}
}
