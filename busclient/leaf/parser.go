package leaf

// What a server says, cut into operations. Whoever answers on the port is not believed: lines and messages are bounded, and
// memory is taken as the bytes arrive, not as they are announced.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

const (
	// lineBytesMax bounds a line. The longest are INFO with long lists of permissions.
	lineBytesMax = 1 << 20
	// messageBytesMax bounds a message, whatever max_payload the server says. It is what NATS itself bounds max_payload to.
	messageBytesMax = 64 << 20
	// readBytes is what is read at once, and bufferBytesKept what is kept for the message to come.
	readBytes       = 64 << 10
	bufferBytesKept = 1 << 20
	digitsMax       = 9
)

type opKind uint8

const (
	opInfo opKind = iota + 1
	opPing
	opPong
	opOK
	opErr
	opInterest // LS+
	opNoInterest
	opMessage
	opTooLarge // a message over max_payload, which was skipped
)

// operation is one thing that was said. What it points to holds until the next one is read.
type operation struct {
	kind         opKind
	text         []byte // of INFO and -ERR
	subject      []byte
	queue        []byte // of LS+ and LS-; nil: none
	reply        []byte
	header, data []byte
}

type parser struct {
	r          *bufio.Reader
	payloadMax int // of messages that are read
	line       []byte
	payload    []byte
	fields     [][]byte
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReaderSize(r, readBytes)} }

// next reads one operation. After an error there is nothing more to be read.
func (p *parser) next() (operation, error) {
	line, err := p.readLine()
	if err != nil {
		return operation{}, err
	}
	verb, rest := cutWord(line)
	switch string(verb) {
	case "PING":
		return operation{kind: opPing}, nil
	case "PONG":
		return operation{kind: opPong}, nil
	case "+OK":
		return operation{kind: opOK}, nil
	case "INFO":
		return operation{kind: opInfo, text: rest}, nil
	case "-ERR":
		return operation{kind: opErr, text: bytes.Trim(rest, " '")}, nil
	case "LS+":
		return p.interest(opInterest, rest)
	case "LS-":
		return p.interest(opNoInterest, rest)
	case "LMSG":
		return p.message(rest, false)
	case "HMSG":
		return p.message(rest, true)
	}
	return operation{}, protocolError("%.32q", line)
}

// readLine returns a copy of the next line without its end, since what is read next overwrites the reader's buffer.
func (p *parser) readLine() ([]byte, error) {
	p.line = kept(p.line)
	for {
		part, err := p.r.ReadSlice('\n')
		if p.line = append(p.line, part...); len(p.line) > lineBytesMax {
			return nil, protocolError("a line longer than %d bytes", lineBytesMax)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(p.line[:len(p.line)-1], []byte("\r")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// kept is a buffer to be used again, unless it has grown beyond what is worth keeping.
func kept(b []byte) []byte {
	if cap(b) > bufferBytesKept {
		return nil
	}
	return b[:0]
}

// interest reads 'subject' or 'subject queue', and a weight after the queue of an LS+.
func (p *parser) interest(kind opKind, rest []byte) (operation, error) {
	p.split(rest)
	n := len(p.fields)
	if n == 0 || n == 3 && kind == opNoInterest || n == 2 && kind == opInterest || n > 3 {
		return operation{}, protocolError("%.64q as a subscription", rest)
	}
	op := operation{kind: kind, subject: p.fields[0]}
	if n > 1 {
		op.queue = p.fields[1]
	}
	return op, nil
}

// message reads the rest of a message's line, which is 'subject [reply] sizes', and the message. The last of the sizes is that of all, the one
// before it that of the header, if there is one. There are other forms for queue groups, which a server uses to who is in one.
func (p *parser) message(rest []byte, hasHeader bool) (operation, error) {
	p.split(rest)
	fields, op := p.fields, operation{kind: opMessage}
	header, size := 0, -1
	if n := len(fields); n > 0 {
		size, fields = number(fields[n-1]), fields[:n-1]
	}
	if n := len(fields); hasHeader && n > 0 {
		header, fields = number(fields[n-1]), fields[:n-1]
	}
	if size < 0 || header < 0 || header > size || size > messageBytesMax || !op.address(fields) {
		return operation{}, protocolError("%.64q as a message", rest)
	}
	if size > p.payloadMax {
		_, err := p.r.Discard(size + len("\r\n"))
		return operation{kind: opTooLarge, subject: op.subject}, err
	}
	payload, err := p.readPayload(size)
	if err != nil {
		return operation{}, err
	}
	op.header, op.data = payload[:header:header], payload[header:]
	return op, nil
}

// address takes what is before the sizes of a message.
func (op *operation) address(fields [][]byte) bool {
	switch len(fields) {
	case 2:
		op.reply = fields[1]
	case 1:
	default:
		return false
	}
	op.subject = fields[0]
	return true
}

// readPayload reads a message of that size and the end of line after it. The buffer grows with what has come.
func (p *parser) readPayload(size int) ([]byte, error) {
	p.payload = kept(p.payload)
	for whole := size + len("\r\n"); len(p.payload) < whole; {
		had := len(p.payload)
		part := min(whole-had, readBytes)
		p.payload = slices.Grow(p.payload, part)[:had+part]
		if _, err := io.ReadFull(p.r, p.payload[had:]); err != nil {
			return nil, err
		}
	}
	if string(p.payload[size:]) != "\r\n" {
		return nil, protocolError("a message that does not end where it should")
	}
	return p.payload[:size:size], nil
}

// split cuts the line into words.
func (p *parser) split(line []byte) {
	p.fields = p.fields[:0]
	for word, rest := cutWord(line); len(word) > 0; word, rest = cutWord(rest) {
		p.fields = append(p.fields, word)
	}
}

// cutWord returns the first word of a line, and what is after it.
func cutWord(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		return line[:i], line[i+1:]
	}
	return line, nil
}

// number reads a size; -1: it is none.
func number(word []byte) (n int) {
	if len(word) == 0 || len(word) > digitsMax {
		return -1
	}
	for _, c := range word {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
