package sqs

// heap is a binary heap whose items know their index, so that any of them can be removed or moved in
// logarithmic time.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(item T, index int) // told of every move; -1 when the item leaves
}

func newHeap[T any](less func(a, b T) bool, place func(T, int)) heap[T] {
	return heap[T]{less: less, place: place}
}

// first is the least item, if there is one.
func (h *heap[T]) first() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.place(item, len(h.items)-1)
	h.up(len(h.items) - 1)
}

// remove takes out the item at index.
func (h *heap[T]) remove(index int) {
	last := len(h.items) - 1
	item := h.items[index]
	if index != last {
		h.swap(index, last)
	}
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	h.place(item, -1)
	if index != last {
		h.fix(index)
	}
}

// fix restores the order after the item at index has changed.
func (h *heap[T]) fix(index int) {
	if !h.down(index) {
		h.up(index)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(start int) (moved bool) {
	i := start
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			break
		}
		h.swap(i, child)
		i = child
	}
	return i != start
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.place(h.items[i], i)
	h.place(h.items[j], j)
}
