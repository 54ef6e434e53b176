package watch

// What waits, in order: of all who wait together, or of each in turn.

// queue is first in, first out.
type queue[T any] struct {
	items []T
	first int
}

func (q *queue[T]) len() int { return len(q.items) - q.first }

func (q *queue[T]) push(item T) { q.items = append(q.items, item) }

func (q *queue[T]) peek() T { return q.items[q.first] }

func (q *queue[T]) pop() T {
	var none T
	item := q.items[q.first]
	q.items[q.first] = none
	if q.first++; q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	} else if q.first > 1_024 && q.first > len(q.items)/2 { // so that a queue that is never empty does not grow
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	return item
}

// turns is a queue in which each has a turn who waits, however much others have put in before.
type turns[T any] struct {
	order queue[string] // who waits, each once
	of    map[string]*queue[T]
}

func (t *turns[T]) len() int { return t.order.len() }

func (t *turns[T]) push(who string, item T) {
	if t.of == nil {
		t.of = map[string]*queue[T]{}
	}
	if t.of[who] == nil {
		t.of[who] = &queue[T]{}
		t.order.push(who)
	}
	t.of[who].push(item)
}

// pop takes what is next of the next who is not busy; if all are, of the next.
func (t *turns[T]) pop(busy func(who string) bool) T {
	for range t.order.len() {
		if !busy(t.order.peek()) {
			break
		}
		t.order.push(t.order.pop())
	}
	who := t.order.pop()
	q := t.of[who]
	item := q.pop()
	if q.len() > 0 {
		t.order.push(who)
	} else {
		delete(t.of, who)
	}
	return item
}
