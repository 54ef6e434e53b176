package linear

// Revisions are a bucket's, and not a key's (C6): each key may be right by itself, as Porcupine judges it, where two keys share a revision, or where a write
// has an earlier one than what somebody had heard of another key before it was asked for. A bucket that is made anew counts from 1 again. The cluster's
// revisions go on, over all buckets, and each change takes one: so they say in which life of its bucket a write was done, where clients are told them.

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// revisions judges those of the cluster, and those of each bucket.
func revisions(history []porcupine.Operation) error {
	if err := rising(history, "cluster revision", func(o Output) uint64 { return o.Cluster }); err != nil {
		return err
	}
	if err := onePlace(history); err != nil {
		return err
	}
	buckets := map[string][]porcupine.Operation{}
	for _, op := range history {
		name := bucketOf(op.Input.(Input))
		buckets[name] = append(buckets[name], op)
	}
	for _, ops := range buckets {
		if err := lives(ops); err != nil {
			return err
		}
	}
	return nil
}

func bucketOf(in Input) string {
	name, _, named := strings.Cut(in.Key, ".")
	if in.Kind.ofBucket() || named {
		return name
	}
	return ""
}

// lives judges one bucket. If the history makes or removes it, revisions may begin anew, and only the cluster's tell where.
func lives(ops []porcupine.Operation) error {
	if slices.ContainsFunc(ops, func(op porcupine.Operation) bool { return op.Input.(Input).Kind.ofBucket() }) {
		return anew(ops)
	}
	return rising(ops, "revision", func(o Output) uint64 { return o.Revision })
}

// did reports whether an answer is that of a change which it made, and no other before it.
func did(op porcupine.Operation) bool {
	out := op.Output.(Output)
	return op.Input.(Input).Kind != Get && out.Outcome == Done && !out.Again
}

// rising judges one kind of revisions: each is one change's, and later than all that was heard before that was asked for.
func rising(history []porcupine.Operation, what string, of func(Output) uint64) error {
	var ops []porcupine.Operation
	for _, op := range history {
		if out := op.Output.(Output); out.Outcome == Done && of(out) > 0 {
			ops = append(ops, op)
		}
	}
	asked := slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	answered := slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	heard, taken := uint64(0), map[uint64]porcupine.Operation{}
	for _, w := range asked {
		for ; len(answered) > 0 && answered[0].Return < w.Call; answered = answered[1:] {
			heard = max(heard, of(answered[0].Output.(Output)))
		}
		if !did(w) {
			continue
		}
		r := of(w.Output.(Output))
		if other, is := taken[r]; is {
			return fmt.Errorf("%s %d twice (C6): %+v and %+v", what, r, other.Input, w.Input)
		}
		if taken[r] = w; r <= heard {
			return fmt.Errorf("%s %d of %+v, after one of %d was heard (C6)", what, r, w.Input, heard)
		}
	}
	return nil
}

// onePlace judges whether all that was heard with a cluster revision is of one key, and has one revision there.
func onePlace(history []porcupine.Operation) error {
	first := map[uint64]porcupine.Operation{}
	for _, op := range history {
		in, out := op.Input.(Input), op.Output.(Output)
		if out.Outcome != Done || out.Cluster == 0 {
			continue
		}
		before, is := first[out.Cluster]
		if is && (before.Input.(Input).Key != in.Key || before.Output.(Output).Revision != out.Revision) {
			return fmt.Errorf("cluster revision %d in two places (C6): %+v -> %+v and %+v -> %+v", out.Cluster, before.Input, before.Output, in, out)
		}
		if !is {
			first[out.Cluster] = op
		}
	}
	return nil
}

// anew judges a bucket that is made again, in the order of the cluster's revisions. In each life its own rise from 1, and by no more than the cluster's.
func anew(ops []porcupine.Operation) error {
	var changes []porcupine.Operation
	for _, op := range ops {
		if out := op.Output.(Output); did(op) && out.Cluster > 0 {
			changes = append(changes, op)
		}
	}
	slices.SortFunc(changes, func(a, b porcupine.Operation) int {
		return cmp.Compare(a.Output.(Output).Cluster, b.Output.(Output).Cluster)
	})
	maybe := firstUnknownMaking(ops)
	var before Output
	known := false // before the first of them it is not, since the bucket may have been there
	for _, op := range changes {
		out := op.Output.(Output)
		switch op.Input.(Input).Kind {
		case RemoveBucket:
			continue
		case MakeBucket:
			out.Revision = 0
		default:
			if known && !follows(before, out) && (maybe > op.Return || !follows(Output{Cluster: before.Cluster + 1}, out)) {
				return fmt.Errorf("revision %d of %+v, at cluster revision %d: before it in its bucket was %d, at %d (C6)", out.Revision, op.Input, out.Cluster, before.Revision, before.Cluster)
			}
		}
		before, known = out, true
	}
	return nil
}

// follows reports whether a revision of a bucket may be the next one that was heard of: each takes one of the cluster's.
func follows(a, b Output) bool {
	return b.Revision > a.Revision && b.Cluster > a.Cluster && b.Revision-a.Revision <= b.Cluster-a.Cluster
}

// firstUnknownMaking is when a bucket may first have been made without that the cluster's revision tells when.
func firstUnknownMaking(ops []porcupine.Operation) int64 {
	first := int64(math.MaxInt64)
	for _, op := range ops {
		out := op.Output.(Output)
		if op.Input.(Input).Kind == MakeBucket && (out.Outcome == Unknown || out.Outcome == Done && out.Cluster == 0) {
			first = min(first, op.Call)
		}
	}
	return first
}
