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

func put(v string) Input   { return Input{Kind: Put, Key: "k", Value: v} }
func get() Input           { return Input{Kind: Get, Key: "k"} }
func done(r uint64) Output { return Output{Outcome: Done, Revision: r} }
func unknown() Output      { return Output{Outcome: Unknown} }
func found(v string, r uint64) Output {
	return Output{Outcome: Done, Found: true, Value: v, Revision: r}
}

// The checker must be able to say no: each history breaks one promise.
func TestCheckerFires(t *testing.T) {
	for name, h := range map[string]*History{
		"lost write (C2)":         history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, get(), Output{Outcome: Done})),
		"stale read (C3)":         history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, put("b"), done(2)), op(1, 4, 5, get(), found("a", 1))),
		"revision back (C6)":      history(op(0, 0, 1, put("a"), done(2)), op(0, 2, 3, put("b"), done(1))),
		"revision twice (C6)":     history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, put("b"), done(1))),
		"two updates win (C1)":    history(op(0, 0, 1, put("a"), done(1)), op(1, 2, 9, Input{Kind: Update, Key: "k", Value: "b", Expected: 1}, done(2)), op(2, 2, 9, Input{Kind: Update, Key: "k", Value: "c", Expected: 1}, done(3))),
		"update refused wrongly":  history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Update, Key: "k", Value: "b", Expected: 1}, Output{Outcome: Refused})),
		"read of the future":      history(op(0, 0, 1, get(), found("a", 1)), op(1, 2, 3, put("a"), done(1))),
		"unknown seen, then gone": history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), found("a", 1)), op(1, 4, 5, get(), Output{Outcome: Done})),
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, h.Check(time.Minute), "not linearizable") })
	}
}

func TestCheckerAcceptsWhatIsRight(t *testing.T) {
	for name, h := range map[string]*History{
		"unknown never happened":  history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), Output{Outcome: Done})),
		"unknown happened late":   history(op(0, 0, 1, put("a"), unknown()), op(1, 2, 3, get(), Output{Outcome: Done}), op(1, 4, 5, get(), found("a", 7))),
		"concurrent read of old":  history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 9, put("b"), done(2)), op(1, 3, 4, get(), found("a", 1))),
		"delete, then put":        history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Delete, Key: "k"}, done(2)), op(0, 4, 5, get(), Output{Outcome: Done}), op(0, 6, 7, put("b"), done(3))),
		"unknown update did lose": history(op(0, 0, 1, put("a"), done(1)), op(0, 2, 3, Input{Kind: Update, Key: "k", Value: "b", Expected: 9}, unknown()), op(0, 4, 5, get(), found("a", 1))),
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, h.Check(time.Minute)) })
	}
}
