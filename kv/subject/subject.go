// Package subject matches the keys of a bucket against subject patterns of NATS: * stands for one token, > at the end for one or
// more. It is pure, and knows no bucket and no store: what a pattern is matched with is for its users to say.
package subject

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBadPattern says that a text is no pattern: a token is empty or has white space, or > is not the last one.
var ErrBadPattern = errors.New("bad subject pattern: use tokens joined by single dots, * for any one token, > as the last for all the rest")

// Filter matches keys that match any of its patterns. The zero Filter matches every key. It does not change and may be shared.
type Filter struct {
	patterns []pattern
	none     bool // it has no pattern that could match
}

// pattern is one pattern, cut into tokens.
type pattern struct {
	text    string
	tokens  []string // without a tail
	tail    bool     // > follows
	literal bool
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
	return f, nil
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
		if p, ok := p.under(strings.Split(prefix, ".")); ok {
			rest = append(rest, p)
		}
	}
	return Filter{patterns: rest, none: len(rest) == 0}, nil
}

func parse(text string) (pattern, error) {
	tokens := strings.Split(text, ".")
	for i, token := range tokens {
		if token == "" || strings.ContainsAny(token, " \t\r\n\f") || token == ">" && i < len(tokens)-1 {
			return pattern{}, fmt.Errorf("%w: %q", ErrBadPattern, text)
		}
	}
	return newPattern(tokens), nil
}

func newPattern(tokens []string) pattern {
	p := pattern{text: strings.Join(tokens, "."), tokens: tokens, literal: true}
	if last := len(tokens) - 1; tokens[last] == ">" {
		p.tokens, p.tail, p.literal = tokens[:last], true, false
	}
	for _, token := range p.tokens {
		p.literal = p.literal && token != "*"
	}
	return p
}

// under takes a literal prefix off; false if nothing behind it can match.
func (p pattern) under(prefix []string) (pattern, bool) {
	for i, token := range prefix {
		switch {
		case i == len(p.tokens):
			return newPattern([]string{">"}), p.tail
		case p.tokens[i] != "*" && p.tokens[i] != token:
			return pattern{}, false
		}
	}
	rest := p.tokens[len(prefix):len(p.tokens):len(p.tokens)]
	if p.tail {
		rest = append(rest, ">")
	}
	if len(rest) == 0 {
		return pattern{}, false
	}
	return newPattern(rest), true
}

// Match reports whether the key matches. It allocates nothing.
func (f Filter) Match(key string) bool {
	for i := range f.patterns {
		if f.patterns[i].match(key) {
			return true
		}
	}
	return f.All()
}

func (p *pattern) match(key string) bool {
	if p.literal {
		return key == p.text
	}
	rest, more := key, true
	for _, want := range p.tokens {
		if !more {
			return false
		}
		var token string
		if token, rest, more = strings.Cut(rest, "."); want != "*" && token != want {
			return false
		}
	}
	return more == p.tail
}

// All reports whether the filter matches every key.
func (f Filter) All() bool {
	for i := range f.patterns {
		if p := &f.patterns[i]; p.tail && len(p.tokens) == 0 {
			return true
		}
	}
	return len(f.patterns) == 0 && !f.none
}

// Literal is the one key that the filter matches; false if it may match others.
func (f Filter) Literal() (key string, ok bool) {
	if len(f.patterns) == 1 && f.patterns[0].literal {
		return f.patterns[0].text, true
	}
	return "", false
}

// Prefix is what every key that matches begins with. It may be empty.
func (f Filter) Prefix() string {
	if len(f.patterns) == 0 {
		return ""
	}
	common := f.patterns[0].prefix()
	for i := range f.patterns[1:] {
		other := f.patterns[i+1].prefix()
		n := 0
		for n < min(len(common), len(other)) && common[n] == other[n] {
			n++
		}
		common = common[:n]
	}
	return common
}

func (p *pattern) prefix() string {
	if p.literal {
		return p.text
	}
	n := 0
	for _, token := range p.tokens {
		if token == "*" {
			break
		}
		n += len(token) + 1
	}
	return p.text[:n]
}

// Strings are the patterns.
func (f Filter) Strings() []string {
	texts := make([]string, len(f.patterns))
	for i := range f.patterns {
		texts[i] = f.patterns[i].text
	}
	return texts
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
	short, long := &a, &b
	if len(short.tokens) > len(long.tokens) {
		short, long = long, short
	}
	for i, token := range short.tokens {
		if l := long.tokens[i]; token != l && token != "*" && l != "*" {
			return false
		}
	}
	if len(short.tokens) == len(long.tokens) {
		return short.tail == long.tail
	}
	return short.tail
}
