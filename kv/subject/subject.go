// Package subject matches the keys of a bucket against subject patterns of NATS: * stands for one token, > at the end for one or
// more. It is pure, and knows no bucket and no store: what a pattern is matched with is for its users to say.
package subject

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrBadPattern says that a text is no pattern: a token is empty or has white space, or > is not the last one.
var ErrBadPattern = errors.New("bad subject pattern: use tokens joined by single dots, * for any one token, > as the last for all the rest")

// Filter matches keys that match any of its patterns. The zero Filter matches every key. It does not change and may be shared.
type Filter struct {
	patterns []pattern // in order of what their keys begin with
	none     bool      // it has no pattern that could match
}

// pattern is one pattern. Its tokens are not kept: clients may have thousands, and each would take more than its text (Q12).
type pattern struct {
	text  string
	fixed int // how much of the text every key that matches begins with; of a literal all
}

// Parse makes a filter of patterns; of none, the one that matches every key. The error is ErrBadPattern.
func Parse(patterns ...string) (Filter, error) {
	var f Filter
	for _, text := range patterns {
		p, err := parse(text)
		if err != nil {
			return Filter{}, err
		}
		f.patterns = append(f.patterns, p)
	}
	f.sort()
	f.pack()
	return f, nil
}

// pack keeps the patterns in no more memory than they need: they are as many as clients say, and kept for as long as those wish (Q12).
func (f *Filter) pack() {
	texts := strings.Join(f.Strings(), "")
	packed := make([]pattern, len(f.patterns))
	for i, p := range f.patterns {
		packed[i] = pattern{texts[:len(p.text)], p.fixed}
		texts = texts[len(p.text):]
	}
	f.patterns = packed
}

func (f Filter) sort() {
	slices.SortFunc(f.patterns, func(a, b pattern) int {
		return cmp.Or(strings.Compare(a.prefix(), b.prefix()), strings.Compare(a.text, b.text))
	})
}

// Under makes a filter of the keys that match any of the patterns once they stand behind a prefix, which is a literal subject: with
// the prefix $KV.app the pattern $KV.*.a.> becomes a.>, and $JS.> matches no key. The error is ErrBadPattern.
func Under(prefix string, patterns ...string) (Filter, error) {
	f, err := Parse(patterns...)
	if err != nil || len(patterns) == 0 {
		return f, err
	}
	rest := f.patterns[:0]
	for _, p := range f.patterns {
		if p, ok := p.under(prefix); ok {
			rest = append(rest, p)
		}
	}
	f = Filter{patterns: rest, none: len(rest) == 0}
	f.sort()
	f.pack()
	return f, nil
}

func parse(text string) (pattern, error) {
	for rest, more := text, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if token == "" || strings.ContainsAny(token, " \t\r\n\f") || token == ">" && more {
			return pattern{}, fmt.Errorf("%w: %q", ErrBadPattern, text)
		}
	}
	return newPattern(text), nil
}

func newPattern(text string) pattern {
	at := 0
	for token := range strings.SplitSeq(text, ".") {
		if token == "*" || token == ">" {
			return pattern{text, at}
		}
		at += len(token) + len(".")
	}
	return pattern{text, len(text)}
}

// tail reports whether > stands at the end.
func (p *pattern) tail() bool { return p.text == ">" || strings.HasSuffix(p.text, ".>") }

// tokens are those before a tail.
func (p *pattern) tokens() []string {
	tokens := strings.Split(p.text, ".")
	if p.tail() {
		tokens = tokens[:len(tokens)-1]
	}
	return tokens
}

func (p *pattern) literal() bool { return p.fixed == len(p.text) }

// prefix is what every key that matches begins with. It ends with a token, unless it is a literal's.
func (p *pattern) prefix() string { return p.text[:p.fixed] }

// under takes a literal prefix off; false if nothing behind it can match.
func (p pattern) under(prefix string) (pattern, bool) {
	if p.literal() {
		rest, is := strings.CutPrefix(p.text, prefix+".")
		return pattern{rest, len(rest)}, is
	}
	rest := p.text
	for token := range strings.SplitSeq(prefix, ".") {
		want, behind, more := strings.Cut(rest, ".")
		switch {
		case want == ">":
			return newPattern(">"), true
		case want != "*" && want != token, !more:
			return pattern{}, false
		}
		rest = behind
	}
	return newPattern(rest), true
}

