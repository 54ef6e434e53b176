package leaf

// A set of subjects, by their tokens, so that neither a subject is compared with each pattern of the set, nor a pattern with each
// subject: an account may hold many thousands of inboxes.

import "strings"

// The two wildcards of NATS: for one token, and for all that follow.
const (
	anyToken = "*"
	anyRest  = ">"
)

// tree is a set of patterns. The zero value is empty. A visit to a node of it happens at most once in each function.
type tree struct {
	root node
	size int
}

type node struct {
	next      map[string]*node
	one, rest *node  // of the wildcards, which most patterns end with
	pattern   string // that ends here
	ends      bool
}

// hasWildcard reports whether a subject is a pattern for others.
func hasWildcard(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == anyToken || token == anyRest {
			return true
		}
	}
	return false
}

// add reports whether the pattern is new.
func (t *tree) add(pattern string) bool {
	n := &t.root
	for token := range strings.SplitSeq(pattern, ".") {
		n = n.grow(token)
	}
	if n.ends {
		return false
	}
	n.pattern, n.ends = pattern, true
	t.size++
	return true
}

func (n *node) grow(token string) *node {
	if found := n.child(token); found != nil {
		return found
	}
	made := &node{}
	switch token {
	case anyToken:
		n.one = made
	case anyRest:
		n.rest = made
	default:
		if n.next == nil {
			n.next = map[string]*node{}
		}
		n.next[strings.Clone(token)] = made // not the whole pattern, for the sake of a token others share
	}
	return made
}

func (n *node) child(token string) *node {
	switch token {
	case anyToken:
		return n.one
	case anyRest:
		return n.rest
	}
	return n.next[token]
}

// remove reports whether the pattern was there.
func (t *tree) remove(pattern string) bool {
	removed := t.root.remove(pattern)
	if removed {
		t.size--
	}
	return removed
}

func (n *node) remove(pattern string) bool {
	token, rest, more := strings.Cut(pattern, ".")
	child := n.child(token)
	switch {
	case child == nil:
		return false
	case more:
		if !child.remove(rest) {
			return false
		}
	case !child.ends:
		return false
	default:
		child.pattern, child.ends = "", false
	}
	if child.empty() {
		n.drop(token)
	}
	return true
}

func (n *node) empty() bool {
	return !n.ends && n.one == nil && n.rest == nil && len(n.next) == 0
}

func (n *node) drop(token string) {
	switch token {
	case anyToken:
		n.one = nil
	case anyRest:
		n.rest = nil
	default:
		delete(n.next, token)
	}
}

// match reports whether a pattern of the set holds the subject, or all of it if it is a pattern itself.
func (t *tree) match(subject string) bool { return t.root.match(subject) }

func (n *node) match(subject string) bool {
	if n == nil {
		return false
	}
	if n.rest != nil {
		return true
	}
	token, rest, more := strings.Cut(subject, ".")
	if token == anyRest {
		return false
	}
	var exact *node
	if token != anyToken {
		exact = n.next[token]
	}
	if !more {
		return exact != nil && exact.ends || n.one != nil && n.one.ends
	}
	return exact.match(rest) || n.one.match(rest)
}

// within calls found with each subject of the set that the pattern holds. The set must hold no patterns.
func (t *tree) within(pattern string, found func(subject string)) { t.root.within(pattern, found) }

func (n *node) within(pattern string, found func(string)) {
	token, rest, more := strings.Cut(pattern, ".")
	switch token {
	case anyRest:
		n.below(found)
	case anyToken:
		for _, child := range n.next {
			child.take(rest, more, found)
		}
	default:
		if child := n.next[token]; child != nil {
			child.take(rest, more, found)
		}
	}
}

func (n *node) take(rest string, more bool, found func(string)) {
	switch {
	case more:
		n.within(rest, found)
	case n.ends:
		found(n.pattern)
	}
}

// below is all that is longer than the node's own tokens.
func (n *node) below(found func(string)) {
	for _, child := range n.next {
		if child.ends {
			found(child.pattern)
		}
		child.below(found)
	}
}
