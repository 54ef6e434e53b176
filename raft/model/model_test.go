package model_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/model"
)

const (
	added model.EventKind = iota
	doubled
	unhooked
)

// event is the event of all tests here: a kind and a number.
type event struct {
	kind model.EventKind
	n    int
}

func (e event) Kind() model.EventKind { return e.kind }

// sum is the fields of all tests here.
type sum struct{ total int }

func newSum() (*sum, model.IEventDrivenModel[sum, event]) {
	fields := &sum{}
	return fields, model.New[sum, event](fields)
}

func add(s *sum, e event) { s.total += e.n }

func TestHandlersOfTheKindRunInOrderOfRegistration(t *testing.T) {
	_, m := newSum()
	var ran []string
	note := func(name string) model.Handler[sum, event] {
		return model.Reads(func(sum, event) { ran = append(ran, name) })
	}
	m.Hook(added, note("first"))
	m.Hook(doubled, note("of another kind"))
	m.Hook(added, note("second"))
	m.Hook(added, note("third"))

	m.Raise(event{kind: added})
	require.Equal(t, []string{"first", "second", "third"}, ran)
}

func TestWritersRunBeforeReaders(t *testing.T) {
	fields, m := newSum()
	var seen []int
	see := model.Reads(func(s sum, _ event) { seen = append(seen, s.total) })
	m.Hook(added, see)
	m.Hook(added, model.Writes(add))
	m.Hook(added, see)
	m.Hook(added, model.Writes(func(s *sum, _ event) { s.total *= 10 }))

	m.Raise(event{kind: added, n: 3})
	require.Equal(t, []int{30, 30}, seen, "readers see the fields as all writers left them")
	require.Equal(t, 30, fields.total)
}

func TestReadersCannotWrite(t *testing.T) {
	fields, m := newSum()
	m.Hook(added, model.Reads(func(s sum, _ event) { add(&s, event{n: 99}) }))

	m.Raise(event{kind: added})
	require.Zero(t, fields.total)
}

func TestEventNobodyHookedDoesNothing(t *testing.T) {
	fields, m := newSum()
	m.Hook(added, model.Writes(add))

	m.Raise(event{kind: unhooked, n: 7})
	require.Zero(t, fields.total)
}

func TestRaiseInAHandlerWaitsUntilTheEventIsThrough(t *testing.T) {
	_, m := newSum()
	var ran []string
	note := func(format string) func(sum, event) {
		return func(_ sum, e event) { ran = append(ran, fmt.Sprintf(format, e.n)) }
	}
	m.Hook(added, model.Writes(func(*sum, event) { m.Raise(event{kind: doubled, n: 1}) }))
	m.Hook(added, model.Reads(func(sum, event) { m.Raise(event{kind: doubled, n: 2}) }))
	m.Hook(added, model.Reads(note("added %d")))
	m.Hook(doubled, model.Reads(func(_ sum, e event) {
		if e.n < 10 {
			m.Raise(event{kind: doubled, n: e.n * 10})
		}
	}))
	m.Hook(doubled, model.Reads(note("doubled %d")))

	m.Raise(event{kind: added})
	require.Equal(t, []string{"added 0", "doubled 1", "doubled 2", "doubled 10", "doubled 20"}, ran)
}

func TestAsManyEventsWaitAsTheBoundSays(t *testing.T) {
	fields, m := newSum()
	m.Hook(doubled, model.Reads(func(_ sum, e event) {
		for range e.n {
			m.Raise(event{kind: added, n: 1})
		}
	}))
	m.Hook(added, model.Writes(add))

	for round := 1; round <= 3; round++ { // the ring wraps
		m.Raise(event{kind: doubled, n: model.MaxQueued})
		require.Equal(t, round*model.MaxQueued, fields.total)
	}
	require.PanicsWithValue(t, "model: too many events wait: handlers raise each other without end",
		func() { m.Raise(event{kind: doubled, n: model.MaxQueued + 1}) })
}

func TestHookAfterRaiseIsRefused(t *testing.T) {
	const refusal = "model: Hook after the first Raise: register all hooks while building"
	_, m := newSum()
	m.Hook(added, model.Reads(func(sum, event) {
		require.PanicsWithValue(t, refusal, func() { m.Hook(doubled, model.Writes(add)) }, "in a handler")
	}))

	m.Raise(event{kind: added})
	require.PanicsWithValue(t, refusal, func() { m.Hook(doubled, model.Writes(add)) })
}

func TestHookWithoutAHandlerIsRefused(t *testing.T) {
	_, m := newSum()
	require.PanicsWithValue(t, "model: Hook without a handler: make it with Writes or Reads",
		func() { m.Hook(added, model.Handler[sum, event]{}) })
	require.Panics(t, func() { m.Hook(added, model.Writes[sum, event](nil)) })
}

// A run is a function of the hooks and the events raised: whoever recorded the events can have it again.
func TestReplayIsIdentical(t *testing.T) {
	run := func(events []event) (trace []string) {
		_, m := newSum()
		for kind := added; kind <= doubled; kind++ {
			m.Hook(kind, model.Reads(func(s sum, e event) { trace = append(trace, fmt.Sprint(kind, s.total, e.n)) }))
		}
		m.Hook(added, model.Writes(add))
		m.Hook(doubled, model.Writes(func(s *sum, _ event) { s.total *= 2 }))
		m.Hook(doubled, model.Reads(func(s sum, e event) {
			if e.n > 0 {
				m.Raise(event{kind: added, n: s.total % 7})
				m.Raise(event{kind: doubled, n: e.n - 1})
			}
		}))
		for _, e := range events {
			m.Raise(e)
		}
		return trace
	}
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOf(rapid.Custom(func(t *rapid.T) event {
			return event{model.EventKind(rapid.IntRange(0, 2).Draw(t, "kind")), rapid.IntRange(0, 5).Draw(t, "n")}
		})).Draw(t, "events")
		require.Equal(t, run(events), run(events))
	})
}

func TestRaiseAllocatesNothing(t *testing.T) {
	_, m := newSum()
	m.Hook(added, model.Writes(add))
	m.Hook(added, model.Reads(func(sum, event) { m.Raise(event{kind: doubled}) }))
	m.Hook(doubled, model.Reads(func(sum, event) {}))

	require.Zero(t, testing.AllocsPerRun(100, func() { m.Raise(event{kind: added, n: 1}) }))
}

func BenchmarkRaise(b *testing.B) {
	_, m := newSum()
	m.Hook(added, model.Writes(add))
	m.Hook(added, model.Reads(func(sum, event) {}))
	b.ReportAllocs()
	for b.Loop() {
		m.Raise(event{kind: added, n: 1})
	}
}
