package wal

// The model: what a log should hold, as plain slices. All tests compare with it.

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// model is one value per group; it is copied, never changed, once another step begins.
type model map[GroupID]modelGroup

type modelGroup struct {
	base    Base
	hasBase bool
	hard    rpc.HardState
	log     []rpc.Entry // from base+1 on
}

func (g *modelGroup) last() rpc.EntryID {
	if n := len(g.log); n > 0 {
		return g.log[n-1].ID()
	}
	return g.base.ID
}

// with returns the model after the batches, which must be valid.
func (m model) with(batches ...Batch) model {
	next := model{}
	for id, g := range m {
		next[id] = g
	}
	for _, b := range batches {
		g := next[b.Group]
		if b.Base != nil {
			g.rebase(*b.Base)
		}
		if b.HardState != nil {
			g.hard = *b.HardState
		}
		for _, e := range b.Entries {
			keep := int(e.Index - g.base.ID.Index - 1)
			g.log = append(slices.Clip(g.log[:keep]), e)
		}
		next[b.Group] = g
	}
	return next
}

func (g *modelGroup) rebase(b Base) {
	n := slices.IndexFunc(g.log, func(e rpc.Entry) bool { return e.ID() == b.ID })
	if b.ID != g.base.ID {
		g.log = g.log[n+1:]
		if n < 0 {
			g.log = nil
		}
	}
	g.base, g.hasBase = b, true
}

func (g *modelGroup) terms() []rpc.TermRun {
	var runs []rpc.TermRun
	for _, e := range g.log {
		if n := len(runs); n == 0 || runs[n-1].Term != e.Term {
			runs = append(runs, rpc.TermRun{First: e.Index, Term: e.Term})
		}
	}
	return runs
}

func (g *modelGroup) configurations() []rpc.Index {
	var is []rpc.Index
	for _, e := range g.log {
		if e.Kind == rpc.EntryConfiguration {
			is = append(is, e.Index)
		}
	}
	return is
}

// differs says how the log differs from the model, or nothing.
func (m model) differs(l *Log) string {
	for id, g := range m {
		s := l.State(id)
		want := State{Base: g.base, HasBase: g.hasBase, HardState: g.hard, Last: g.last(), Terms: g.terms(), Configurations: g.configurations()}
		if s.Base.ID != want.Base.ID || string(s.Base.Configuration) != string(want.Base.Configuration) ||
			s.HasBase != want.HasBase || s.HardState != want.HardState || s.Last != want.Last || !slices.Equal(s.Terms, want.Terms) ||
			!slices.Equal(s.Configurations, want.Configurations) {
			return fmt.Sprintf("group %d: state %+v, want %+v", id, s, want)
		}
		var got []rpc.Entry
		for lo := g.base.ID.Index + 1; lo <= s.Last.Index; {
			es, err := l.Entries(id, lo, s.Last.Index+1, 4096)
			if err != nil || len(es) == 0 {
				return fmt.Sprintf("group %d: entries from %d: %d, %v", id, lo, len(es), err)
			}
			got = append(got, es...)
			lo += rpc.Index(len(es))
		}
		if len(got) != len(g.log) || len(got) > 0 && !reflect.DeepEqual(got, g.log) {
			return fmt.Sprintf("group %d: the entries differ", id)
		}
		if points := l.groups[id].index.points; len(g.log) == 0 && len(points) > 0 {
			return fmt.Sprintf("group %d: %d points to nothing", id, len(points))
		}
	}
	for id := range l.groups {
		if _, ok := m[id]; !ok && !reflect.DeepEqual(l.State(id), State{}) {
			return fmt.Sprintf("group %d should not be there", id)
		}
	}
	return ""
}

// check fails the test unless the log is as the model says.
func (m model) check(t require.TestingT, l *Log) {
	require.Empty(t, m.differs(l))
}

// script makes up valid batches at random.
type script struct {
	rng  *rand.Rand
	most int // data bytes of an entry
}

// batch returns a valid step for one group: mostly entries, some of which replace others, sometimes a term or a base.
func (s *script) batch(m model, id GroupID) Batch {
	g := m[id]
	b := Batch{Group: id}
	if s.rng.IntN(4) == 0 {
		b.HardState = s.hardState(g.hard)
	}
	if s.rng.IntN(12) == 0 && len(g.log) > 0 {
		b.Base = s.base(&g)
		g.rebase(*b.Base)
	}
	if b.HardState == nil && b.Base == nil || s.rng.IntN(3) == 0 {
		b.Entries = s.entries(&g)
	}
	return b
}

func (s *script) hardState(h rpc.HardState) *rpc.HardState {
	h.Term += rpc.Term(s.rng.IntN(2))
	if h.Vote = ""; s.rng.IntN(2) == 0 || h.Term == 0 {
		h.Term++
		h.Vote = rpc.NodeID(fmt.Sprintf("n%d", s.rng.IntN(5)))
		return &h
	}
	h.Term++
	return &h
}

// base is one within the log, or now and then one beyond it, as an installed snapshot has.
func (s *script) base(g *modelGroup) *Base {
	b := &Base{ID: g.log[s.rng.IntN(len(g.log))].ID(), Configuration: s.bytes(100)}
	if s.rng.IntN(5) == 0 {
		b.ID = rpc.EntryID{Index: g.last().Index + rpc.Index(s.rng.IntN(3)), Term: g.last().Term + 1}
		b.ID.Index -= rpc.Index(s.rng.IntN(min(len(g.log), 4))) // a conflicting one
	}
	return b
}

func (s *script) entries(g *modelGroup) []rpc.Entry {
	first, term := g.last().Index+1, g.last().Term
	if len(g.log) > 0 && s.rng.IntN(5) == 0 {
		first -= rpc.Index(s.rng.IntN(min(len(g.log), 6) + 1))
		term++
	}
	es := make([]rpc.Entry, 1+s.rng.IntN(6))
	for i := range es {
		if s.rng.IntN(20) == 0 || term == 0 {
			term++
		}
		es[i] = rpc.Entry{Index: first + rpc.Index(i), Term: term, Kind: rpc.EntryCommand, Time: s.rng.Int64(), Data: s.bytes(s.most)}
		if s.rng.IntN(8) == 0 {
			es[i].Kind = rpc.EntryConfiguration
		}
	}
	return es
}

func (s *script) bytes(most int) []byte {
	n := s.rng.IntN(most + 1)
	if s.rng.IntN(10) == 0 {
		n = 0
	}
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

const testLogID = 0x5eed

func openTest(t require.TestingT, fs vfs.FS) *Log {
	l, err := Open(fs, "/log", Options{SegmentBytes: 8 << 10, LogID: testLogID})
	require.NoError(t, err)
	return l
}

// fill appends entries of term 1 one by one until a log has so many segments, and returns the index of the last.
func fill(t require.TestingT, l *Log, segments int) (last rpc.Index) {
	for l.Stats().Segments < segments {
		last++
		require.NoError(t, l.Append(Batch{Entries: entries(1, last, last+1)}))
	}
	return last
}

func entries(term rpc.Term, lo, hi rpc.Index) []rpc.Entry {
	var es []rpc.Entry
	for i := lo; i < hi; i++ {
		es = append(es, rpc.Entry{Index: i, Term: term, Kind: rpc.EntryCommand, Time: int64(i), Data: fmt.Appendf(nil, "entry %d of term %d", i, term)})
	}
	return es
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
