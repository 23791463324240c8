package sqs

import "container/heap"

// ranking is a heap whose items know their index, so that any of them can be removed or moved in
// logarithmic time.
type ranking[T any] struct{ items *ranked[T] }

// ranked is the heap.Interface of a ranking.
type ranked[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(item T, index int) // told of every move; -1 when the item leaves
}

func newRanking[T any](less func(a, b T) bool, place func(T, int)) ranking[T] {
	return ranking[T]{&ranked[T]{less: less, place: place}}
}

// first is the least item, if there is one.
func (r ranking[T]) first() (item T, ok bool) {
	if len(r.items.items) == 0 {
		return item, false
	}
	return r.items.items[0], true
}

func (r ranking[T]) push(item T) { heap.Push(r.items, item) }

// remove takes out the item at index.
func (r ranking[T]) remove(index int) { heap.Remove(r.items, index) }

// fix restores the order after the item at index has changed.
func (r ranking[T]) fix(index int) { heap.Fix(r.items, index) }

func (h *ranked[T]) Len() int           { return len(h.items) }
func (h *ranked[T]) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }

func (h *ranked[T]) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.place(h.items[i], i)
	h.place(h.items[j], j)
}

func (h *ranked[T]) Push(item any) {
	h.items = append(h.items, item.(T))
	h.place(item.(T), len(h.items)-1)
}

func (h *ranked[T]) Pop() any {
	last := len(h.items) - 1
	item := h.items[last]
	clear(h.items[last:]) // the slice's array lives on
	h.items = h.items[:last]
	h.place(item, -1)
	return item
}
