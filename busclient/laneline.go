package busclient

// The lines of NATS's protocol that a lane reads: the messages among what a server sends, the subscriptions among what a
// client sends.

import (
	"bytes"
	"strings"

	"github.com/nats-io/nats.go"
)

const crlf = "\r\n"

// messageLine is what a MSG or an HMSG says of the message behind it. It refers to the line.
type messageLine struct {
	subject, sid, reply []byte
	header, size        int // in bytes; size includes the header, which only an HMSG has
}

// parseMessageLine reads "MSG <subject> <sid> [reply] <size>" and "HMSG <subject> <sid> [reply] <header size> <size>".
func parseMessageLine(line []byte) (m messageLine, ok bool) {
	words, n, ok := split6(line)
	if !ok {
		return m, false
	}
	sizes := 0
	switch string(words[0]) {
	case "MSG":
		sizes = 1
	case "HMSG":
		sizes = 2
	}
	if sizes == 0 || n < 3+sizes || n > 4+sizes {
		return m, false
	}
	m.subject, m.sid = words[1], words[2]
	if n == 4+sizes {
		m.reply = words[3]
	}
	if m.size, ok = parseSize(words[n-1]); ok && sizes == 2 {
		m.header, ok = parseSize(words[n-2])
	}
	return m, ok && m.header <= m.size
}

// subjects are copies, which need one piece of memory between them.
func (m *messageLine) subjects() (subject, reply string) {
	both := string(m.subject) + " " + string(m.reply)
	return both[:len(m.subject)], both[len(m.subject)+1:]
}

func (m *messageLine) delivery(data, header []byte) Delivery {
	d := Delivery{Data: data, NoResponders: saysNoResponders(header, data)}
	d.Subject, d.Reply = m.subjects()
	return d
}

// split6 cuts a line that ends as it must into its words; there may be up to six.
func split6(line []byte) (words [6][]byte, n int, ok bool) {
	line, ok = bytes.CutSuffix(line, []byte(crlf))
	for ok && len(line) > 0 {
		end := bytes.IndexByte(line, ' ')
		if end < 0 {
			end = len(line)
		}
		if end > 0 {
			if n == len(words) {
				return words, n, false
			}
			words[n] = line[:end]
			n++
		}
		line = line[min(end+1, len(line)):]
	}
	return words, n, ok
}

// parseSize reads a number of bytes: up to nine digits, as NATS's client takes them.
func parseSize(word []byte) (n int, ok bool) {
	if len(word) == 0 || len(word) > 9 {
		return 0, false
	}
	for _, digit := range word {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int(digit-'0')
	}
	return n, true
}

// subscriptions tells the subscriptions that begin and end in whole operations of a client.
func subscriptions(operations []byte, begin func(subject, sid string), end func(sid string)) {
	for len(operations) > 0 {
		i := bytes.IndexByte(operations, '\n') + 1
		if i == 0 {
			return
		}
		words, n, ok := split6(operations[:i])
		operations = operations[i:]
		if !ok || n < 2 {
			continue
		}
		switch string(words[0]) {
		case "SUB":
			begin(string(words[1]), string(words[n-1]))
		case "UNSUB":
			if n == 2 { // with a third word, it ends after so many messages: which nobody here asks for
				end(string(words[1]))
			}
		case "PUB", "HPUB":
			size, _ := parseSize(words[n-1])
			operations = operations[min(size+len(crlf), len(operations)):]
		}
	}
}

// maxPayloadOf is what an INFO says of it; 0: nothing.
func maxPayloadOf(info []byte) (n int64) {
	const name = `"max_payload":`
	_, value, _ := bytes.Cut(info, []byte(name))
	end := bytes.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if size, ok := parseSize(value[:max(end, 0)]); ok {
		n = int64(size)
	}
	return n
}

// publishSubjectsMax is how long a subject and a reply may be together, in bytes: for a line of more than 4 KiB a server ends the connection (F11).
const publishSubjectsMax = controlLineMax - len("HPUB   99999999 99999999\r\n")

// checkPublish finds what would end a line too early, or too late.
func checkPublish(subject, reply string) error {
	if len(subject)+len(reply) > publishSubjectsMax {
		return nats.ErrBadSubject
	}
	if subject == "" || strings.ContainsAny(subject, " \t\r\n") || strings.ContainsAny(reply, " \t\r\n") {
		return nats.ErrBadSubject
	}
	return nil
}
