package watch

// The header blocks that the hub itself makes.

import (
	"bytes"
	"strconv"

	"github.com/raftbus/raftbus/kv/internal/headers"
)

const (
	headerVersion = "NATS/1.0"
	headerEnd     = "\r\n"
	headerLast    = "Nats-Last-Consumer: "
	headerStream  = "Nats-Last-Stream: "
	headerStalled = "Nats-Consumer-Stalled: "
	headerSize    = "Nats-Msg-Size: "

	headerPendingMessages = "Nats-Pending-Messages: "
	headerPendingBytes    = "Nats-Pending-Bytes: "

	statusBeat = headerVersion + " 100 Idle Heartbeat" + headerEnd
)

var flowRequest = []byte(headerVersion + " 100 FlowControl Request" + headerEnd + headerEnd)

// beat is a heartbeat's header block.
func (c *consumer) beat(stalled string) []byte {
	b := append(make([]byte, 0, 192), statusBeat...)
	b = append(strconv.AppendUint(append(b, headerLast...), c.sequence, 10), headerEnd...)
	b = append(strconv.AppendUint(append(b, headerStream...), c.position(), 10), headerEnd...)
	if stalled != "" {
		b = append(append(append(b, headerStalled...), stalled...), headerEnd...)
	}
	return append(b, headerEnd...)
}

// withSize is an entry's header block with the size of the value that is left out.
func withSize(e *Entry) []byte {
	size := max(e.Size, len(e.Value))
	head, ok := bytes.CutSuffix(headers.Harmless(e.Header, true), []byte(headerEnd))
	if !ok {
		head = []byte(headerVersion + headerEnd)
	}
	b := make([]byte, 0, len(head)+len(headerSize)+24)
	b = append(append(b, head...), headerSize...)
	return append(strconv.AppendInt(b, int64(size), 10), headerEnd+headerEnd...)
}
