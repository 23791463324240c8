package dynamo_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestSetLane(t *testing.T) {
	fast, slow := webhook.At(start().Add(24*time.Hour)), webhook.At(start().Add(time.Minute))
	for _, test := range []struct {
		name   string
		change func(c *webhook.Config)
		lane   webhook.Lane
		want   func(c *webhook.Config)
	}{
		{name: "fast writes its end alone", lane: webhook.FastLane, want: func(c *webhook.Config) { c.FastUntil = fast }},
		{name: "slow writes its end alone", lane: webhook.SlowLane, want: func(c *webhook.Config) { c.SlowUntil = slow }},
		{
			name: "another URL is not judged by what the one before answered", lane: webhook.FastLane,
			change: func(c *webhook.Config) { c.URL = "https://example.com/before" }, want: func(*webhook.Config) {},
		},
		{
			name: "a config that was changed otherwise is, and its version stays", lane: webhook.SlowLane,
			change: func(c *webhook.Config) { c.Version = 0 }, want: func(c *webhook.Config) { c.SlowUntil = slow },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := dynamotest.New(t)
			configs := configsOf(db)
			want := *create(t, configs, 1)
			judged := want
			judged.FastUntil, judged.SlowUntil = fast, slow
			if test.change != nil {
				test.change(&judged)
			}
			if err := configs.SetLane(t.Context(), &judged, test.lane); err != nil {
				t.Fatal(err)
			}
			test.want(&want)
			got, err := configs.Get(t.Context(), organization, configID(1))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a config that is gone stays gone", func(t *testing.T) {
		db := dynamotest.New(t)
		if err := configsOf(db).SetLane(t.Context(), newConfig(1), webhook.FastLane); err != nil {
			t.Error(err)
		}
		if items := db.Items(t, configsTable); len(items) != 0 {
			t.Errorf("%v", items)
		}
	})
	t.Run("errors when DynamoDB is away", func(t *testing.T) {
		db := dynamotest.New(t)
		c := create(t, configsOf(db), 1)
		always(db, "UpdateItem", down())
		if configsOf(db).SetLane(t.Context(), c, webhook.FastLane) == nil {
			t.Error("no error")
		}
	})
}
