package busclient

// What a NATS server sends, looked through as it comes, cut at any place: messages for whom the lane knows are taken out of
// it, all else goes on to NATS's client as it came. Where it finds what it does not understand it looks no further, and the
// client gets all from there on.

import (
	"bytes"
	"strings"

	"github.com/nats-io/nats.go"
)

const (
	// controlLineMax is what NATS lets a line of a client have, in bytes, unless its server is told otherwise.
	controlLineMax = 4 << 10
	// messageLineMax bounds the line of a message: what a client said in a line, with more words, or as NATS maps it to another subject.
	messageLineMax = 16 * controlLineMax
	// scanMessageMax bounds the messages that are taken out, in bytes: it is the most that NATS lets max_payload be.
	scanMessageMax = 64 << 20
	// scanReserveMax is how many bytes are set aside on the word of the server alone; beyond it a buffer grows with what came.
	scanReserveMax = 1 << 20
)

type scanState int

const (
	inLine     scanState = iota // at an operation's line, which is held back until it is whole
	inLongLine                  // in the rest of a line that goes on to the client
	inPassing                   // in a message that goes on to the client
	inTaking                    // in a message that is taken out
	stopped
)

// scanner is fed by the goroutine that reads.
type scanner struct {
	find func(sid []byte) *subscriber                    // nil: no message of the lane's
	hand func(to *subscriber, d Delivery, header []byte) // nil: no header; not to be kept
	// final hears an error of the server's for which NATS's client would give the connection up for good, and not connect anew. The client does
	// not hear it: it finds the connection ended, which the server does next (F11).
	final func(text string)

	state          scanState
	line           []byte // held back, or of the message that is being taken out
	left           int    // of a message that goes on
	taking         incoming
	greeting, pong bool // have passed: an INFO, a PONG
	maxPayload     int64
	headers        bool
}

// incoming is a message that is being taken out.
type incoming struct {
	to             *subscriber
	subject, reply string
	header, size   int    // in bytes; size includes the header
	body           []byte // what came of it, and of the line's end behind it
	whole          int    // size with that line's end
}

// feed takes what came from the server, and appends to out what goes on to the client.
func (s *scanner) feed(in, out []byte) []byte {
	for len(in) > 0 {
		switch s.state {
		case inLine:
			in, out = s.readLine(in, out)
		case inLongLine:
			in, out = s.passLine(in, out)
		case inPassing:
			n := min(s.left, len(in))
			in, out = in[n:], append(out, in[:n]...)
			if s.left -= n; s.left == 0 {
				s.state = inLine
			}
		case inTaking:
			in, out = s.take(in, out)
		case stopped:
			return append(out, in...)
		}
	}
	return out
}

// stop has all go on to the client from here on, with what was held back.
func (s *scanner) stop(out []byte) []byte {
	out = append(out, s.line...)
	if s.state == inTaking {
		out = append(out, s.taking.body...)
	}
	s.state, s.line, s.taking = stopped, nil, incoming{}
	return out
}

func (s *scanner) readLine(in, out []byte) (rest, _ []byte) {
	end := bytes.IndexByte(in, '\n') + 1
	if end == 0 {
		s.line = append(s.line, in...)
		if isLong(s.line) {
			out = s.longLine(out)
		}
		return nil, out
	}
	if len(s.line) == 0 && !isLong(in[:end]) {
		return s.act(in[:end], in[end:], out)
	}
	s.line = append(s.line, in[:end]...)
	if isLong(s.line) {
		return in[end:], s.longLineEnded(out)
	}
	line := s.line
	s.line = s.line[:0]
	return s.act(line, in[end:], out)
}

// isLong reports whether a line, or what has come of it, is longer than it may be to be held back.
func isLong(line []byte) bool {
	if len(line) <= controlLineMax {
		return false
	}
	isMessage := bytes.HasPrefix(line, []byte("MSG ")) || bytes.HasPrefix(line, []byte("HMSG "))
	return !isMessage || len(line) > messageLineMax
}

// longLine lets a line pass that only the client may have so long.
func (s *scanner) longLine(out []byte) []byte {
	if !goesOn(s.line) {
		return s.stop(out)
	}
	s.note(s.line)
	out = append(out, s.line...)
	s.state, s.line = inLongLine, nil
	return out
}

func (s *scanner) longLineEnded(out []byte) []byte {
	if out = s.longLine(out); s.state == inLongLine {
		s.state = inLine
	}
	return out
}

