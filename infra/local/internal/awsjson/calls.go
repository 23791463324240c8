package awsjson

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Count is how often somebody called an operation.
type Count struct {
	Function string `json:"function"` // "" for everybody else
	Target   string `json:"target"`   // as in X-Amz-Target: DynamoDB_20120810.PutItem
	N        int    `json:"count"`
}

// Calls counts the calls of functions. Many goroutines may use it at once.
type Calls struct {
	Functions map[string]string // by access key

	mu     sync.Mutex
	counts map[Count]int // by counts without a count
}

func (c *Calls) add(accessKey, target string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[Count]int{}
	}
	c.counts[Count{Function: c.Functions[accessKey], Target: target}]++
}

// List returns all calls, sorted.
func (c *Calls) List() []Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.SortedFunc(maps.Keys(c.counts), func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.Target, b.Target))
	})
	for i := range list {
		list[i].N = c.counts[list[i]]
	}
	return list
}
