package linear

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// op is one operation of a written history.
func op(client int, from, to int64, in Input, out Output) porcupine.Operation {
	return porcupine.Operation{ClientId: client, Call: from, Return: to, Input: in, Output: out}
}

func history(ops ...porcupine.Operation) *History {
	h := NewHistory()
	h.ops = ops
	return h
}

func put(v string) Input       { return Input{Kind: Put, Key: "b.k", Value: v} }
func get() Input               { return Input{Kind: Get, Key: "b.k"} }
func named(v, id string) Input { return Input{Kind: Put, Key: "b.k", Value: v, ID: id} }
func twice(r uint64) Output    { return Output{Outcome: Done, Again: true, Revision: r} }
func of(k Kind) Input          { return Input{Kind: k, Key: "b"} }
func done(r uint64) Output     { return Output{Outcome: Done, Revision: r} }
func unknown() Output          { return Output{Outcome: Unknown} }
func at(cluster, r uint64) Output {
	return Output{Outcome: Done, Revision: r, Cluster: cluster}
}
func found(v string, r uint64) Output {
	return Output{Outcome: Done, Found: true, Value: v, Revision: r}
}

// The checker must be able to say no: each history breaks one promise.
func TestCheckerFires(t *testing.T) {
	for name, h := range map[string]*History{
		"lost write (C2)":                history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, get(), Output{Outcome: Done})),
		"stale read (C3)":                history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, put("b"), done(2)), op(1, 4, 5, get(), found("a", 1))),
		"revision back (C6)":             history(op(0, 0, 1, put("a"), done(2)), op(0, 2, 3, put("b"), done(1))),
		"revision twice (C6)":            history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, put("b"), done(1))),
		"revision of two keys (C6)":      history(op(0, 0, 9, put("a"), done(1)), op(1, 0, 9, Input{Kind: Put, Key: "b.j"}, done(1))),
		"behind another key (C6)":        history(op(0, 0, 1, put("a"), done(5)), op(1, 2, 3, Input{Kind: Put, Key: "b.j"}, done(4))),
		"behind what was read (C6)":      history(op(0, 0, 9, put("a"), unknown()), op(1, 1, 2, get(), found("a", 5)), op(1, 3, 4, Input{Kind: Delete, Key: "b.j"}, done(4))),
		"goes on in a new bucket (C6)":   history(op(0, 0, 1, put("a"), at(5, 3)), op(0, 2, 3, of(RemoveBucket), at(6, 0)), op(0, 4, 5, of(MakeBucket), at(7, 0)), op(0, 6, 7, put("b"), at(8, 4))),
		"back in one life (C6)":          history(op(0, 0, 9, of(RemoveBucket), at(5, 0)), op(1, 0, 9, of(MakeBucket), at(6, 0)), op(2, 0, 9, put("a"), at(8, 2)), op(3, 0, 9, Input{Kind: Put, Key: "b.j"}, at(9, 1))),
		"the same in one life (C6)":      history(op(0, 0, 9, of(RemoveBucket), at(5, 0)), op(1, 0, 9, of(MakeBucket), at(6, 0)), op(2, 0, 9, put("a"), at(7, 1)), op(3, 0, 9, Input{Kind: Put, Key: "b.j"}, at(8, 1))),
		"back before any making (C6)":    history(op(0, 0, 1, put("a"), at(8, 4)), op(0, 2, 3, Input{Kind: Put, Key: "b.j"}, at(9, 1)), op(1, 4, 5, of(MakeBucket), unknown())),
		"anew, and too far (C6)":         history(op(0, 0, 9, of(MakeBucket), unknown()), op(0, 0, 1, of(RemoveBucket), Output{}), op(0, 2, 3, of(MakeBucket), at(6, 0)), op(1, 4, 5, put("a"), at(8, 2)), op(1, 6, 7, Input{Kind: Put, Key: "b.j"}, at(10, 2))),
		"cluster's revision twice (C6)":  history(op(0, 0, 9, put("a"), at(5, 1)), op(1, 0, 9, Input{Kind: Put, Key: "c.j"}, at(5, 1))),
		"cluster's revision back (C6)":   history(op(0, 0, 1, put("a"), at(5, 1)), op(1, 2, 3, Input{Kind: Put, Key: "c.j"}, at(4, 1))),
		"back with a making (C6)":        history(op(0, 0, 1, of(RemoveBucket), at(9, 0)), op(0, 2, 3, of(MakeBucket), at(8, 0))),
		"read in another place (C6)":     history(op(0, 0, 1, put("a"), at(5, 1)), op(1, 2, 3, get(), Output{Found: true, Value: "a", Revision: 1, Cluster: 6}), op(1, 4, 5, Input{Kind: Put, Key: "c.j"}, at(7, 1)), op(1, 6, 7, get(), Output{Found: true, Value: "a", Revision: 1, Cluster: 7})),
		"two updates win (C1)":           history(op(0, 0, 1, put("a"), done(1)), op(1, 2, 9, Input{Kind: Update, Key: "b.k", Value: "b", Expected: 1}, done(2)), op(2, 2, 9, Input{Kind: Update, Key: "b.k", Value: "c", Expected: 1}, done(3))),
		"update refused wrongly":         history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Update, Key: "b.k", Value: "b", Expected: 1}, Output{Outcome: Refused})),
		"read of the future":             history(op(0, 0, 1, get(), found("a", 1)), op(1, 2, 3, put("a"), done(1))),
		"create over a key":              history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Create, Key: "b.k", Value: "b"}, done(2))),
		"create refused wrongly":         history(op(0, 0, 1, Input{Kind: Create, Key: "b.k"}, Output{Outcome: Refused})),
		"purge that left a value":        history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Purge, Key: "b.k"}, done(2)), op(0, 4, 5, get(), found("a", 1))),
		"outlives its bucket":            history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, of(RemoveBucket), Output{}), op(0, 4, 5, of(MakeBucket), Output{}), op(0, 6, 7, get(), found("a", 1))),
		"write without a bucket":         history(op(0, 0, 1, of(RemoveBucket), Output{}), op(0, 2, 3, put("a"), done(1))),
		"bucket not seen":                history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, get(), Output{Outcome: NoBucket})),
		"made twice":                     history(op(0, 0, 1, of(MakeBucket), Output{}), op(0, 2, 3, get(), Output{})),
		"retry done again (C4)":          history(op(0, 0, 1, named("a", "x"), done(1)), op(0, 2, 3, named("a", "x"), done(2))),
		"retry of another (C4)":          history(op(0, 0, 1, named("a", "x"), done(1)), op(0, 2, 3, named("a", "y"), twice(1))),
		"another answer (C4)":            history(op(0, 0, 1, named("a", "x"), done(1)), op(0, 2, 3, put("b"), done(2)), op(0, 4, 5, named("a", "x"), twice(2))),
		"two answers (C4)":               history(op(0, 0, 1, named("a", "x"), unknown()), op(0, 2, 3, named("a", "x"), twice(1)), op(0, 4, 5, named("a", "x"), twice(2))),
		"retry overwrites (C4)":          history(op(0, 0, 1, named("a", "x"), done(1)), op(0, 2, 3, put("b"), done(2)), op(0, 4, 5, named("a", "x"), twice(1)), op(0, 6, 7, get(), found("a", 1))),
		"retry refused (C4)":             history(op(0, 0, 1, Input{Kind: Create, Key: "b.k", Value: "a", ID: "x"}, done(1)), op(0, 2, 3, Input{Kind: Create, Key: "b.k", Value: "a", ID: "x"}, Output{Outcome: Refused})),
		"refused, and done all the same": history(op(0, 0, 1, put("a"), Output{Outcome: NotDone}), op(0, 2, 3, get(), found("a", 1))),
		"unknown seen, then gone":        history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), found("a", 1)), op(1, 4, 5, get(), Output{Outcome: Done})),
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, h.Check(time.Minute), "not linearizable") })
	}
}

