// Package lineage counts, as Lambda's recursion detection does, how often a function has been invoked in
// one chain of requests.
//
// Lambda gives every invocation a tracing header whose field Lineage holds a hash and a count for each function of
// the chain. The AWS SDKs send that header with every request of the function, SQS keeps it with the
// message (AWSTraceHeader), and Lambda reads it there before it invokes the next function.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
package lineage

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Limit is how often a function may be invoked in one chain.
const Limit = 16

// field of the tracing header.
const field = "Lineage="

// Lineage are the functions of a chain, by their hashes, with how often they were invoked.
type Lineage map[string]int

// Parse reads a tracing header. One without a lineage, and what is malformed in it, counts as nothing.
func Parse(header string) Lineage {
	l := Lineage{}
	for part := range strings.SplitSeq(header, ";") {
		list, ok := strings.CutPrefix(part, field)
		if !ok {
			continue
		}
		for entry := range strings.SplitSeq(list, ",") {
			id, count, _ := strings.Cut(entry, ":")
			if n, err := strconv.Atoi(count); err == nil && n > 0 {
				l[id] = n
			}
		}
	}
	return l
}

// Count is how often a function was invoked.
func (l Lineage) Count(function string) int { return l[hash(function)] }

// Merge adds what other has more of: a batch is part of the chains of all its messages.
func (l Lineage) Merge(other Lineage) {
	for id, n := range other {
		l[id] = max(l[id], n)
	}
}

// Enter is the field, for the end of a tracing header, of an invocation of the function.
func (l Lineage) Enter(function string) string {
	next := Lineage{hash(function): l.Count(function) + 1}
	next.Merge(l)
	var entries []string
	for _, id := range slices.Sorted(maps.Keys(next)) {
		entries = append(entries, fmt.Sprintf("%s:%d", id, next[id]))
	}
	return field + strings.Join(entries, ",")
}

func hash(function string) string {
	sum := sha256.Sum256([]byte(function))
	return fmt.Sprintf("%x", sum[:4])
}

type key struct{}

// NewContext makes a context of an invocation that is part of a chain.
func NewContext(ctx context.Context, l Lineage) context.Context {
	return context.WithValue(ctx, key{}, l)
}

// FromContext is the chain of an invocation; nil begins one.
func FromContext(ctx context.Context) Lineage {
	l, _ := ctx.Value(key{}).(Lineage)
	return l
}
