package sim

// Making a failure smaller: as few faults, as good a bus and as short a time as still break the same promise. A run with less
// is another run, so each attempt is luck; what is left of a failure after a few hundred attempts is short enough to be read.

import (
	"slices"
	"time"
)

// attemptsMax bounds how often a failing seed is run again.
const attemptsMax = 300

type shrinker struct {
	seed    uint64
	promise string
	left    int
	best    variant
}

// shrink finds a smaller variant of a failing seed.
func shrink(r result, v variant) variant {
	s := &shrinker{seed: r.seed, promise: r.wrong.promise, left: attemptsMax, best: v}
	s.best.faults = append([]int{}, r.fired...)
	if !s.fails(s.best) {
		return v
	}
	for _, c := range calms {
		s.try(func(v *variant) { v.calm = append(slices.Clone(v.calm), c.name) })
	}
	for k := range kinds {
		s.try(func(v *variant) {
			v.faults = slices.DeleteFunc(slices.Clone(v.faults), func(n int) bool { return n%int(kinds) == int(k) })
		})
	}
	s.fewer()
	s.shorter(r.at)
	return s.best
}

// try takes a change over if what fails still does. It reports whether.
func (s *shrinker) try(change func(*variant)) bool {
	v := s.best
	change(&v)
	if !s.fails(v) {
		return false
	}
	s.best = v
	return true
}

func (s *shrinker) fails(v variant) bool {
	if s.left--; s.left < 0 {
		return false
	}
	r := runSeed(s.seed, options{variant: v})
	return r.wrong != nil && r.wrong.promise == s.promise
}

// fewer leaves out faults: half of them, then quarters, and so on to single ones.
func (s *shrinker) fewer() {
	for size := (len(s.best.faults) + 1) / 2; size > 0 && s.left > 0; {
		less := false
		for from := 0; from < len(s.best.faults); {
			if s.try(func(v *variant) { v.faults = without(v.faults, from, from+size) }) {
				less = true
			} else {
				from += size
			}
		}
		if size == 1 && !less {
			return
		}
		size = max(size/2, 1)
	}
}

func without(list []int, from, to int) []int {
	to = min(to, len(list))
	return slices.Concat(list[:from:from], list[to:])
}

// shorter has the faults end earlier.
func (s *shrinker) shorter(failed time.Duration) {
	if s.best.chaos == 0 {
		s.try(func(v *variant) { v.chaos = failed })
	}
	for s.best.chaos > 100*time.Millisecond && s.try(func(v *variant) { v.chaos /= 2 }) {
	}
}
