package rpc

// The field lists of all messages, as raftbus.proto numbers them, and the bounds on what a reader takes. walk.go says how
// a list is walked. A number here is never changed and never used again for something else.

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what Decode takes. A sender keeps to them: it is not refused when it writes, but when it is read.
const (
	// MaxIDBytes bounds a node id.
	MaxIDBytes = 64
	// MaxEntries bounds the entries of one AppendLog. Beyond SmallEntries they must be worth it: a slice of n entries takes
	// 56n bytes, and may take no more than 56 KiB and twice the bytes it was read from. Entries of 28 bytes or more on the wire
	// always are, that is with 10 bytes of data or more.
	MaxEntries = 4096
	// SmallEntries is how many entries one AppendLog may have however small they are: 56 KiB of them.
	SmallEntries = 1024
	// MaxMembers bounds a configuration table and each list of a Configuration.
	MaxMembers = 64
	// ClusterMax bounds a cluster: beyond it a write costs more than more copies are worth. While it changes from some to others a Configuration lists both.
	ClusterMax = 15
	// MaxRefusalBytes bounds PingReturn.Refusal.
	MaxRefusalBytes = 1024
	// DigestBytes is the length of InstallSnapshotCommand.Digest.
	DigestBytes = 32
)

// Fields of Message; 15 is the MAC, which mac.go reads and writes. Bodies have the numbers from firstBody to lastBody, known or not.
const (
	fieldVersion   protowire.Number = 1
	fieldAddressee protowire.Number = 9
	firstBody      protowire.Number = 16
	lastBody       protowire.Number = 63
)

const (
	bodyHeartbeatCommand = firstBody + iota
	bodyHeartbeatReturn
	bodyAppendLogCommand
	bodyAppendLogReturn
	bodyCommitLogCommand
	bodyCommitLogReturn
	bodyRequestVoteCommand
	bodyRequestVoteReturn
	bodyPingCommand
	bodyPingReturn
	bodyInstallSnapshotCommand
	bodyInstallSnapshotReturn
	bodyTimeoutNowCommand
	bodyTimeoutNowReturn
)

// newBody makes the body of that number, or nil when there is none.
func newBody(num protowire.Number) Body {
	switch num {
	case bodyHeartbeatCommand:
		return new(HeartbeatCommand)
	case bodyHeartbeatReturn:
		return new(HeartbeatReturn)
	case bodyAppendLogCommand:
		return new(AppendLogCommand)
	case bodyAppendLogReturn:
		return new(AppendLogReturn)
	case bodyCommitLogCommand:
		return new(CommitLogCommand)
	case bodyCommitLogReturn:
		return new(CommitLogReturn)
	case bodyRequestVoteCommand:
		return new(RequestVoteCommand)
	case bodyRequestVoteReturn:
		return new(RequestVoteReturn)
	case bodyPingCommand:
		return new(PingCommand)
	case bodyPingReturn:
		return new(PingReturn)
	case bodyInstallSnapshotCommand:
		return new(InstallSnapshotCommand)
	case bodyInstallSnapshotReturn:
		return new(InstallSnapshotReturn)
	case bodyTimeoutNowCommand:
		return new(TimeoutNowCommand)
	case bodyTimeoutNowReturn:
		return new(TimeoutNowReturn)
	}
	return nil
}

// body walks the fields of a body and returns its number. The calls are direct, not by interface: so the walk stays on
// the stack.
func body(w *walk, b Body) protowire.Number {
	switch b := b.(type) {
	case *HeartbeatCommand:
		b.fields(w)
		return bodyHeartbeatCommand
	case *HeartbeatReturn:
		b.fields(w)
		return bodyHeartbeatReturn
	case *AppendLogCommand:
		b.fields(w)
		return bodyAppendLogCommand
	case *AppendLogReturn:
		b.fields(w)
		return bodyAppendLogReturn
	case *CommitLogCommand:
		b.fields(w)
		return bodyCommitLogCommand
	case *CommitLogReturn:
		b.fields(w)
		return bodyCommitLogReturn
	case *RequestVoteCommand:
		b.fields(w)
		return bodyRequestVoteCommand
	case *RequestVoteReturn:
		b.fields(w)
		return bodyRequestVoteReturn
	case *PingCommand:
		b.fields(w)
		return bodyPingCommand
	case *PingReturn:
		b.fields(w)
		return bodyPingReturn
	case *InstallSnapshotCommand:
		b.fields(w)
		return bodyInstallSnapshotCommand
	case *InstallSnapshotReturn:
		b.fields(w)
		return bodyInstallSnapshotReturn
	case *TimeoutNowCommand:
		b.fields(w)
		return bodyTimeoutNowCommand
	case *TimeoutNowReturn:
		return bodyTimeoutNowReturn
	}
	panic(fmt.Sprintf("rpc: %T is no body of a message: add it to fields.go and raftbus.proto", b))
}

