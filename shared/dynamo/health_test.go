package dynamo_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestConfigsDeactivate(t *testing.T) {
	gone := func(c *webhook.Config) {
		c.Active, c.DeactivatedReason, c.Version, c.UpdatedAt = false, webhook.EndpointGone, 2, webhook.At(start().Add(time.Minute))
	}
	for name, test := range map[string]struct {
		meanwhile func(*testing.T, *dynamo.Configs)
		want      func(*webhook.Config) // how the config is afterwards
		done      bool
	}{
		"a config at the attempted version is deactivated": {
			meanwhile: func(*testing.T, *dynamo.Configs) {},
			want:      gone,
			done:      true,
		},
		"a config that another delivery has deactivated for this reason is as good as deactivated by this one": {
			meanwhile: func(t *testing.T, configs *dynamo.Configs) {
				if _, err := configs.Deactivate(t.Context(), newConfig(1), webhook.EndpointGone, start().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
			},
			want: gone,
			done: true,
		},
		"a config that got another url meanwhile stays active": {
			meanwhile: func(t *testing.T, configs *dynamo.Configs) {
				c := newConfig(1)
				c.URL = "https://example.org/"
				if err := configs.Update(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			},
			want: func(c *webhook.Config) { c.URL, c.Version = "https://example.org/", 2 },
		},
		"a config deactivated by its owner meanwhile has no other reason": {
			meanwhile: func(t *testing.T, configs *dynamo.Configs) {
				c := newConfig(1)
				c.Active = false
				if err := configs.Update(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			},
			want: func(c *webhook.Config) { c.Active, c.Version = false, 2 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			configs := configsOf(dynamotest.New(t))
			attempted := create(t, configs, 1)
			test.meanwhile(t, configs)
			done, err := configs.Deactivate(t.Context(), attempted, webhook.EndpointGone, start().Add(time.Minute))
			if err != nil || done != test.done {
				t.Fatalf("%t, %v", done, err)
			}
			want := newConfig(1)
			test.want(want)
			got, err := configs.Get(t.Context(), organization, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a config deleted meanwhile stays deleted", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		c := create(t, configs, 1)
		if err := configs.Delete(t.Context(), organization, c.ID, start()); err != nil {
			t.Fatal(err)
		}
		before := db.Items(t, configsTable)
		if done, err := configs.Deactivate(t.Context(), c, webhook.EndpointGone, start()); err != nil || done {
			t.Fatalf("%t, %v", done, err)
		}
		if diff := cmp.Diff(before, db.Items(t, configsTable)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConfigsFailures(t *testing.T) {
	t.Run("failures are counted from the first on and forgotten after a success", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		c := create(t, configs, 1)
		for n := 1; n <= 3; n++ {
			got, since, err := configs.CountFailure(t.Context(), c, start().Add(time.Duration(n)*time.Hour))
			if err != nil || got != n || !since.Equal(start().Add(time.Hour)) {
				t.Errorf("failure %d: counted %d since %s, %v", n, got, since, err)
			}
		}
		if err := configs.ResetFailures(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got, since, err := configs.CountFailure(t.Context(), c, start().Add(9*time.Hour))
		if err != nil || got != 1 || !since.Equal(start().Add(9*time.Hour)) {
			t.Errorf("after the success: counted %d since %s, %v", got, since, err)
		}
	})
	t.Run("counting changes no version", func(t *testing.T) {
		configs := configsOf(dynamotest.New(t))
		c := create(t, configs, 1)
		if _, _, err := configs.CountFailure(t.Context(), c, start()); err != nil {
			t.Fatal(err)
		}
		if err := configs.Update(t.Context(), c); err != nil {
			t.Errorf("an update after a failure: %v", err)
		}
	})
	t.Run("a deleted config stays a tombstone", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		c := create(t, configs, 1)
		if err := configs.Delete(t.Context(), organization, c.ID, start()); err != nil {
			t.Fatal(err)
		}
		before := db.Items(t, configsTable)
		if n, _, err := configs.CountFailure(t.Context(), c, start()); err != nil || n != 0 {
			t.Errorf("counted %d, %v", n, err)
		}
		if err := configs.ResetFailures(t.Context(), c); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, db.Items(t, configsTable)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("errors come through", func(t *testing.T) {
		db := dynamotest.New(t)
		configs := configsOf(db)
		c := create(t, configs, 1)
		always(db, "UpdateItem", down())
		if _, _, err := configs.CountFailure(t.Context(), c, start()); err == nil {
			t.Error("CountFailure: no error")
		}
		if err := configs.ResetFailures(t.Context(), c); err == nil {
			t.Error("ResetFailures: no error")
		}
		if done, err := configs.Deactivate(t.Context(), c, webhook.EndpointGone, start()); err == nil || done || !c.Active {
			t.Errorf("Deactivate: %t, %v, active %t", done, err, c.Active)
		}
	})
}
