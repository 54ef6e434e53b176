package sim

// The agenda is what is still to happen, in order of time. Of two things due at one moment the one that was put down first
// comes first, so that a run depends on nothing but its seed.

import "time"

// task is something due at a moment of simulated time, counted from the world's beginning.
type task struct {
	at  time.Duration
	seq uint64
	of  *process // whose it is: it waits while that one is paused, and is forgotten once it is gone; nil: the world's
	do  func()
}

func (t *task) before(o *task) bool { return t.at < o.at || t.at == o.at && t.seq < o.seq }

// agenda is a heap of tasks with four children per parent: less deep than with two, and tasks move less.
type agenda struct {
	heap []task
	seq  uint64
}

func (a *agenda) empty() bool { return len(a.heap) == 0 }

// next is when something is due.
func (a *agenda) next() time.Duration { return a.heap[0].at }

func (a *agenda) put(at time.Duration, of *process, do func()) {
	a.seq++
	a.heap = append(a.heap, task{at: at, seq: a.seq, of: of, do: do})
	i := len(a.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !a.heap[i].before(&a.heap[parent]) {
			return
		}
		a.heap[i], a.heap[parent] = a.heap[parent], a.heap[i]
		i = parent
	}
}

func (a *agenda) take() task {
	first, last := a.heap[0], len(a.heap)-1
	a.heap[0] = a.heap[last]
	a.heap[last] = task{}
	a.heap = a.heap[:last]
	a.sink(0)
	return first
}

func (a *agenda) sink(i int) {
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(a.heap); child++ {
			if a.heap[child].before(&a.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		a.heap[i], a.heap[least] = a.heap[least], a.heap[i]
		i = least
	}
}