func (h *Header) fields(w *walk) {
	sixteen(w, 2, &h.Cluster)
	id(w, 3, &h.From)
	id(w, 4, &h.To)
	sixteen(w, 5, &h.Instance)
	fixed(w, 6, &h.Boot)
	varint(w, 7, &h.Term)
	varint(w, 8, &h.Round)
	ids(w, fieldAddressee, &h.Addressees)
}

func (c *HeartbeatCommand) fields(w *walk) {
	varint(w, 1, &c.Commit)
	varint(w, 2, &c.Read)
}

func (r *HeartbeatReturn) fields(w *walk) {
	varint(w, 1, &r.Read)
	varint(w, 2, &r.Last)
}

func (c *AppendLogCommand) fields(w *walk) {
	varint(w, 1, &c.Prev.Term)
	varint(w, 2, &c.Prev.Index)
	varint(w, 3, &c.Commit)
	entries(w, 4, &c.Entries)
}

func (r *AppendLogReturn) fields(w *walk) {
	varint(w, 1, &r.Prev)
	boolean(w, 2, &r.Accepted)
	varint(w, 3, &r.Match)
	varint(w, 4, &r.Hint.Term)
	varint(w, 5, &r.Hint.Index)
	boolean(w, 6, &r.Damaged)
}

func (c *CommitLogCommand) fields(w *walk) { varint(w, 1, &c.Commit) }

func (r *CommitLogReturn) fields(w *walk) { varint(w, 1, &r.Commit) }

func (c *RequestVoteCommand) fields(w *walk) {
	varint(w, 1, &c.Last.Term)
	varint(w, 2, &c.Last.Index)
	boolean(w, 3, &c.PreVote)
	boolean(w, 4, &c.Early)
	boolean(w, 5, &c.Transfer)
}

func (r *RequestVoteReturn) fields(w *walk) {
	boolean(w, 1, &r.Granted)
	boolean(w, 2, &r.PreVote)
}

func (c *InstallSnapshotCommand) fields(w *walk) {
	varint(w, 1, &c.Snapshot.Term)
	varint(w, 2, &c.Snapshot.Index)
	fixed(w, 3, &c.Transfer)
	varint(w, 4, &c.Offset)
	shared(w, 5, &c.Data)
	varint(w, 6, &c.Sum)
	boolean(w, 7, &c.Final)
	shared(w, 8, &c.Digest)
	configuration(w, 9, &c.Configuration)
}

func (r *InstallSnapshotReturn) fields(w *walk) {
	varint(w, 1, &r.Snapshot.Term)
	varint(w, 2, &r.Snapshot.Index)
	fixed(w, 3, &r.Transfer)
	varint(w, 4, &r.Next)
	boolean(w, 5, &r.Installed)
	varint(w, 6, &r.Restored)
}

func (c *TimeoutNowCommand) fields(w *walk) {
	varint(w, 1, &c.Last.Term)
	varint(w, 2, &c.Last.Index)
}

func (c *PingCommand) fields(w *walk) {
	id(w, 1, &c.SenderID)
	fixed(w, 2, &c.Timestamp)
	boolean(w, 3, &c.WantTable)
	varint(w, 4, &c.Known)
	configuration(w, 5, &c.Configuration)
	fixed(w, 6, &c.Start)
	boolean(w, 7, &c.WantStarts)
}

func (r *PingReturn) fields(w *walk) {
	id(w, 1, &r.SenderID)
	fixed(w, 2, &r.Timestamp)
	id(w, 3, &r.Leader)
	text(w, 5, &r.Refusal, MaxRefusalBytes)
	configuration(w, 6, &r.Configuration)
	boolean(w, 7, &r.Forgot)
	boolean(w, 8, &r.Lacks)
	fixed(w, 9, &r.Start)
	starts(w, 10, &r.Starts)
	boolean(w, 11, &r.Multicast)
	varint(w, 12, &r.Commands)
	boolean(w, 13, &r.NoRoom)
}

func (e *Entry) fields(w *walk) {
	varint(w, 1, &e.Index)
	varint(w, 2, &e.Term)
	varint(w, 3, &e.Kind)
	fixed(w, 4, &e.Time)
	shared(w, 5, &e.Data)
}

func (m *Member) fields(w *walk) {
	id(w, 1, &m.ID)
	sixteen(w, 2, &m.Instance)
}

