// Package headers keeps what clients have stored as headers from meaning something to NATS, or to its clients, in the messages in which it is sent on.
package headers

import "bytes"

const (
	end    = "\r\n"
	status = "Status"
	// traceOff is what JetStream writes in the place of a trace's destination: no subject, and a server that reads it looks no further.
	traceOff = traceDest + ": trace disabled"

	traceDest   = "Nats-Trace-Dest"
	traceParent = "traceparent"
)

// Harmless is stored headers, as on the wire, as they may be sent; bare: without a body. All that is sent on has to go through it, since what was stored
// by an earlier release is as it was put (W2, L9):
//
// A server traces messages for who sends them. What one must not send to a destination of traces is not delivered at all, and the destination
// is for whoever put the headers to choose, or, where there is a traceparent, for who configured the account. So tracing is turned off, as JetStream does.
//
// nats.go reads the status of a message from the header Status, if the message has no body: it takes what has one for a heartbeat, or an error. JetStream
// drops a status that is in the first line; when it gets here it is a header.
func Harmless(block []byte, bare bool) []byte {
	of := look(block, bare)
	if !of.dest && !of.status && (of.off || !of.parent) {
		return block
	}
	b := make([]byte, 0, len(block)+len(traceOff)+len(end))
	first, rest, _ := bytes.Cut(block, []byte(end))
	b = append(append(b, first...), end...)
	none := len(b)
	if of.dest || of.off || of.parent {
		b = append(b, traceOff+end...)
	}
	for line := range bytes.SplitSeq(rest, []byte(end)) {
		name := nameOf(line)
		if len(line) == 0 || is(name, traceDest) || of.status && (string(name) == status || string(name) == "Description") {
			continue
		}
		b = append(append(b, line...), end...)
	}
	if len(b) == none {
		return nil
	}
	return append(b, end...)
}

// found is what a block has: a destination of traces, one that is turned off, a traceparent, and a status that counts.
type found struct{ dest, off, parent, status bool }

func look(block []byte, bare bool) (of found) {
	for line := range bytes.SplitSeq(block, []byte(end)) {
		switch name := nameOf(line); {
		case string(line) == traceOff:
			of.off = true
		case is(name, traceDest):
			of.dest = true
		case is(name, traceParent):
			of.parent = true
		case bare && string(name) == status:
			of.status = true
		}
	}
	return of
}

func nameOf(line []byte) []byte {
	name, _, _ := bytes.Cut(line, []byte(":"))
	return name
}

func is(name []byte, want string) bool { return bytes.EqualFold(name, []byte(want)) }
