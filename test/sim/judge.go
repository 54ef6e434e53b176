package sim

// A second opinion on what clients saw, by Porcupine, which knows nothing of the ledger and of logs, for one seed in judgedEvery.
// It is told one thing that clients do not know: what became in the end of writes that were not answered, and before which answers
// that was, by their revisions. Without that it would have to try all ways in which they may have happened or not.

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/test/linear"
)

const (
	judgedEvery = 100
	// judgeTimeMax bounds the checker, in real time. One that runs out of it has shown nothing, and that counts as a failure.
	judgeTimeMax = time.Minute
)

// judge has the history of all clients judged.
func (t *trade) judge() {
	err := t.recorded().Check(judgeTimeMax)
	t.world.must(err == nil, "C1", "the second checker: %v", err)
}

func (t *trade) recorded() *linear.History {
	h := linear.NewHistory()
	for i := range t.world.plan.buckets { // no bucket is there yet
		h.Add(-1, linear.Input{Kind: linear.RemoveBucket, Key: bucketName(i)}, linear.Output{}, 0, 1)
	}
	t.matchRemovals()
	known := t.deadlines()
	for _, o := range t.ops {
		switch {
		case o.outcome == answered:
			h.Add(o.client, o.input(), o.told(), o.called+2, o.returned+2)
		case o.outcome != notDone && o.appliedAt > 0:
			if r := t.world.watch.at(o.appliedAt).result.(store.Result); r.Code == store.Done {
				o.ended = r
				h.Add(o.client, o.input(), toldOf(r), o.called+2, max(o.called, known(r.Revision))+2)
			}
		}
	}
	return h
}

// deadlines finds when at the latest a write took effect that has a revision: before the first answer that has a later one.
func (t *trade) deadlines() func(revision uint64) time.Duration {
	var list []*op
	for _, o := range t.ops {
		if o.outcome == answered && !o.reads() && o.answer.result.Code == store.Done {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *op) int { return cmp.Compare(a.answer.result.Revision, b.answer.result.Revision) })
	first := make([]time.Duration, len(list)+1) // of the answers from each on
	first[len(list)] = t.world.now
	for i := len(list) - 1; i >= 0; i-- {
		first[i] = min(list[i].returned, first[i+1])
	}
	return func(revision uint64) time.Duration {
		return first[sort.Search(len(list), func(i int) bool { return list[i].answer.result.Revision > revision })]
	}
}

// matchRemovals says which removals of buckets, not answered, the entries are that nobody was answered for: any will do that was
// asked for in time, since they are alike.
func (t *trade) matchRemovals() {
	open := map[string][]*op{} // in order of when they were asked for
	for _, o := range t.ops {
		if o.removes() && o.outcome != notDone && o.appliedAt == 0 {
			open[o.bucket] = append(open[o.bucket], o)
		}
	}
	for bucket, r := range t.removals {
		for _, at := range r.entries {
			if r.answered[at] == nil && len(open[bucket]) > 0 {
				open[bucket][0].appliedAt, open[bucket] = at, open[bucket][1:]
			}
		}
	}
}

// told is what a client heard.
func (o *op) told() linear.Output {
	if !o.reads() {
		return toldOf(o.answer.result)
	}
	out := linear.Output{Found: o.answer.found, Value: string(o.answer.entry.Value), Revision: o.answer.entry.Sequence, Cluster: o.answer.entry.Revision}
	if o.answer.result.Code == store.NoBucket {
		out.Outcome = linear.NoBucket
	}
	return out
}

func toldOf(r store.Result) linear.Output {
	switch r.Code {
	case store.Done:
		return linear.Output{Revision: r.Sequence, Cluster: r.Revision, Again: r.Again}
	case store.NoBucket:
		return linear.Output{Outcome: linear.NoBucket}
	}
	return linear.Output{Outcome: linear.Refused}
}

// result is what the log says of a write, answered or not.
func (o *op) result() store.Result {
	if o.outcome == answered {
		return o.answer.result
	}
	return o.ended
}

// input is an operation as the checker knows it.
func (o *op) input() linear.Input {
	in := linear.Input{Kind: linear.Get, Key: place(o.bucket, o.key)}
	switch {
	case o.reads():
		return in
	case o.write.AddBucket != nil:
		return linear.Input{Kind: linear.MakeBucket, Key: o.bucket}
	case o.removes():
		return linear.Input{Kind: linear.RemoveBucket, Key: o.bucket}
	}
	w := o.write.Write
	in.Value, in.Expected = string(w.Value), w.Sequence
	if r := o.result(); w.MsgID != "" && r.Code == store.Done {
		in.ID = fmt.Sprintf("%s of %d", w.MsgID, r.Revision) // after the window it is another
	}
	switch {
	case w.Op == command.Purge:
		in.Kind = linear.Purge
	case w.Op == command.Delete:
		in.Kind = linear.Delete
	case w.Condition == command.IfAbsent:
		in.Kind = linear.Create
	case w.Condition == command.IfSequence:
		in.Kind = linear.Update
	default:
		in.Kind = linear.Put
	}
	return in
}