func (s *Start) fields(w *walk) {
	id(w, 1, &s.ID)
	sixteen(w, 2, &s.Instance)
	fixed(w, 3, &s.Boot)
}

func (c *Configuration) fields(w *walk) {
	members(w, 1, &c.Voters)
	members(w, 2, &c.Outgoing)
	members(w, 3, &c.Learners)
	sixteen(w, 4, &c.Cluster)
	varint(w, 5, &c.Index)
}

// id is a node id: short, and of the characters of a subject token, since ids go into subjects and into logs.
func id(w *walk, num protowire.Number, v *NodeID) {
	text(w, num, v, MaxIDBytes)
	if w.mode == reading && w.num == num && !isToken(*v) {
		w.fail("an id is 1 to 64 of A-Z a-z 0-9 _ -")
	}
}

// ids is a repeated node id, none of them empty.
func ids(w *walk, num protowire.Number, v *[]NodeID) {
	if w.mode != reading {
		for i := range *v {
			id(w, num, &(*v)[i])
		}
		return
	}
	if w.num != num || *v == nil && !makeRoom(w, v, MaxMembers) {
		return
	}
	var one NodeID
	if id(w, num, &one); one == "" {
		w.fail("an addressee without a name")
		return
	}
	*v = append(*v, one)
}

func isToken(s NodeID) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// entryBytesMin is what an entry beyond SmallEntries takes on the wire: half of what it takes in memory.
const entryBytesMin = 56 / 2

// entries is a repeated Entry. The slice read is allocated once, in full.
func entries(w *walk, num protowire.Number, v *[]Entry) {
	if w.mode != reading {
		for i := range *v {
			e := &(*v)[i]
			w.open(num, EntrySize(e))
			if w.mode == writing {
				e.fields(w)
			}
		}
		return
	}
	if !w.at(num, protowire.BytesType) {
		return
	}
	if *v == nil && !makeRoom(w, v, min(MaxEntries, SmallEntries+w.ahead()/entryBytesMin)) {
		return
	}
	e, err := DecodeEntry(w.bytes)
	if err != nil {
		w.err = err
		return
	}
	*v = append(*v, e)
}

// members is a repeated Member.
func members(w *walk, num protowire.Number, v *[]Member) {
	if w.mode != reading {
		for i := range *v {
			m := &(*v)[i]
			count := walk{mode: counting}
			m.fields(&count)
			w.open(num, count.size)
			if w.mode == writing {
				m.fields(w)
			}
		}
		return
	}
	if !w.at(num, protowire.BytesType) || *v == nil && !makeRoom(w, v, MaxMembers) {
		return
	}
	m, inner := Member{}, walk{mode: reading, buf: w.bytes}
	for inner.next() {
		m.fields(&inner)
	}
	if w.err = inner.err; w.err == nil {
		*v = append(*v, m)
	}
}

// starts is a repeated Start. It has the shape of members: one function for both would have every message read allocate once more.
func starts(w *walk, num protowire.Number, v *[]Start) {
	if w.mode != reading {
		for i := range *v {
			s := &(*v)[i]
			count := walk{mode: counting}
			s.fields(&count)
			w.open(num, count.size)
			if w.mode == writing {
				s.fields(w)
			}
		}
		return
	}
	if !w.at(num, protowire.BytesType) || *v == nil && !makeRoom(w, v, MaxMembers) {
		return
	}
	s, inner := Start{}, walk{mode: reading, buf: w.bytes}
	for inner.next() {
		s.fields(&inner)
	}
	if w.err = inner.err; w.err == nil {
		*v = append(*v, s)
	}
}

// configuration is a Configuration that may be absent.
func configuration(w *walk, num protowire.Number, v **Configuration) {
	if w.mode == reading {
		if !w.at(num, protowire.BytesType) {
			return
		}
		if *v != nil {
			w.fail("a second configuration")
			return
		}
		c, err := DecodeConfiguration(w.bytes)
		if *v, w.err = &c, err; err != nil {
			*v = nil
		}
		return
	}
	if *v == nil {
		return
	}
	count := walk{mode: counting}
	(*v).fields(&count)
	w.open(num, count.size)
	if w.mode == writing {
		(*v).fields(w)
	}
}

// makeRoom allocates for all items that are still to come, if they are not too many.
func makeRoom[T any](w *walk, v *[]T, limit int) bool {
	n := w.rest(limit)
	if n > limit {
		w.fail(fmt.Sprintf("more than %d items in %d bytes", limit, w.ahead()))
		return false
	}
	*v = make([]T, 0, n)
	return true
}
