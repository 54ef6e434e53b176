package subject

// Whether one pattern of a filter matches all that another does: such filters are refused.

import (
	"slices"
	"sort"
	"strings"
)

// Redundant reports whether one of the patterns matches all that another does. Those with wildcards are compared in blocks, each with the patterns that
// begin as one of it does: what it takes grows with the size of the patterns, and with their product only by the block (Q12).
func (f Filter) Redundant() bool {
	redundant, _ := f.redundant()
	return redundant
}

// redundant counts how many tokens are compared with a block.
func (f Filter) redundant() (redundant bool, steps int) {
	for i := 1; i < len(f.patterns); i++ {
		if f.patterns[i].text == f.patterns[i-1].text {
			return true, 0
		}
	}
	for next := 0; next < len(f.patterns); {
		var b block
		next = b.gather(f.patterns, next)
		for i := b.from; i < b.to; i++ {
			covers, compared := b.covers(&f.patterns[i], i)
			if steps += compared; covers {
				return true, steps
			}
		}
	}
	return false, steps
}

// block is some patterns with wildcards, numbered.
type block struct {
	members  []int // their places, in order
	from, to int   // the patterns that begin as one of them does
	at       []token
}

// token is what the patterns of a block have at one place.
type token struct {
	any         set            // those that have * there
	named       map[string]set // those that have a name
	ended, tail set            // those that have no more tokens; and > instead
}

// set is of members of a block.
type set [4]uint64

const blockMax = len(set{}) * 64

func (s *set) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s *set) intersects(other *set) bool {
	return s[0]&other[0]|s[1]&other[1]|s[2]&other[2]|s[3]&other[3] != 0
}

// keep removes who is in neither of two.
func (s *set) keep(one *set, other set) {
	for i := range s {
		s[i] &= one[i] | other[i]
	}
}

// gather takes patterns from a place on, and returns where the next block begins.
func (b *block) gather(patterns []pattern, next int) int {
	for ; next < len(patterns) && len(b.members) < blockMax; next++ {
		p := &patterns[next]
		if p.literal() {
			continue
		}
		if len(b.members) == 0 { // what it covers may stand before it only with the same beginning
			b.from = sort.Search(next, func(i int) bool { return patterns[i].prefix() >= p.prefix() })
		}
		b.to = max(b.to, next+sort.Search(len(patterns)-next, func(i int) bool { return !strings.HasPrefix(patterns[next+i].prefix(), p.prefix()) }))
		b.add(p, next)
	}
	return next
}

func (b *block) add(p *pattern, place int) {
	number := len(b.members)
	b.members = append(b.members, place)
	tokens := p.tokens()
	for len(b.at) <= len(tokens) {
		b.at = append(b.at, token{})
	}
	for i, name := range tokens {
		at := &b.at[i]
		if name == "*" {
			at.any.add(number)
			continue
		}
		if at.named == nil {
			at.named = map[string]set{}
		}
		named := at.named[name]
		named.add(number)
		at.named[name] = named
	}
	if end := &b.at[len(tokens)]; p.tail() {
		end.tail.add(number)
	} else {
		end.ended.add(number)
	}
}

// covers reports whether one of the block matches all that the pattern at a place does, which may be in it itself.
func (b *block) covers(p *pattern, place int) (covers bool, compared int) {
	left := set{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	if i, is := slices.BinarySearch(b.members, place); is {
		left[i/64] &^= 1 << (i % 64)
	}
	rest, more := p.text, true
	if p.tail() {
		rest, more = strings.CutSuffix(strings.TrimSuffix(rest, ">"), ".")
	}
	for ; more && compared < len(b.at) && left != (set{}); compared++ {
		at := &b.at[compared]
		if left.intersects(&at.tail) {
			return true, compared
		}
		var name string
		name, rest, more = strings.Cut(rest, ".")
		left.keep(&at.any, at.named[name])
	}
	switch {
	case more || compared == len(b.at):
		return false, compared
	case p.tail():
		return left.intersects(&b.at[compared].tail), compared
	}
	return left.intersects(&b.at[compared].ended), compared
}
