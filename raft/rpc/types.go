package rpc

// What messages and logs are made of.

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// NodeID names a member of the cluster, and so the subjects it listens on: [A-Za-z0-9_-]+, not starting with '_'.
type NodeID string

// Valid reports whether an id can be a member's.
func (id NodeID) Valid() bool {
	return 0 < len(id) && len(id) <= MaxIDBytes && id[0] != '_' && isToken(id)
}

// Term numbers the periods between elections (thesis section 3.3). It never goes back on a node.
type Term uint64

// Index is a position in the log. The first entry has index 1; index 0 is the configuration table (design: Identity).
type Index uint64

// EntryID identifies an entry: two logs that hold the same EntryID are identical up to there (Log Matching, thesis 3.5).
type EntryID struct {
	Term  Term
	Index Index
}

// Less orders entry ids as the election restriction does: by term, then by index (thesis 3.6.1; K8).
func (id EntryID) Less(other EntryID) bool {
	if id.Term != other.Term {
		return id.Term < other.Term
	}
	return id.Index < other.Index
}

func (id EntryID) String() string { return fmt.Sprintf("%d/%d", id.Term, id.Index) }

// TermRun says that entries from First on are of Term, up to the next run.
type TermRun struct {
	First Index
	Term  Term
}

// EntryKind says who reads an entry's Data. A node that meets a kind it does not know stops: it never skips one (F28).
type EntryKind uint8

const (
	// EntryNoop is the entry a new leader begins its term with, so that it can commit what came before (thesis 3.6.2).
	EntryNoop EntryKind = 1
	// EntryCommand carries a command of the state machine.
	EntryCommand EntryKind = 2
	// EntryConfiguration carries a Configuration. It is in force from the moment it is in a log, committed or not (thesis 4.1).
	EntryConfiguration EntryKind = 3
)

// Known reports whether this build understands the kind.
func (k EntryKind) Known() bool { return k >= EntryNoop && k <= EntryConfiguration }

// Understood is nil if this build knows the kind of the entry. Whoever is about to apply it asks first (F28).
func (e *Entry) Understood() error {
	if e.Kind.Known() {
		return nil
	}
	return fmt.Errorf("entry %v is of kind %d, which this build does not know: run the version that wrote it, or a later one", e.ID(), e.Kind)
}

// Understood is nil if none of the entries is of a kind that this build does not know: no state machine is given one (F28).
func Understood(entries []Entry) error {
	for i := range entries {
		if err := entries[i].Understood(); err != nil {
			return err
		}
	}
	return nil
}

// Entry is one slot of the log. Its Data is shared, never copied: nobody writes to it once the entry is made.
type Entry struct {
	Index Index
	Term  Term
	Kind  EntryKind
	// Time is the entry's time in nanoseconds since 1970 UTC, given by the leader that appended it: never lower than
	// that of the entry before. It is the only clock the state machine reads (design section 6).
	Time int64
	Data []byte
}

// ID returns the entry's identity.
func (e *Entry) ID() EntryID { return EntryID{Term: e.Term, Index: e.Index} }

// Size is what the entry weighs in batches and bounds: its data and a fixed allowance for the rest, in bytes.
func (e *Entry) Size() int { return len(e.Data) + EntryOverheadBytes }

// EntryOverheadBytes bounds what an entry costs on the wire beside its data.
const EntryOverheadBytes = 48

// HardState is what a node must remember to keep one vote per term (thesis figure 3.1): one record, one write.
type HardState struct {
	Term Term
	Vote NodeID // whom this node voted for in Term; empty: nobody yet
}

// InstanceID names the life of one data directory: random, made when the directory is. A node that lost its disk comes
// back under its old NodeID as another instance, and must not vote again (D3).
type InstanceID [16]byte

func (i InstanceID) String() string { return hex.EncodeToString(i[:]) }

