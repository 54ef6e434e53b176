package linear

// Revisions are a bucket's, and not a key's (C6): each key may be right by itself, as Porcupine judges it, where two keys share a revision, or where a write
// has an earlier one than what somebody had heard of another key before it was asked for.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// revisions judges those of each bucket that the history neither makes nor removes: else they may begin anew.
func revisions(history []porcupine.Operation) error {
	buckets := map[string][]porcupine.Operation{}
	var changed []string
	for _, op := range history {
		in := op.Input.(Input)
		if in.Kind.ofBucket() {
			changed = append(changed, in.Key)
		} else if out := op.Output.(Output); out.Outcome == Done && out.Revision > 0 {
			bucket, _, named := strings.Cut(in.Key, ".")
			if !named {
				bucket = ""
			}
			buckets[bucket] = append(buckets[bucket], op)
		}
	}
	for name, ops := range buckets {
		if slices.Contains(changed, name) {
			continue
		}
		if err := rising(ops); err != nil {
			return err
		}
	}
	return nil
}

// rising judges the answers of one bucket.
func rising(ops []porcupine.Operation) error {
	asked := slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	answered := slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	heard, taken := uint64(0), map[uint64]porcupine.Operation{}
	for _, w := range asked {
		for ; len(answered) > 0 && answered[0].Return < w.Call; answered = answered[1:] {
			heard = max(heard, answered[0].Output.(Output).Revision)
		}
		out := w.Output.(Output)
		if w.Input.(Input).Kind == Get || out.Again {
			continue
		}
		if other, is := taken[out.Revision]; is {
			return fmt.Errorf("revision %d twice (C6): %+v and %+v", out.Revision, other.Input, w.Input)
		}
		if taken[out.Revision] = w; out.Revision <= heard {
			return fmt.Errorf("revision %d of %+v, after one of %d was heard (C6)", out.Revision, w.Input, heard)
		}
	}
	return nil
}
