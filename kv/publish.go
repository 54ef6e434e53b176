package kv

// How answers are sent.

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

func (a reply) size() int {
	if a.block != nil {
		return len(a.block) + len(a.data)
	}
	size := len(a.data)
	for name, values := range a.header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if size > len(a.data) {
		size += len("NATS/1.0\r\n\r\n")
	}
	return size
}

func (s *Service) publish(to string, a reply) error {
	switch {
	case s.lane != nil && a.status != "":
		return s.lane.PublishMsg(to, "", []byte("NATS/1.0 "+a.status+"\r\n\r\n"), nil)
	case s.lane != nil && a.block != nil:
		return s.lane.PublishMsg(to, "", a.block, a.data)
	case s.lane != nil:
		return s.lane.PublishMsg(to, "", jetstream.Block(a.header), a.data) // of no more bytes than size counts (C1, L9)
	case a.status != "":
		return s.publishStatus(to, a.status)
	case a.block != nil:
		header, err := nats.DecodeHeadersMsg(a.block)
		if err != nil {
			return err
		}
		a.header = header
	}
	return s.conn.PublishMsg(&nats.Msg{Subject: to, Header: a.header, Data: a.data})
}

// publishStatus sends a message that is a status line, as clients of JetStream expect it: NATS/1.0 404 Message Not Found. nats.go can
// read one and not send it: it writes "PUB <subject> 0", and nothing else may stand before a header. So that line is made to end
// early, at a subject that nobody listens to, the message follows in the protocol's own words, and another such line takes the rest.
// It is one write under the connection's lock. The subject is that of the reply that the server brought, so it is one.
func (s *Service) publishStatus(to, line string) error {
	header := "NATS/1.0 " + line + "\r\n\r\n"
	return s.conn.Publish(fmt.Sprintf("%s 0\r\n\r\nHPUB %s %d %d\r\n%s\r\nPUB %[1]s", s.void, to, len(header), len(header), header), nil)
}