func (s *scanner) passLine(in, out []byte) (rest, _ []byte) {
	end := bytes.IndexByte(in, '\n') + 1
	if end == 0 {
		return nil, append(out, in...)
	}
	s.state = inLine
	return in[end:], append(out, in[:end]...)
}

// goesOn reports whether a line is one that is the client's whatever it says.
func goesOn(line []byte) bool {
	for _, op := range []string{"INFO ", "-ERR", "PING\r\n", "PONG\r\n", "+OK\r\n"} {
		if bytes.HasPrefix(line, []byte(op)) {
			return true
		}
	}
	return false
}

// passingErrors begin what NATS's client connects anew after, or takes for no reason to end a connection.
var passingErrors = []string{
	nats.STALE_CONNECTION, nats.PERMISSIONS_ERR, nats.AUTHORIZATION_ERR, nats.AUTHENTICATION_EXPIRED_ERR, nats.AUTHENTICATION_REVOKED_ERR,
	nats.ACCOUNT_AUTHENTICATION_EXPIRED_ERR, nats.MAX_CONNECTIONS_ERR, nats.MAX_ACCOUNT_CONNECTIONS_ERR, nats.MAX_SUBSCRIPTIONS_ERR,
}

// finalError is an error of the server's that is none of these.
func finalError(line []byte) (text string, is bool) {
	rest, is := bytes.CutPrefix(line, []byte("-ERR"))
	if !is {
		return "", false
	}
	text = strings.Trim(strings.TrimSpace(string(rest)), "'")
	for _, passing := range passingErrors {
		if strings.HasPrefix(strings.ToLower(text), passing) {
			return "", false
		}
	}
	return text, true
}

// note remembers how far the greeting is.
func (s *scanner) note(line []byte) {
	switch line[0] {
	case 'I':
		s.greeting = true
		s.maxPayload, s.headers = maxPayloadOf(line), bytes.Contains(line, []byte(`"headers":true`))
	case 'P':
		s.pong = s.pong || line[1] == 'O'
	}
}

// act does what a line says; in is what came behind it. The line is in front of in, or in s.line's room.
func (s *scanner) act(line, in, out []byte) (rest, _ []byte) {
	if text, is := finalError(line); is {
		s.final(text)
		return in, out
	}
	if goesOn(line) {
		s.note(line)
		return in, append(out, line...)
	}
	m, ok := parseMessageLine(line)
	if !ok {
		s.state = stopped
		return in, append(out, line...)
	}
	whole := m.size + len(crlf)
	var to *subscriber
	if m.size <= scanMessageMax {
		to = s.find(m.sid)
	}
	switch {
	case to == nil:
		s.state, s.left = inPassing, whole
		return in, append(out, line...)
	case len(in) >= whole && string(in[m.size:whole]) == crlf:
		s.hand(to, m.delivery(bytes.Clone(in[m.header:m.size]), in[:m.header]), in[:m.header])
		return in[whole:], out
	}
	s.begin(to, m, line)
	return in, out
}

// begin sets room aside for a message whose end has not come yet, or is not as it must be.
func (s *scanner) begin(to *subscriber, m messageLine, line []byte) {
	s.state = inTaking
	s.taking = incoming{to: to, header: m.header, size: m.size, whole: m.size + len(crlf)}
	s.taking.subject, s.taking.reply = m.subjects()
	s.taking.body = make([]byte, 0, min(s.taking.whole, scanReserveMax))
	s.line = append(s.line[:0], line...)
}

// take adds what came to the message that is being taken out. One that does not end as it must is the client's to refuse.
func (s *scanner) take(in, out []byte) (rest, _ []byte) {
	m := &s.taking
	n := min(m.whole-len(m.body), len(in))
	m.body = append(m.body, in[:n]...)
	if len(m.body) < m.whole {
		return nil, out
	}
	if string(m.body[m.size:]) != crlf {
		return in[n:], s.stop(out)
	}
	header, data := m.body[:m.header], m.body[m.header:m.size:m.size]
	d := Delivery{Subject: m.subject, Reply: m.reply, Data: data, NoResponders: saysNoResponders(header, data)}
	to := m.to
	s.state, s.line, s.taking = inLine, s.line[:0], incoming{}
	s.hand(to, d, header)
	return in[n:], out
}

// saysNoResponders reports whether a header is NATS's word that nobody listens.
func saysNoResponders(header, data []byte) bool {
	const status = "NATS/1.0 503"
	return len(data) == 0 && len(header) > len(status) && string(header[:len(status)]) == status && strings.IndexByte(" \r", header[len(status)]) >= 0
}
