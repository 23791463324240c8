package dynamo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	organization = "1c8f0f0e-6f7e-4a55-9f0a-2b8a5d1e7c10"
	foreign      = "f0000000-6f7e-4a55-9f0a-2b8a5d1e7c10"
	configsTable = "ConfigsTable"
	logTable     = "DeliveriesTable"
)

// start is the time of all tests.
func start() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC) }

// configID returns the n-th of ids that sort by n.
func configID(n int) string { return fmt.Sprintf("019ce1a0-0000-7000-8000-%012x", n) }

func configsOf(db *dynamotest.DB) *dynamo.Configs {
	return &dynamo.Configs{Client: db.Client, Table: configsTable}
}

func deliveriesOf(db *dynamotest.DB) *dynamo.Deliveries {
	return &dynamo.Deliveries{Client: db.Client, Table: logTable}
}

func newConfig(n int) *webhook.Config {
	return &webhook.Config{
		OrganizationID: organization, ID: configID(n), URL: "https://example.com/hooks", Description: "the first",
		SubscribedStatuses: []webhook.Status{webhook.Processed, webhook.Failed}, Active: true, SecretPrefix: "whsec_abcdef",
		Sealed: "k1.sealed", Version: 1, CreatedAt: webhook.At(start()), UpdatedAt: webhook.At(start()),
	}
}

// create stores configs, changed by changes, beneath no limit to speak of.
func create(t *testing.T, configs *dynamo.Configs, n int, changes ...func(*webhook.Config)) *webhook.Config {
	t.Helper()
	c := newConfig(n)
	for _, change := range changes {
		change(c)
	}
	if err := configs.Create(t.Context(), c, 1000); err != nil {
		t.Fatal(err)
	}
	return c
}

func inactive(c *webhook.Config) { c.Active = false }

// count returns config_count of the organization's counter item, "" if there is none.
func count(t *testing.T, db *dynamotest.DB, organizationID string) string {
	t.Helper()
	for _, text := range db.Items(t, configsTable) {
		var item struct {
			Organization struct{ S string } `json:"organization_id"`
			Count        struct{ N string } `json:"config_count"`
		}
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			t.Fatal(err)
		}
		if item.Organization.S == organizationID && item.Count.N != "" {
			return item.Count.N
		}
	}
	return ""
}

// operations counts the operations that DynamoDB is asked for from now on.
func operations(db *dynamotest.DB) map[string]int {
	counts := map[string]int{}
	db.Intercept(func(operation string, _ []byte) *dynamotest.Fault {
		counts[operation]++
		return nil
	})
	return counts
}

// failing makes every request of an operation fail, the first n times.
func failing(db *dynamotest.DB, operation string, n int, fault *dynamotest.Fault) {
	db.Intercept(func(asked string, _ []byte) *dynamotest.Fault {
		if asked == operation && n > 0 {
			n--
			return fault
		}
		return nil
	})
}

func always(db *dynamotest.DB, operation string, fault *dynamotest.Fault) {
	failing(db, operation, 1<<30, fault)
}

func down() *dynamotest.Fault {
	return &dynamotest.Fault{Status: 500, Body: `{"__type":"InternalServerError"}`}
}

// canceled is a context that is over.
func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
