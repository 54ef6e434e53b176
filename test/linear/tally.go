package linear

// How operations ended: a history in which nothing was done, or nothing was heard of what was, has an order whatever the store does.

import (
	"fmt"
	"time"
)

// Tally is how many operations of each kind ended in each way.
type Tally map[Kind]map[Outcome]int

// Tally counts the operations that began at a moment or later, and have ended.
func (h *History) Tally(since time.Time) Tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, from := Tally{}, since.Sub(h.start).Nanoseconds()
	for _, op := range h.ops {
		if op.Call < from {
			continue
		}
		kind := op.Input.(Input).Kind
		if t[kind] == nil {
			t[kind] = map[Outcome]int{}
		}
		t[kind][op.Output.(Output).Outcome]++
	}
	return t
}

// TallyAll is the Tally of all.
func (h *History) TallyAll() Tally { return h.Tally(h.start) }

// All is how many there are.
func (t Tally) All() (n int) {
	for _, ends := range t {
		for _, count := range ends {
			n += count
		}
	}
	return n
}

// Open is how many of them nothing came of that their clients know: nobody took them, or nobody said what they did.
func (t Tally) Open() (n int) {
	for _, ends := range t {
		n += ends[Unknown] + ends[NotDone]
	}
	return n
}

// Lacks is the first of some kinds of which fewer were done than there are to be; empty: none.
func (t Tally) Lacks(least int, kinds ...Kind) string {
	for _, k := range kinds {
		if done := t[k][Done]; done < least {
			return fmt.Sprintf("of %d operations '%v' %d were done", t.of(k), k, done)
		}
	}
	return ""
}

func (t Tally) of(k Kind) int { return Tally{k: t[k]}.All() }

// String lists the kinds in their order, each with what was done, refused, unknown, and not done.
func (t Tally) String() (text string) {
	for k := Put; k <= RemoveBucket; k++ {
		if ends := t[k]; len(ends) > 0 {
			text += fmt.Sprintf("; %v: %d done, %d refused, %d unknown, %d not done", k, ends[Done], ends[Refused]+ends[NoBucket], ends[Unknown], ends[NotDone])
		}
	}
	return fmt.Sprintf("%d operations%s", t.All(), text)
}

const (
	// calmOps is how many operations show whether a service is well, and calmOpen how many of them may come to nothing: an election that the machine causes
	// leaves one to each client.
	calmOps  = 200
	calmOpen = calmOps / 20
)

// Calm reports whether the operations since a moment, in which no fault was under way, are enough to judge, and whether nearly all of them were answered.
func (t Tally) Calm() (enough, well bool) {
	all := t.All()
	return all >= calmOps, t.Open()*calmOps <= calmOpen*all
}
