package jetstream

// Where a bucket's messages are published again: the part of NATS's subject mapping that means something for buckets. Tokens of the
// destination may be $1 or {{wildcard(1)}}, for what the first * of the source matched.

import (
	"strconv"
	"strings"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
)

// Republication is where a bucket's messages are published again.
type Republication struct {
	bucket      string
	mapping     mapping
	headersOnly bool
}

// NewRepublication is that of a bucket; nil if it has none.
func NewRepublication(bucket string, s command.Settings) *Republication {
	if s.Republish == nil {
		return nil
	}
	m, ok := newMapping(s.Republish.Source, s.Republish.Destination)
	if !ok {
		return nil // it was made by a version that maps more
	}
	return &Republication{bucket, m, s.Republish.HeadersOnly}
}

// Message is what a stored entry is published again as; false if it is not. The previous sequence is that of the key's entry before it.
func (r *Republication) Message(e store.Entry, previous uint64) (subject string, m Reply, matches bool) {
	subject, matches = r.mapping.to(subjectOf(r.bucket, e.Key))
	if !matches {
		return "", Reply{}, false
	}
	size := len(e.Value)
	if r.headersOnly {
		e.Value = nil
	}
	m = message(r.bucket, e, true)
	m.Header[headerLastSequence] = []string{strconv.FormatUint(previous, 10)}
	if r.headersOnly {
		m.Header[headerSize] = []string{strconv.Itoa(size)}
	}
	return subject, m, true
}

// mapping maps the subjects that match its source.
type mapping struct {
	source, destination []string
	tail                bool // both end in >
}

// mappable reports whether subjects can be mapped so.
func mappable(source, destination string) bool {
	_, ok := newMapping(source, destination)
	return ok
}

func newMapping(source, destination string) (mapping, bool) {
	m := mapping{source: strings.Split(source, "."), destination: strings.Split(destination, ".")}
	last := len(m.source) - 1
	m.tail = m.source[last] == ">"
	if m.tail {
		m.source = m.source[:last]
	}
	if last = len(m.destination) - 1; m.tail != (m.destination[last] == ">") {
		return m, false
	}
	if m.tail {
		m.destination = m.destination[:last]
	}
	wildcards := 0
	for _, token := range m.source {
		if !isToken(token) {
			return m, false
		}
		if token == "*" {
			wildcards++
		}
	}
	for _, token := range m.destination {
		n, is := placeholder(token)
		if !isToken(token) || token == "*" || is && (n < 1 || n > wildcards) || !is && strings.Contains(token, "{{") {
			return m, false
		}
	}
	return m, true
}

// isToken reports whether a text can be a token of a pattern that is not its tail.
func isToken(token string) bool {
	return token != "" && token != ">" && !strings.ContainsAny(token, " \t\r\n\f")
}

// placeholder is the number of the wildcard that a token stands for.
func placeholder(token string) (n int, is bool) {
	digits, is := strings.CutPrefix(token, "$")
	if !is {
		if digits, is = strings.CutPrefix(token, "{{wildcard("); is {
			digits, is = strings.CutSuffix(digits, ")}}")
		}
	}
	if !is {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// to is where a subject is mapped to; false if the source does not match it.
func (m mapping) to(subject string) (string, bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < len(m.source) || m.tail == (len(tokens) == len(m.source)) {
		return "", false
	}
	var matched []string
	for i, token := range m.source {
		switch token {
		case "*":
			matched = append(matched, tokens[i])
		case tokens[i]:
		default:
			return "", false
		}
	}
	var to []string
	for _, token := range m.destination {
		if n, is := placeholder(token); is {
			token = matched[n-1]
		}
		to = append(to, token)
	}
	return strings.Join(append(to, tokens[len(m.source):]...), "."), true
}
