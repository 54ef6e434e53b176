package rpc

// Whole messages, entries and configurations, to bytes and back. The bytes may come from anybody: what is not exactly
// right is an error, never a panic and never a guess, and reading n bytes allocates at most 2n + 64 KiB.

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ProtocolVersion is the version of the messages that this build writes, and the only one that it reads.
const ProtocolVersion = 1

// What Decode finds wrong with bytes. Such a message is dropped: it changes nothing.
var (
	// ErrMalformed: the bytes are no message, entry or configuration of ours, or break a bound. The text says where.
	ErrMalformed = errors.New("malformed message")
	// ErrBadMAC: the message was not sealed with the cluster's key. Give all nodes the same key.
	ErrBadMAC = errors.New("message not sealed with this cluster's key: give all nodes the same cluster key")
	// ErrVersion: the sender speaks another version. The text names both.
	ErrVersion = errors.New("other protocol version")
)

// OverheadBytes bounds what a message takes beside its body: header, framing and MAC; each addressee takes up to AddresseeBytes more.
const (
	OverheadBytes  = 256
	AddresseeBytes = 2 + MaxIDBytes
)

// Append appends the whole message to dst: version, header, body, and with keys the MAC. It allocates only what dst
// lacks: Size(b) bytes are enough.
func Append(dst []byte, h *Header, b Body, keys *Keys) []byte {
	start := len(dst)
	count := walk{mode: counting}
	num := body(&count, b)

	w := walk{mode: writing, buf: dst}
	version := uint64(ProtocolVersion)
	varint(&w, fieldVersion, &version)
	h.fields(&w)
	w.open(num, count.size)
	body(&w, b)
	return keys.seal(w.buf, start)
}

// Size bounds the bytes of a message to one receiver with that body, whatever its header and with a MAC.
func Size(b Body) int {
	count := walk{mode: counting}
	body(&count, b)
	return OverheadBytes + count.size
}

// Decode reads a whole message. With keys its MAC must be there and fit one of them; without keys a MAC is not looked at.
// Entries of the body share the memory of the frame. Errors are ErrMalformed, ErrBadMAC and ErrVersion, wrapped.
func Decode(frame []byte, keys *Keys) (Header, Body, error) {
	message, err := keys.open(frame)
	if err != nil {
		return Header{}, nil, err
	}
	w := walk{mode: reading, buf: message}
	if err := readVersion(&w); err != nil {
		return Header{}, nil, err
	}
	h, b := readMessage(&w)
	if w.err != nil {
		return Header{}, nil, w.err
	}
	return h, b, nil
}

// Addresses reports whether a message names id among its addressees. Only its header is looked at and nothing is checked, so that it
// costs little to pass over what is for others: whoever is named decodes it.
func Addresses(frame []byte, id NodeID) bool {
	w := walk{mode: reading, buf: frame}
	for w.next() && w.num < firstBody {
		if w.num == fieldAddressee && w.typ == protowire.BytesType && string(w.bytes) == string(id) {
			return true
		}
	}
	return false
}

// readVersion reads the first field. Nothing after it is looked at unless the version is ours.
func readVersion(w *walk) error {
	var version uint64
	if w.next() {
		varint(w, fieldVersion, &version)
	}
	if w.err != nil {
		return w.err
	}
	if version == 0 {
		return fmt.Errorf("%w: it does not begin with a version", ErrMalformed)
	}
	if version != ProtocolVersion {
		return fmt.Errorf("%w: the sender speaks %d, this node %d: let both run the same release", ErrVersion, version, ProtocolVersion)
	}
	return nil
}

// readMessage reads what follows the version, and leaves in w what is wrong with it.
func readMessage(w *walk) (h Header, b Body) {
	for w.next() {
		switch {
		case w.num < firstBody || w.num > lastBody:
			h.fields(w)
		case b != nil:
			w.fail("a second body")
		default:
			b = readBody(w)
		}
	}
	if b == nil || h.From == "" || h.To == "" {
		w.fail("the message ends without sender, receiver or body")
	}
	return h, b
}

