package dynamo_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func key(config, event int) webhook.Key {
	return webhook.Key{OrganizationID: organization, ConfigID: configID(config), EventID: eventID(event)}
}

func TestLogLoad(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	log := &dynamo.Log{Deliveries: deliveriesOf(db), Configs: configs}
	create(t, configs, 1)
	create(t, configs, 2, inactive)
	create(t, configs, 3)
	if err := configs.Delete(t.Context(), organization, configID(3), start()); err != nil {
		t.Fatal(err)
	}
	record(t, deliveriesOf(db), outcome(message(1), webhook.Delivered, 5, nil)) // config 1, event 1
	foreigner := key(1, 1)
	foreigner.OrganizationID = foreign

	type seen struct{ Config, Delivery string }
	for name, test := range map[string]struct {
		keys []webhook.Key
		want map[webhook.Key]seen
	}{
		"a config and its delivery":      {[]webhook.Key{key(1, 1)}, map[webhook.Key]seen{key(1, 1): {"active", "delivered"}}},
		"a config before its first try":  {[]webhook.Key{key(1, 2)}, map[webhook.Key]seen{key(1, 2): {"active", ""}}},
		"an inactive config":             {[]webhook.Key{key(2, 1)}, map[webhook.Key]seen{key(2, 1): {"inactive", ""}}},
		"a deleted config":               {[]webhook.Key{key(3, 1)}, map[webhook.Key]seen{key(3, 1): {"deleted", ""}}},
		"no config":                      {[]webhook.Key{key(4, 1)}, map[webhook.Key]seen{key(4, 1): {"", ""}}},
		"another organization's is none": {[]webhook.Key{foreigner}, map[webhook.Key]seen{foreigner: {"", ""}}},
		"many events of one config, whose key is named once": {
			[]webhook.Key{key(1, 1), key(1, 2), key(1, 3), key(2, 1)},
			map[webhook.Key]seen{
				key(1, 1): {"active", "delivered"}, key(1, 2): {"active", ""}, key(1, 3): {"active", ""}, key(2, 1): {"inactive", ""},
			},
		},
		"one event under two organizations, whose item is named once": {
			[]webhook.Key{key(1, 1), foreigner},
			map[webhook.Key]seen{key(1, 1): {"active", "delivered"}, foreigner: {"", ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			counts := operations(db)
			defer db.Intercept(nil)
			loaded, err := log.Load(t.Context(), test.keys)
			if err != nil {
				t.Fatal(err)
			}
			got := map[webhook.Key]seen{}
			for k, one := range loaded {
				var s seen
				if one.Config != nil {
					s.Config = "active"
					if one.Config.Deleted() {
						s.Config = "deleted"
					} else if !one.Config.Receives() {
						s.Config = "inactive"
					}
				}
				if one.Delivery != nil {
					s.Delivery = string(one.Delivery.Status)
				}
				got[k] = s
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]int{"BatchGetItem": 1}, counts); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("deliveries of one config share nothing that one of them may change", func(t *testing.T) {
		loaded, err := log.Load(t.Context(), []webhook.Key{key(1, 1), key(1, 2)})
		if err != nil {
			t.Fatal(err)
		}
		if loaded[key(1, 1)].Config == loaded[key(1, 2)].Config {
			t.Error("both have the same config in hand")
		}
	})
	t.Run("both tables are read consistently", func(t *testing.T) {
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			if n := strings.Count(string(body), `"ConsistentRead":true`); n != 2 {
				t.Errorf("%d consistent reads in %s", n, body)
			}
			return nil
		})
		defer db.Intercept(nil)
		if _, err := log.Load(t.Context(), []webhook.Key{key(1, 1)}); err != nil {
			t.Fatal(err)
		}
	})
}

// leave answers a BatchGetItem as if a table's keys could not be read just now.
func leave(t *testing.T, body []byte, table string) *dynamotest.Fault {
	t.Helper()
	var request struct{ RequestItems map[string]json.RawMessage }
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatal(err)
	}
	answer, err := json.Marshal(map[string]any{
		"Responses": map[string]any{}, "UnprocessedKeys": map[string]json.RawMessage{table: request.RequestItems[table]},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &dynamotest.Fault{Status: 200, Body: string(answer)}
}

func TestLogLoadFails(t *testing.T) {
	setup := func(t *testing.T) (*dynamotest.DB, *dynamo.Log) {
		db := dynamotest.New(t)
		log := &dynamo.Log{Deliveries: deliveriesOf(db), Configs: configsOf(db)}
		create(t, log.Configs, 1)
		create(t, log.Configs, 2)
		record(t, deliveriesOf(db), outcome(message(1), webhook.Delivered, 5, nil))
		return db, log
	}
	t.Run("keys left unprocessed are read by another try", func(t *testing.T) {
		db, log := setup(t)
		tries := 0
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			if tries++; tries == 1 {
				return leave(t, body, configsTable)
			}
			if strings.Contains(string(body), logTable) {
				t.Error("what was read already is read again")
			}
			return nil
		})
		loaded, err := log.Load(t.Context(), []webhook.Key{key(1, 2)})
		if err != nil || tries != 2 || loaded[key(1, 2)].Config == nil {
			t.Errorf("got %v, %v after %d tries", loaded, err, tries)
		}
	})
	t.Run("keys that stay unprocessed are missing, and only those", func(t *testing.T) {
		db, log := setup(t)
		tries := 0
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			if tries++; tries > 1 {
				return down() // the next call fails, so what is unprocessed is never read
			}
			// Leaves only the item of event 2; the rest counts as read and absent.
			var left struct {
				Responses       map[string]any
				UnprocessedKeys map[string]struct {
					Keys []map[string]map[string]string
				}
			}
			if err := json.Unmarshal([]byte(leave(t, body, logTable).Body), &left); err != nil {
				t.Fatal(err)
			}
			table := left.UnprocessedKeys[logTable]
			table.Keys = slices.DeleteFunc(table.Keys, func(key map[string]map[string]string) bool {
				return key["event_id"]["S"] != eventID(2)
			})
			left.UnprocessedKeys[logTable] = table
			text, err := json.Marshal(left)
			if err != nil {
				t.Fatal(err)
			}
			return &dynamotest.Fault{Status: 200, Body: string(text)}
		})
		loaded, err := log.Load(t.Context(), []webhook.Key{key(1, 1), key(1, 2)})
		_, first := loaded[key(1, 1)]
		_, second := loaded[key(1, 2)]
		if err == nil || !first || second {
			t.Errorf("got %v, %v; want an error and event 1 alone", loaded, err)
		}
	})
	t.Run("nothing is known when DynamoDB is away", func(t *testing.T) {
		db, log := setup(t)
		always(db, "BatchGetItem", down())
		if loaded, err := log.Load(t.Context(), []webhook.Key{key(1, 1), key(2, 1)}); err == nil || len(loaded) != 0 {
			t.Errorf("got %v, %v; want an error and nothing", loaded, err)
		}
	})
	t.Run("an item that makes no sense is missing, not absent", func(t *testing.T) {
		for table, item := range map[string]string{
			configsTable: `{"organization_id":{"S":"` + organization + `"},"id":{"S":"` + configID(1) + `"},` +
				`"version":{"S":"not a number"}}`,
			logTable: `{"config_id":{"S":"` + configID(1) + `"},"event_id":{"S":"` + eventID(1) + `"},` +
				`"attempts":{"S":"not a list"}}`,
		} {
			db, log := setup(t)
			db.Intercept(func(string, []byte) *dynamotest.Fault {
				return &dynamotest.Fault{Status: 200, Body: `{"Responses":{"` + table + `":[` + item + `]}}`}
			})
			loaded, err := log.Load(t.Context(), []webhook.Key{key(1, 1), key(2, 1)})
			_, broken := loaded[key(1, 1)]
			_, sound := loaded[key(2, 1)]
			if err == nil || broken || !sound {
				t.Errorf("%s: got %v, %v; want an error and the other key alone", table, loaded, err)
			}
		}
	})
	t.Run("a call that is over reads nothing", func(t *testing.T) {
		_, log := setup(t)
		if loaded, err := log.Load(canceled(t), []webhook.Key{key(1, 1)}); !errors.Is(err, context.Canceled) || len(loaded) != 0 {
			t.Errorf("got %v, %v", loaded, err)
		}
	})
}
