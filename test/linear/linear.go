// Package linear records what concurrent clients of a key-value store saw, and has Porcupine judge whether one order of
// the operations explains it all (C1, C2, C3, C4, C5). An operation whose outcome the client did not learn may have happened at
// any time after it was sent, or never.
package linear

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is what a client asked for.
type Kind uint8

const (
	Put    Kind = iota // write whatever is there
	Update             // write if the revision is the expected one
	Delete
	Get
	Create // write if there is no such key
	Purge  // delete whatever is there
	// Of a bucket, with its name for the key: "b" is that of every key "b.<...>". A history begins with all buckets there.
	MakeBucket
	RemoveBucket
)

func (k Kind) String() string {
	return [...]string{"put", "update", "delete", "get", "create", "purge", "make bucket", "remove bucket"}[k]
}

func (k Kind) ofBucket() bool { return k == MakeBucket || k == RemoveBucket }

// Input is one request for one key.
type Input struct {
	Kind     Kind
	Key      string
	Value    string // unique per write, so that a read names the write it saw
	Expected uint64 // Update: the revision it must find
	// ID makes a write one that was done already, if one of its id was; empty: it has none. Give it only where its window cannot end.
	ID string
}

// Outcome is what a client heard.
type Outcome uint8

const (
	Done          Outcome = iota
	Refused               // wrong revision, or key not found: certainly not applied
	Unknown               // may have been applied, or may yet be
	NotDone               // nobody took it ('no responders', not sent): certainly not applied, and nothing was learnt
	NoBucket              // certainly not applied: there is no such bucket
	NotUnderstood         // what was answered is none of that: the history fails
)

// Output is the answer to an Input.
type Output struct {
	Outcome  Outcome
	Found    bool   // Get: there is such a key
	Value    string // Get
	Again    bool   // it had been done before: Revision is that of then
	Revision uint64 // of the write, or of what was read; of an Update refused: the one found, if it was told
	Cluster  uint64 // the cluster-wide revision of that, or of a bucket's making or removal; 0: the client is not told
	Said     string // the text of an error, or of what was not understood
}

// History is a record of operations. Safe for use by several clients at once.
type History struct {
	mu    sync.Mutex
	start time.Time
	last  time.Duration // when the last operation that was added ended
	ops   []porcupine.Operation
}

// NewHistory begins a record.
func NewHistory() *History { return &History{start: time.Now()} }

// Record runs one operation of a client and records it.
func (h *History) Record(client int, in Input, do func() Output) Output {
	call := time.Since(h.start).Nanoseconds()
	out := do()
	end := time.Since(h.start).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
	return out
}

// Add records an operation that ran from a moment to another, counted from the history's beginning by a clock of its own. Do not mix
// with Record.
func (h *History) Add(client int, in Input, out Output, from, to time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = max(h.last, to)
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(from), Output: out, Return: int64(to)})
}

// Check judges the history. A checker that runs out of time has not shown anything, so that is an error too.
func (h *History) Check(timeout time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := strange(h.ops); err != nil {
		return err
	}
	if err := revisions(h.ops); err != nil {
		return fmt.Errorf("not linearizable: %w", err)
	}
	result, info := porcupine.CheckOperationsVerbose(model, h.closed(), timeout)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("the checker ran out of time (%v) over %d operations: it has shown nothing", timeout, len(h.ops))
	}
	return fmt.Errorf("not linearizable: %s", h.explain(info))
}

// strange names an answer that was not understood.
func strange(ops []porcupine.Operation) error {
	for _, op := range ops {
		if out := op.Output.(Output); out.Outcome == NotUnderstood {
			return fmt.Errorf("the answer to %+v is not understood: %s", op.Input, out.Said)
		}
	}
	return nil
}

// closed is the history with unknown operations open to its end; reads that were not answered say nothing, nor does a write that was sent again. An id
// that was sent once says nothing either: what the model remembers it copies with each write.
func (h *History) closed() []porcupine.Operation {
	end, sent, times := max(time.Since(h.start), h.last).Nanoseconds(), firstSent(h.ops), map[string]int{}
	for _, op := range h.ops {
		times[op.Input.(Input).ID]++
	}
	var ops []porcupine.Operation
	for _, op := range h.ops {
		switch op.Output.(Output).Outcome {
		case NotDone:
			continue // if it was done all the same, somebody reads a value that nobody wrote
		case Unknown:
			in := op.Input.(Input)
			if first, is := sent[in]; in.Kind == Get || is && first < op.Call {
				continue
			}
			op.Return = end
		}
		if in := op.Input.(Input); times[in.ID] == 1 && !op.Output.(Output).Again {
			in.ID = ""
			op.Input = in
		}
		ops = append(ops, op)
	}
	return ops
}

// firstSent is when each write with a message id was first sent of which nobody heard, or heard that it was done by that. When it is sent again, and nobody hears
// what comes of it, it is either done as it may have been by the first time, or nothing. In another life of its bucket it would be another write.
func firstSent(ops []porcupine.Operation) map[Input]int64 {
	first := map[Input]int64{}
	for _, op := range ops {
		in, out := op.Input.(Input), op.Output.(Output)
		if in.Kind.ofBucket() {
			return nil
		}
		if in.ID == "" || out.Outcome != Unknown && (out.Outcome != Done || out.Again) {
			continue
		}
		if at, is := first[in]; !is || op.Call < at {
			first[in] = op.Call
		}
	}
	return first
}