func TestCheckerAcceptsWhatIsRight(t *testing.T) {
	for name, h := range map[string]*History{
		"unknown never happened":     history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), Output{Outcome: Done})),
		"unknown happened late":      history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), Output{Outcome: Done}), op(1, 4, 5, get(), found("a", 7))),
		"concurrent read of old":     history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 9, put("b"), done(2)), op(1, 3, 4, get(), found("a", 1))),
		"delete, then put":           history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Delete, Key: "b.k"}, done(2)), op(0, 4, 5, get(), Output{Outcome: Done}), op(0, 6, 7, put("b"), done(3))),
		"create, purge, create":      history(op(0, 0, 1, Input{Kind: Create, Key: "b.k", Value: "a"}, done(1)), op(0, 2, 3, Input{Kind: Create, Key: "b.k"}, Output{Outcome: Refused}), op(0, 4, 5, Input{Kind: Purge, Key: "b.k"}, done(2)), op(0, 6, 7, Input{Kind: Create, Key: "b.k", Value: "b"}, done(3))),
		"revisions begin anew":       history(op(0, 0, 1, put("a"), done(7)), op(0, 2, 3, of(RemoveBucket), Output{}), op(0, 4, 5, put("b"), Output{Outcome: NoBucket}), op(0, 6, 7, of(MakeBucket), Output{}), op(0, 8, 9, of(MakeBucket), Output{Outcome: Refused}), op(0, 10, 11, put("c"), done(1))),
		"anew by the cluster's":      history(op(0, 0, 1, put("a"), at(9, 7)), op(0, 2, 3, of(RemoveBucket), at(10, 0)), op(0, 4, 5, of(MakeBucket), at(12, 0)), op(0, 6, 7, put("b"), at(14, 1)), op(1, 8, 9, get(), Output{Found: true, Value: "b", Revision: 1, Cluster: 14}), op(0, 10, 11, put("c"), at(17, 3))),
		"anew, by who was not told":  history(op(0, 0, 1, put("a"), at(9, 7)), op(0, 2, 3, of(RemoveBucket), unknown()), op(1, 4, 5, of(MakeBucket), unknown()), op(0, 6, 7, put("c"), at(12, 1))),
		"unknown removal":            history(op(0, 0, 1, put("a"), done(7)), op(0, 2, 3, of(RemoveBucket), unknown()), op(1, 4, 5, get(), found("a", 7)), op(1, 6, 7, get(), Output{Outcome: NoBucket})),
		"retry of a lost answer":     history(op(0, 0, 1, named("a", "x"), unknown()), op(0, 2, 3, put("b"), done(5)), op(0, 4, 5, named("a", "x"), twice(4)), op(0, 6, 7, named("a", "x"), twice(4)), op(0, 8, 9, get(), found("b", 5))),
		"retry that was first":       history(op(0, 0, 1, named("a", "x"), unknown()), op(0, 2, 3, named("a", "x"), done(1)), op(0, 4, 5, get(), found("a", 1))),
		"an id in a new bucket":      history(op(0, 0, 1, named("a", "x"), done(7)), op(0, 2, 3, of(RemoveBucket), Output{}), op(0, 6, 7, of(MakeBucket), Output{}), op(0, 8, 9, named("a", "x"), done(1))),
		"sent again in a new bucket": history(op(0, 0, 1, named("a", "x"), unknown()), op(1, 2, 3, get(), found("a", 7)), op(1, 4, 5, of(RemoveBucket), Output{}), op(1, 6, 7, of(MakeBucket), Output{}), op(0, 8, 9, named("a", "x"), unknown()), op(1, 10, 11, get(), found("a", 1)), op(1, 12, 13, get(), found("a", 1))),
		"keys beside each other":     history(op(0, 0, 2, put("a"), done(5)), op(1, 1, 3, Input{Kind: Put, Key: "b.j"}, done(4))),
		"another bucket":             history(op(0, 0, 1, put("a"), done(5)), op(1, 2, 3, Input{Kind: Put, Key: "c.k"}, done(4))),
		"unknown update did lose":    history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Update, Key: "b.k", Value: "b", Expected: 9}, unknown()), op(0, 4, 5, get(), found("a", 1))),
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, h.Check(time.Minute)) })
	}
}