// fewPatterns are tried one after the other.
const fewPatterns = 4

// Match reports whether the key matches. It allocates nothing. Of many patterns those are tried that begin as the key does: it is for them
// only that it takes the longer the more there are.
func (f Filter) Match(key string) bool {
	if len(f.patterns) > fewPatterns {
		return f.matchMany(key)
	}
	for i := range f.patterns {
		if f.patterns[i].match(key) {
			return true
		}
	}
	return len(f.patterns) == 0 && !f.none
}

// matchMany looks up, token by token, what the key begins with.
func (f Filter) matchMany(key string) bool {
	left := f.patterns
	for end := 0; ; {
		begin := key[:end]
		at, _ := slices.BinarySearchFunc(left, begin, func(p pattern, begin string) int { return strings.Compare(p.prefix(), begin) })
		for left = left[at:]; len(left) > 0 && left[0].fixed == end && left[0].prefix() == begin; left = left[1:] {
			if left[0].match(key) {
				return true
			}
		}
		if end == len(key) || len(left) == 0 || !strings.HasPrefix(left[0].prefix(), begin) {
			return false
		}
		if dot := strings.IndexByte(key[end:], '.'); dot >= 0 {
			end += dot + 1
		} else {
			end = len(key)
		}
	}
}

func (p *pattern) match(key string) bool {
	if p.literal() {
		return key == p.text
	}
	rest, is := strings.CutPrefix(key, p.prefix())
	if !is {
		return false
	}
	for wanted, more := p.text[p.fixed:], true; ; {
		want, behind, further := strings.Cut(wanted, ".")
		if !more || want == ">" {
			return more
		}
		var token string
		if token, rest, more = strings.Cut(rest, "."); want != "*" && token != want {
			return false
		}
		if !further {
			return !more
		}
		wanted = behind
	}
}

// All reports whether the filter matches every key.
func (f Filter) All() bool {
	for i := range f.patterns {
		if f.patterns[i].text == ">" {
			return true
		}
	}
	return len(f.patterns) == 0 && !f.none
}

// Literal is the one key that the filter matches; false if it may match others.
func (f Filter) Literal() (key string, ok bool) {
	if len(f.patterns) == 1 && f.patterns[0].literal() {
		return f.patterns[0].text, true
	}
	return "", false
}

// Literals are the keys that the filter matches, in order, if it may match no others and has so many patterns at most; else none.
func (f Filter) Literals(most int) []string {
	if len(f.patterns) > most || f.Wild() > 0 {
		return nil
	}
	return slices.Compact(f.Strings())
}

// Prefix is what every key that matches begins with. It may be empty.
func (f Filter) Prefix() string {
	if len(f.patterns) == 0 {
		return ""
	}
	first, last := f.patterns[0].prefix(), f.patterns[len(f.patterns)-1].prefix() // what they share all between them share
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	return first[:n]
}

// Strings are the patterns, in an order that is the same whatever order they were given in.
func (f Filter) Strings() []string {
	texts := make([]string, len(f.patterns))
	for i := range f.patterns {
		texts[i] = f.patterns[i].text
	}
	return texts
}

// Wild is how many of the patterns may match more than one key.
func (f Filter) Wild() (count int) {
	for i := range f.patterns {
		if !f.patterns[i].literal() {
			count++
		}
	}
	return count
}

// Overlap reports whether some key could match both patterns. A text that is no pattern overlaps nothing.
func Overlap(one, other string) bool {
	a, err := parse(one)
	if err != nil {
		return false
	}
	b, err := parse(other)
	if err != nil {
		return false
	}
	return a.overlaps(&b)
}

func (p *pattern) overlaps(other *pattern) bool {
	switch {
	case p.literal():
		return other.match(p.text)
	case other.literal():
		return p.match(other.text)
	}
	for rest, left := p.text, other.text; ; {
		token, behind, more := strings.Cut(rest, ".")
		l, after, further := strings.Cut(left, ".")
		switch {
		case token == ">" || l == ">":
			return true
		case token != l && token != "*" && l != "*":
			return false
		case !more || !further:
			return more == further
		}
		rest, left = behind, after
	}
}
