package jetstream

// Headers, as they are sent, stored and returned. Names are compared by case, as NATS does.

import (
	"bytes"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/headers"
	"github.com/raftbus/raftbus/kv/store"
)

const (
	headerLevel = "Nats-Required-Api-Level"

	headerOperation           = "KV-Operation"
	headerRollup              = "Nats-Rollup"
	headerTTL                 = "Nats-TTL"
	headerMsgID               = "Nats-Msg-Id"
	headerExpectedStream      = "Nats-Expected-Stream"
	headerExpectedLast        = "Nats-Expected-Last-Sequence"
	headerExpectedSubject     = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedOfSubject   = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerExpectedMsgID       = "Nats-Expected-Last-Msg-Id"
	headerMarkerReason        = "Nats-Marker-Reason"
	headerMarkerRemoved       = "Remove"
	headerRequestInfo         = "Nats-Request-Info"
	headerStream              = "Nats-Stream"
	headerSubject             = "Nats-Subject"
	headerSequence            = "Nats-Sequence"
	headerTimeStamp           = "Nats-Time-Stamp"
	headerLastSequence        = "Nats-Last-Sequence"
	headerPending             = "Nats-Num-Pending"
	headerUpTo                = "Nats-UpTo-Sequence"
	headerSize                = "Nats-Msg-Size"
	headerBlockLine           = "NATS/1.0\r\n"
	headersBytesMax           = 64<<10 - 1
	headerBlockEnd            = "\r\n"
	headerSeparator           = ": "
	headerOperationDelete     = "DEL"
	headerOperationPurge      = "PURGE"
	headerRollupOfKey         = "sub"
	headerRollupOfWholeBucket = "all"
)

// first is a header's first value, which is the one that counts.
func (r Request) first(name string) string {
	if values := r.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// validHeaderName reports whether a header of this name can be sent back: nats.go takes these, and no others.
func validHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"()/,:;<=>?@[\\]{}", r) })
}

// Block is the headers of a message as the wire has them, in order of name: the order they came in is not known, and says
// nothing. nil if there are none. Every value is one line, byte for byte, as of NATS's client: as long as before, and what was stored is told as it is.
func Block(header map[string][]string) []byte {
	if len(header) == 0 {
		return nil // as of most puts
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name == headerRequestInfo {
			continue // the server's own, of a request that crossed accounts
		}
		for _, value := range header[name] {
			if b.Len() == 0 {
				b.WriteString(headerBlockLine)
			}
			b.WriteString(name)
			b.WriteString(headerSeparator)
			b.WriteString(lineEnds.Replace(textproto.TrimString(value)))
			b.WriteString(headerBlockEnd)
		}
	}
	if b.Len() > 0 {
		b.WriteString(headerBlockEnd)
	}
	return b.Bytes()
}

var lineEnds = strings.NewReplacer("\r", " ", "\n", " ")

// parseBlock reads stored headers. What is no header in it is passed over: it was stored, and must not make the key unreadable.
func parseBlock(block []byte) map[string][]string {
	header := map[string][]string{}
	_, rest, _ := strings.Cut(string(block), headerBlockEnd)
	for line := range strings.SplitSeq(rest, headerBlockEnd) {
		if name, value, is := strings.Cut(line, ":"); is && name != "" {
			header[name] = append(header[name], strings.TrimLeft(value, " \t"))
		}
	}
	return header
}

// HeaderOf is an entry's headers as the wire has them, for a message that has its value. A delete or purge by the native API has none, and is told as one here.
func HeaderOf(e store.Entry) []byte {
	if e.Op == command.Put || len(e.Header) > 0 {
		return headers.Harmless(e.Header, len(e.Value) == 0)
	}
	if e.Op == command.Delete {
		return Block(map[string][]string{headerOperation: {headerOperationDelete}})
	}
	return Block(map[string][]string{headerOperation: {headerOperationPurge}, headerRollup: {headerRollupOfKey}})
}

// OperationOf is what native clients are told that an entry is. The store keeps a marker as a purge, which leaves no marker of its own; that one message was
// removed is a delete to NATS's clients.
func OperationOf(e *store.Entry) string {
	if e.Op == command.Purge && len(e.Header) > 0 {
		r := Request{Header: parseBlock(e.Header)}
		if r.first(headerOperation) != headerOperationPurge && r.first(headerMarkerReason) == headerMarkerRemoved {
			return command.Delete.String()
		}
	}
	return e.Op.String()
}
