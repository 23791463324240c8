package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// fault lets calls of a function fail, as a rule of the local stack's plan of faults.
type fault struct {
	Function    string `json:"function"`
	Service     string `json:"service"`
	Operation   string `json:"operation"`
	Contains    string `json:"contains"` // such as an organization's id, so that tests leave each other alone
	Kind        string `json:"kind"`
	Probability int    `json:"probability"` // 1
}

// faults are those of all tests that run on a stack.
type faults struct {
	api string

	mu    sync.Mutex // guards rules and the plan of the stack
	rules []fault
}

// strike lets calls fail until the test ends or calls end.
func (s *system) strike(t *testing.T, struck ...fault) (end func()) {
	t.Helper()
	if s.faults == nil {
		t.Skip("only the local stack's services fail when they are told to")
	}
	for i := range struck {
		struck[i].Probability = 1
	}
	s.faults.change(t, func(rules []fault) []fault { return append(rules, struck...) })
	end = sync.OnceFunc(func() {
		s.faults.change(t, func(rules []fault) []fault {
			return slices.DeleteFunc(rules, func(rule fault) bool { return slices.Contains(struck, rule) })
		})
	})
	t.Cleanup(end)
	return end
}

func (f *faults) change(t *testing.T, by func([]fault) []fault) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = by(f.rules)
	plan, err := json.Marshal(map[string]any{"seed": 1, "rules": append([]fault{}, f.rules...)})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(f.api+"/_local/faults", plan); err != nil {
		t.Fatal(err)
	}
}

func put(url string, body []byte) error {
	request, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s: %s", url, response.Status)
	}
	return nil
}
