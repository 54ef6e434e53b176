package leaf

// Which subjects the clients of the account listen on, as the server says it, and who wants to know about which.

import (
	"strings"
	"sync"
)

const (
	// tokenBytes is what a token of a subject costs in memory, about, beside its own bytes.
	tokenBytes = 192
)

// interest is safe for use by several goroutines; one of them alone, the reader of the connection, changes what is listened to.
type interest struct {
	bytesMax, tokensMax int

	mu       sync.Mutex
	known    bool // what there is at the beginning of a connection has been said
	literal  map[string]struct{}
	patterns tree
	bytes    int
	watched  map[string]*watch
	subjects tree // of watched
}

type watch struct {
	users int
	told  bool // what was said about it last
}

// change is news about a subject that is watched.
type change struct {
	subject    string
	interested bool
}

func newInterest(bytesMax, tokensMax int) *interest {
	return &interest{bytesMax: bytesMax, tokensMax: tokensMax, literal: map[string]struct{}{}, watched: map[string]*watch{}}
}

// has reports whether a subscription takes the subject. i.mu is held.
func (i *interest) has(subject string) bool {
	if !i.known {
		return false
	}
	_, exact := i.literal[subject]
	return exact || i.patterns.match(subject)
}

// watch reports whether a subscription takes the subject, and has changes told from now on.
func (i *interest) watch(subject string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.watched[subject]
	if w == nil {
		w = &watch{told: i.has(subject)}
		i.watched[subject] = w
		i.subjects.add(subject)
	}
	w.users++
	return w.told
}

func (i *interest) unwatch(subject string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.watched[subject]
	if w == nil {
		return
	}
	if w.users--; w.users == 0 {
		delete(i.watched, subject)
		i.subjects.remove(subject)
	}
}

// add is told of a subject that is listened on, and returns whose state that changes. One of more tokens than a watched subject has takes none of those, be it
// a pattern or not, and is passed over: patterns of thousands of tokens, which a client may listen on, would soon cost all there is.
func (i *interest) add(subject string) ([]change, error) {
	if tokensOf(subject) > i.tokensMax {
		return nil, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.insert(subject) {
		return nil, nil
	}
	if i.bytes += cost(subject); i.bytes > i.bytesMax {
		return nil, errTooMuch
	}
	return i.news(subject), nil
}

func (i *interest) insert(subject string) bool {
	if hasWildcard(subject) {
		return i.patterns.add(subject)
	}
	_, had := i.literal[subject]
	i.literal[subject] = struct{}{}
	return !had
}

// remove is told of a subject that nobody listens on any more.
func (i *interest) remove(subject string) []change {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, literal := i.literal[subject]; literal {
		delete(i.literal, subject)
	} else if !i.patterns.remove(subject) {
		return nil
	}
	i.bytes -= cost(subject)
	return i.news(subject)
}

// cost is about what a subject takes in memory. It is bounded because others choose them.
func cost(subject string) int {
	tokens := 1
	if hasWildcard(subject) {
		tokens += tokensOf(subject)
	}
	return len(subject) + tokens*tokenBytes
}

func tokensOf(subject string) int { return strings.Count(subject, ".") + 1 }

// news looks at the watched subjects that a change of one subscription can have changed.
func (i *interest) news(subject string) (changes []change) {
	if !i.known || len(i.watched) == 0 {
		return nil
	}
	if w := i.watched[subject]; w != nil {
		changes = i.look(changes, subject, w)
	}
	if hasWildcard(subject) {
		i.subjects.within(subject, func(s string) { changes = i.look(changes, s, i.watched[s]) })
	}
	return changes
}

func (i *interest) look(changes []change, subject string, w *watch) []change {
	now := i.has(subject)
	if now == w.told {
		return changes
	}
	w.told = now
	return append(changes, change{subject, now})
}

// complete says that the server has said all there was, and returns what is different from before the connection was lost.
func (i *interest) complete() (changes []change) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known = true
	for subject, w := range i.watched {
		changes = i.look(changes, subject, w)
	}
	return changes
}

// forget drops what a server said whose connection is lost. What was told of watched subjects stands until the next one has spoken.
func (i *interest) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known, i.bytes, i.patterns = false, 0, tree{}
	i.literal = map[string]struct{}{}
}