// ParseInstance reads what String wrote.
func ParseInstance(text string) (InstanceID, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(InstanceID{}) {
		return InstanceID{}, fmt.Errorf("instance %q is not %d bytes in hexadecimal", text, len(InstanceID{}))
	}
	return InstanceID(raw), nil
}

// ClusterID is the hash of the first configuration table; zero while a node has no table.
type ClusterID [16]byte

func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// BootEpoch names one start of an instance: the count of its starts in the upper 32 bits, a random nonce in the lower. A
// lower count is an earlier life; the same count with another nonce is a copied data directory (I12).
type BootEpoch uint64

// Count is how often the instance has been started.
func (b BootEpoch) Count() uint32 { return uint32(b >> 32) }

// Member is one node of a configuration: who it is, and which data directory it is known by.
type Member struct {
	ID       NodeID
	Instance InstanceID
}

// IDs are the ids of some members, in a list of its own.
func IDs(members []Member) []NodeID {
	list := make([]NodeID, len(members))
	for i, m := range members {
		list[i] = m.ID
	}
	return list
}

// JoinIDs is a list of ids as text.
func JoinIDs(ids []NodeID) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return strings.Join(list, ",")
}

// Configuration says who belongs to the cluster, from some index of the log on. Its first form is the table at index 0:
// voters only. Outgoing is the other voter set while a joint change is under way (thesis 4.3). Learners receive entries and
// never count; the leader makes them voters once they have caught up. All lists are in order of id; no learner is in a voter
// set, and a member in both voter sets is the same instance in both.
type Configuration struct {
	Cluster  ClusterID // the cluster's for ever; zero in the table at index 0, which it is the hash of
	Index    Index     // of the entry that carries it; 0: the table
	Voters   []Member
	Outgoing []Member
	Learners []Member
}

// ClusterID is the id of the cluster that the configuration belongs to.
func (c *Configuration) ClusterID() ClusterID {
	if c.Index == 0 {
		return ClusterIDOf(c.Voters)
	}
	return c.Cluster
}

// Member finds a member by id, among voters first; false if there is none. A member in both voter sets is the same in both.
func (c *Configuration) Member(id NodeID) (Member, bool) {
	for _, list := range [][]Member{c.Voters, c.Outgoing, c.Learners} {
		if m := find(list, id); m != nil {
			return *m, true
		}
	}
	return Member{}, false
}

// Members are all members, each once, in order of id.
func (c *Configuration) Members() []Member {
	all := slices.Concat(c.Voters, c.Outgoing, c.Learners)
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return slices.CompactFunc(all, func(a, b Member) bool { return a.ID == b.ID })
}

// Voter reports whether id counts in elections and commits.
func (c *Configuration) Voter(id NodeID) bool {
	return find(c.Voters, id) != nil || find(c.Outgoing, id) != nil
}

// Learner reports whether id is a learner.
func (c *Configuration) Learner(id NodeID) bool { return find(c.Learners, id) != nil }

// Joint reports whether two voter sets decide together (thesis 4.3).
func (c *Configuration) Joint() bool { return len(c.Outgoing) > 0 }

// Header says whom a message is from and for, and in which life and term it was sent. What does not fit is dropped.
type Header struct {
	Cluster  ClusterID
	From, To NodeID
	Instance InstanceID // the sender's
	Boot     BootEpoch  // the sender's
	Term     Term
	Round    uint64 // ties a return to the one command it answers; unique per sender and boot
	// Addressees are those whom a message to several is for, whose To names nobody in particular; each answers the same round.
	Addressees []NodeID
}

// Message is a Raft message as the core sees it: one command, or one return.
type Message struct {
	From, To NodeID
	Instance InstanceID // of the sender, as the bus has checked it; zero on a message that is to leave
	Term     Term
	// Call is the way back of a command received: the bus fills it in, the core copies it to the return, unread.
	Call Call
	Body Body
}

// Call is where a return goes, opaque to all but the bus.
type Call struct {
	Round uint64
	Inbox string
}

// Body is what a message says: one of the command and return types of this package.
type Body interface {
	Method() Method
	IsReturn() bool
}