// An answer that means nothing is no unknown outcome.
func TestAnswersThatAreNotUnderstoodFailTheHistory(t *testing.T) {
	h := history(op(0, 0, 1, put("a"), Output{Outcome: NotUnderstood, Said: "what?"}))
	require.ErrorContains(t, h.Check(time.Minute), "is not understood: what?")
}

// A write with a message id that is sent again and again, and each time nobody hears what came of it, is one to the checker: it had to try each of them at
// each moment. It still finds that it was done twice.
func TestAWriteThatIsSentAgainAndAgain(t *testing.T) {
	sent := func(seen ...Input) (list []porcupine.Operation) {
		for i := range int64(40) {
			list = append(list, op(0, 10*i, 10*i+9, named("a", "x"), unknown()))
		}
		for i, in := range seen {
			at := int64(1000 + 10*i)
			if in.Kind == Get {
				list = append(list, op(1, at, at+1, in, found(in.Value, in.Expected)))
			} else {
				list = append(list, op(1, at, at+1, in, done(in.Expected)))
			}
		}
		return list
	}
	saw := func(v string, r uint64) Input { return Input{Kind: Get, Key: "b.k", Value: v, Expected: r} }
	wrote := func(v string, r uint64) Input { return Input{Kind: Put, Key: "b.k", Value: v, Expected: r} }
	require.NoError(t, history(sent(saw("a", 1), wrote("b", 2), saw("b", 2), wrote("c", 3), saw("c", 3))...).Check(10*time.Second))
	require.ErrorContains(t, history(sent(saw("a", 1), wrote("b", 2), saw("a", 3))...).Check(10*time.Second), "not linearizable")
	require.ErrorContains(t, history(sent(saw("a", 1), wrote("b", 2), saw("b", 2), saw("a", 1))...).Check(10*time.Second), "not linearizable")
	first := op(1, 2, 3, named("a", "x"), done(1)) // of one that is sent twice at once (F25)
	require.ErrorContains(t, history(append(sent(wrote("b", 2), saw("a", 3)), first)...).Check(10*time.Second), "not linearizable")
}

