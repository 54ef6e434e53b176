package wal

// What the log knows of one group without its entries' data: base, hard state, last entry, where the terms change. The
// same steps lead there when a batch is appended and when it is read again at recovery.

import (
	"slices"
	"sort"

	"github.com/raftbus/raftbus/raft/rpc"
)

// indexMax is above every index a log can reach, and low enough that adding to one never wraps.
const indexMax = 1 << 62

// ledger is the state of one group.
type ledger struct {
	base    Base
	hasBase bool
	hard    rpc.HardState
	last    rpc.EntryID
	terms   []rpc.TermRun
	// configurations are the entries above the base that change who the members are: their effect begins in the log (K39).
	// It is all that the log knows of what entries mean.
	configurations []rpc.Index
	// missing is the highest index of which only a checkpoint spoke: its entry was in a segment that is gone. That is as it
	// should be once the base has passed it, and damage otherwise.
	missing rpc.Index
}

// group is a ledger as it is on disk, the same as it will be once the running Append is durable, and where the entries are.
type group struct {
	durable ledger         // guarded by Log.mu
	staged  ledger         // the appender's own; of use to the running Append only
	index   index          // guarded by Log.mu
	damaged []damagedEntry // guarded by Log.mu; rising
}

// copyFrom makes m equal to o without sharing memory that changes.
func (m *ledger) copyFrom(o *ledger) {
	terms, configurations := append(m.terms[:0], o.terms...), append(m.configurations[:0], o.configurations...)
	*m = *o
	m.terms, m.configurations = terms, configurations
}

// termAt is the term of the entry at i, which is the base or above it.
func (m *ledger) termAt(i rpc.Index) (rpc.Term, bool) {
	if i == m.base.ID.Index {
		return m.base.ID.Term, true
	}
	n := sort.Search(len(m.terms), func(k int) bool { return m.terms[k].First > i })
	if n == 0 || i > m.last.Index {
		return 0, false
	}
	return m.terms[n-1].Term, true
}

// append takes in one entry. One at or below the last replaces the log from there on (thesis 3.5).
func (m *ledger) append(id rpc.EntryID, kind rpc.EntryKind) error {
	if id.Index <= m.base.ID.Index || id.Index > m.last.Index+1 || id.Index > indexMax {
		return invalid("entry %v does not continue a log of entries %d to %d", id, m.base.ID.Index+1, m.last.Index)
	}
	before, known := m.termAt(id.Index - 1)
	if known && id.Term < before || id.Term == 0 {
		return invalid("entry %v after one of term %d", id, before)
	}
	for n := len(m.terms); n > 0 && m.terms[n-1].First >= id.Index; n-- {
		m.terms = m.terms[:n-1]
	}
	for n := len(m.configurations); n > 0 && m.configurations[n-1] >= id.Index; n-- {
		m.configurations = m.configurations[:n-1] // a change that was rolled back leaves nothing behind (K37)
	}
	m.missing = min(m.missing, id.Index-1)
	if kind == rpc.EntryConfiguration {
		m.configurations = push(m.configurations, id.Index)
	}
	if n := len(m.terms); n == 0 || m.terms[n-1].Term != id.Term {
		m.terms = push(m.terms, rpc.TermRun{First: id.Index, Term: id.Term})
	}
	m.last = id
	return nil
}

// push appends v to s, which doubles when it is full: what a log makes Open allocate stays in proportion to its size.
func push[T any](s []T, v T) []T {
	if len(s) == cap(s) {
		s = slices.Grow(s, max(len(s), 8))
	}
	return append(s, v)
}

// setHardState takes in a term and vote. Neither a lower term nor a second vote in one term is ever written (I7, K2, K5).
func (m *ledger) setHardState(h rpc.HardState) error {
	if len(h.Vote) > VoteBytesMax {
		return invalid("vote of %d bytes: at most %d", len(h.Vote), VoteBytesMax)
	}
	if h.Term < m.hard.Term || h.Term == m.hard.Term && m.hard.Vote != "" && h.Vote != m.hard.Vote {
		return invalid("hard state term %d vote %q after term %d vote %q", h.Term, h.Vote, m.hard.Term, m.hard.Vote)
	}
	m.hard = h
	return nil
}

// resets reports whether a base at id leaves nothing of the log: it does not hold that entry (thesis 7, K27).
func (m *ledger) resets(id rpc.EntryID) bool {
	term, ok := m.termAt(id.Index)
	return !ok || term != id.Term
}

// setBase forgets the entries up to b.ID, or with reset all of them. b's Configuration must not change afterwards.
func (m *ledger) setBase(b Base, reset bool) error {
	if len(b.Configuration) > ConfigurationBytesMax {
		return invalid("configuration of %d bytes: at most %d", len(b.Configuration), ConfigurationBytesMax)
	}
	if old := m.base.ID; m.hasBase && (b.ID.Index < old.Index || b.ID.Index == old.Index && b.ID != old) {
		return invalid("base %v after base %v", b.ID, old)
	}
	if !reset && b.ID.Index > m.last.Index || b.ID.Index > indexMax {
		return invalid("base %v is beyond the log, whose last entry is %v", b.ID, m.last)
	}
	if reset || b.ID.Index == m.last.Index {
		m.last, m.terms, m.configurations, m.missing = b.ID, m.terms[:0], m.configurations[:0], 0
	}
	m.trimTerms(b.ID.Index + 1)
	m.configurations = slices.DeleteFunc(m.configurations, func(i rpc.Index) bool { return i <= b.ID.Index })
	m.base, m.hasBase = b, true
	return nil
}

// trimTerms makes the runs begin at first.
func (m *ledger) trimTerms(first rpc.Index) {
	n := sort.Search(len(m.terms), func(k int) bool { return m.terms[k].First > first })
	if n > 1 {
		m.terms = slices.Delete(m.terms, 0, n-1)
	}
	if n > 0 {
		m.terms[0].First = first
	}
}

// incomplete reports whether entries above the base are in segments that are gone.
func (m *ledger) incomplete() bool { return m.missing > m.base.ID.Index }

func (m *ledger) state() State {
	return State{
		Base: m.base, HasBase: m.hasBase, HardState: m.hard, Last: m.last,
		Terms: append([]rpc.TermRun(nil), m.terms...), Configurations: append([]rpc.Index(nil), m.configurations...),
	}
}