// readBody reads the field at hand as a body.
func readBody(w *walk) Body {
	b := newBody(w.num)
	if b == nil {
		w.fail("a body unknown to this release")
		return nil
	}
	if !w.at(w.num, protowire.BytesType) {
		return nil
	}
	inner := w.within()
	for inner.next() {
		body(&inner, b)
	}
	if w.err = inner.err; w.err == nil {
		w.err = check(b)
	}
	return b
}

// check looks at what a field by itself does not show.
func check(b Body) error {
	switch b := b.(type) {
	case *AppendLogCommand:
		return checkLog(b.Prev, b.Entries)
	case *InstallSnapshotCommand:
		return b.check()
	}
	return nil
}

// check: the last chunk, and no other, says what the whole is.
func (c *InstallSnapshotCommand) check() error {
	whole := len(c.Digest) == DigestBytes && c.Configuration != nil
	none := len(c.Digest) == 0 && c.Configuration == nil
	if c.Transfer == 0 || c.Snapshot.Index == 0 || c.Final && !whole || !c.Final && (!none || len(c.Data) == 0) {
		return fmt.Errorf("%w: a snapshot's chunk at %d of an impossible shape", ErrMalformed, c.Offset)
	}
	return nil
}

// checkLog holds entries to be a piece of a log that goes on after prev (Log Matching, thesis 3.5, rests on it).
func checkLog(prev EntryID, entries []Entry) error {
	for i := range entries {
		id := entries[i].ID()
		if id.Index != prev.Index+1 || id.Term < prev.Term {
			return fmt.Errorf("%w: entry %v does not follow %v", ErrMalformed, id, prev)
		}
		prev = id
	}
	return nil
}

// check refuses a configuration in which who counts for what is not clear.
func (c *Configuration) check() error {
	for _, list := range [][]Member{c.Voters, c.Outgoing, c.Learners} {
		if err := checkMembers(list); err != nil {
			return err
		}
	}
	for _, old := range c.Outgoing {
		if m := find(c.Voters, old.ID); m != nil && m.Instance != old.Instance {
			return fmt.Errorf("%w: member %s is two instances", ErrMalformed, old.ID)
		}
	}
	for _, m := range c.Learners {
		if find(c.Voters, m.ID) != nil || find(c.Outgoing, m.ID) != nil {
			return fmt.Errorf("%w: member %s is voter and learner", ErrMalformed, m.ID)
		}
	}
	return nil
}

func find(list []Member, id NodeID) *Member {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

// checkMembers refuses a table that would count a member's vote twice.
func checkMembers(table []Member) error {
	for i := range table {
		if table[i].ID == "" {
			return fmt.Errorf("%w: a member without an id", ErrMalformed)
		}
		for j := range i {
			if table[i].ID == table[j].ID {
				return fmt.Errorf("%w: member %s is listed twice", ErrMalformed, table[i].ID)
			}
		}
	}
	return nil
}

// EntrySize is the exact size of an entry as it is written, in bytes. Within an AppendLog up to 6 more frame it.
func EntrySize(e *Entry) int {
	count := walk{mode: counting}
	e.fields(&count)
	return count.size
}

// DecodeEntry reads an entry as it is in an AppendLog. The entry's data shares the memory of b; data of no bytes comes back as nil.
// A kind unknown to this release is no error here: the node must see it, to stop (F28). Errors wrap ErrMalformed.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	w := walk{mode: reading, buf: b}
	for w.next() {
		e.fields(&w)
	}
	if w.err == nil && (e.Index == 0 || e.Term == 0) {
		w.err = fmt.Errorf("%w: entry %v: index and term begin at 1", ErrMalformed, e.ID())
	}
	return e, w.err
}

// AppendConfiguration appends a configuration to dst.
func AppendConfiguration(dst []byte, c *Configuration) []byte {
	w := walk{mode: writing, buf: dst}
	c.fields(&w)
	return w.buf
}

// DecodeConfiguration reads what AppendConfiguration wrote. Errors wrap ErrMalformed.
func DecodeConfiguration(b []byte) (Configuration, error) {
	var c Configuration
	w := walk{mode: reading, buf: b}
	for w.next() {
		c.fields(&w)
	}
	if w.err == nil {
		w.err = c.check()
	}
	if w.err != nil {
		return Configuration{}, w.err
	}
	return c, nil
}