// How many operations were answered, and what was done.
func TestTally(t *testing.T) {
	h := NewHistory()
	since := h.start.Add(time.Hour)
	h.Add(0, put("old"), unknown(), 0, 1)
	for range calmOps - calmOpen - 1 {
		h.Add(0, put("a"), done(1), time.Hour, time.Hour+1)
	}
	h.Add(0, get(), Output{Outcome: Refused}, time.Hour, time.Hour+1)
	for range calmOpen - 1 {
		h.Add(0, put("a"), unknown(), time.Hour, time.Hour+1)
	}
	enough, _ := h.Tally(since).Calm()
	require.False(t, enough)
	h.Add(0, get(), Output{Outcome: NotDone}, time.Hour, time.Hour+1)
	enough, well := h.Tally(since).Calm()
	require.True(t, enough && well)
	h.Add(0, get(), unknown(), time.Hour, time.Hour+1)
	_, well = h.Tally(since).Calm()
	require.False(t, well)
	tally := h.TallyAll()
	require.Equal(t, calmOps+2, tally.All())
	require.Empty(t, tally.Lacks(calmOps-calmOpen-1, Put))
	require.Equal(t, "of 3 operations 'get' 0 were done", tally.Lacks(1, Put, Get))
	require.Equal(t, "202 operations; put: 189 done, 0 refused, 10 unknown, 0 not done; get: 0 done, 1 refused, 1 unknown, 1 not done", tally.String())
}
