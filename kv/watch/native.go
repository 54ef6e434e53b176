package watch

// The form of messages to native watchers: the value as it is, and everything about it in headers. A watcher numbers what it gets by
// Rb-Sequence: any other number than the next in an event, or a higher one in a progress mark, says that events may be missing, and it asks again from the
// last revision that it has.

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/raftbus/raftbus/kv/internal/headers"
	"github.com/raftbus/raftbus/kv/internal/stamp"
)

const (
	headerWatch           = "Rb-Watch: "
	headerSequence        = "Rb-Sequence: "
	headerPending         = "Rb-Pending: "
	headerProgress        = "Rb-Progress: "
	headerFlow            = "Rb-Flow: "
	headerKey             = "Rb-Key: "
	headerOperation       = "Rb-Operation: "
	headerRevision        = "Rb-Revision: "
	headerClusterRevision = "Rb-Cluster-Revision: "
	headerTime            = "Rb-Time: "
	headerSizeOfValue     = "Rb-Size: "
)

type block []byte

func (b block) text(name, value string) block {
	return append(append(append(b, name...), value...), headerEnd...)
}

func (b block) number(name string, value uint64) block {
	return append(strconv.AppendUint(append(b, name...), value, 10), headerEnd...)
}

func (c *consumer) nativeBlock(sequence uint64) block {
	b := append(make(block, 0, 320), headerVersion+headerEnd...)
	return b.text(headerWatch, c.Client()).number(headerSequence, sequence)
}

// native is an event as a native watcher gets it. What headers were stored with it come after ours.
func (c *consumer) native(e *Entry, pending uint64) Send {
	b := c.nativeBlock(c.following()).number(headerPending, pending).text(headerKey, e.Key).text(headerOperation, e.Operation).
		number(headerRevision, e.Sequence).number(headerClusterRevision, e.Revision).text(headerTime, stamp.Text(e.Time))
	s, header := Send{Subject: c.to, Body: e.Value}, e.Header
	if c.Config.HeadersOnly {
		b, s.Body, header = b.number(headerSizeOfValue, uint64(max(e.Size, len(e.Value)))), nil, headers.Harmless(header, true)
	}
	s.Header = append(b.stored(header), headerEnd...)
	return s
}

// headerOurs begins the names that only the hub gives.
const headerOurs = "Rb-"

// stored appends what headers were stored with an entry, but for names like ours: whoever may put one key could have its events pass for those of another, or for
// none. Some clients tell no case, nor a blank before a name.
func (b block) stored(header []byte) block {
	lines, _ := bytes.CutPrefix(header, []byte(headerVersion+headerEnd))
	for line := range bytes.SplitSeq(lines, []byte(headerEnd)) {
		name := bytes.TrimLeft(line, " \t")
		if len(name) == 0 || len(name) >= len(headerOurs) && strings.EqualFold(string(name[:len(headerOurs)]), headerOurs) {
			continue
		}
		b = append(append(b, line...), headerEnd...)
	}
	return b
}

// progress is a progress mark: everything up to the revision was sent. One that is stalled is asked again to answer: its answer may be lost.
func (c *consumer) progress(stalled string) Send {
	b := c.nativeBlock(c.sequence).number(headerProgress, c.position())
	if stalled != "" {
		b = b.text(headerFlow, stalled)
	}
	return Send{Subject: c.to, Reply: stalled, Header: append(b, headerEnd...)}
}

// flowRequest asks a native watcher to answer when it has processed everything before.
func (c *consumer) flowRequest(reply string) Send {
	b := c.nativeBlock(c.sequence).text(headerFlow, reply)
	return Send{Subject: c.to, Reply: reply, Header: append(b, headerEnd...)}
}