// explain writes the drawing of the failed history to a file and names it.
func (h *History) explain(info porcupine.LinearizationInfo) string {
	path := fmt.Sprintf("%s/raftbus-history-%d.html", tempDir(), time.Now().UnixNano())
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		return err.Error()
	}
	return "see " + path
}

// register is the state of one key. A revision of 0 with a value means that it is not known: the write's answer was lost.
type register struct {
	missing  bool // there is no bucket
	found    bool
	value    string
	revision uint64 // of the last write, also of a delete
	known    bool   // the revision is known
	ids      string // of the writes done, with their revisions
}

var model = porcupine.Model{
	Partition:         byKey,
	Init:              func() any { return register{known: true} },
	Step:              func(state, in, out any) (bool, any) { return step(state.(register), in.(Input), out.(Output)) },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, op := range history {
		if in := op.Input.(Input); !in.Kind.ofBucket() {
			keys[in.Key] = append(keys[in.Key], op)
		}
	}
	for _, op := range history {
		if in := op.Input.(Input); in.Kind.ofBucket() {
			addTo(keys, in.Key+".", op)
		}
	}
	var list [][]porcupine.Operation
	for _, ops := range keys {
		list = append(list, ops)
	}
	return list
}

// addTo adds an operation of a bucket to the history of each of its keys.
func addTo(keys map[string][]porcupine.Operation, prefix string, op porcupine.Operation) {
	for k := range keys {
		if strings.HasPrefix(k, prefix) {
			keys[k] = append(keys[k], op)
		}
	}
}

// step says whether an answer is possible in a state, and what the state is then.
func step(s register, in Input, out Output) (bool, register) {
	switch {
	case in.Kind.ofBucket():
		return bucket(s, in, out)
	case s.missing || out.Outcome == NoBucket:
		return s.missing && (out.Outcome == NoBucket || out.Outcome == Unknown), s
	case in.Kind == Get:
		return read(s, out)
	case in.ID != "" && s.did(in.ID):
		return again(s, in, out)
	case out.Again:
		return false, s // nothing was done before
	case out.Outcome == Refused:
		return refused(s, in, out)
	case in.Kind == Update && s.known && s.revision != in.Expected:
		// Its turn may come where it does nothing, if nobody heard otherwise.
		return out.Outcome == Unknown, s
	case in.Kind == Delete && !s.found, in.Kind == Create && s.found:
		return out.Outcome == Unknown, s
	case out.Outcome == Done && s.known && out.Revision <= s.revision:
		return false, s // revisions rise (C6)
	}
	after := register{found: in.Kind != Delete && in.Kind != Purge, value: in.Value, revision: out.Revision, known: out.Outcome == Done, ids: s.ids}
	if in.ID != "" {
		after.ids = remember(s.ids, in.ID, out)
	}
	return true, after
}

// Ids are kept as text, since states are compared: "id=revision;" each, with 0 for a write whose answer was lost.

func (r *register) did(id string) bool { return strings.Contains(";"+r.ids, ";"+id+"=") }

func remember(ids, id string, out Output) string {
	list := append(strings.SplitAfter(ids, ";"), fmt.Sprintf("%s=%d;", id, out.Revision))
	slices.Sort(list)
	return strings.Join(list, "")
}

// again is a retry: nothing is done, and it is answered what the first was (C4).
func again(s register, in Input, out Output) (bool, register) {
	if out.Outcome == Unknown {
		return true, s
	}
	lost := fmt.Sprintf(";%s=0;", in.ID)
	told := fmt.Sprintf(";%s=%d;", in.ID, out.Revision)
	ids := ";" + s.ids
	if !out.Again || out.Outcome != Done || !strings.Contains(ids, lost) && !strings.Contains(ids, told) {
		return false, s
	}
	s.ids = strings.Replace(ids, lost, told, 1)[1:]
	return true, s
}

// bucket is what making and removing a bucket does to one of its keys. Revisions begin anew.
func bucket(s register, in Input, out Output) (bool, register) {
	makes := in.Kind == MakeBucket
	if out.Outcome == Refused || out.Outcome == NoBucket || out.Outcome == Unknown && s.missing != makes {
		return s.missing != makes, s // nothing is to be done
	}
	return s.missing == makes, register{missing: !makes, known: true}
}

func read(s register, out Output) (bool, register) {
	if out.Found != s.found {
		return false, s
	}
	if !s.found {
		return true, s
	}
	if out.Value != s.value || s.known && out.Revision != s.revision {
		return false, s
	}
	s.revision, s.known = out.Revision, true
	return true, s
}

func refused(s register, in Input, out Output) (bool, register) {
	switch in.Kind {
	case Delete:
		return !s.found, s
	case Create:
		return s.found, s
	case Update:
		return !s.known || s.revision != in.Expected, s
	}
	return false, s // a put has no reason to be refused
}
