package folder

// What the log keeps of its base beside the entry's id: the configuration, and after a zero byte before it the entry's time, so that
// no later entry is ever stamped earlier (design section 6). The table at index 0 has no time; no configuration begins with a zero byte.

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Group: a process has one Raft group, in a log that could keep more.
const Group wal.GroupID = 0

const timeBytes = 8

// EncodeBase is what the log keeps of a base.
func EncodeBase(b *raft.Base) []byte {
	if b.Time == 0 {
		return rpc.AppendConfiguration(nil, &b.Configuration)
	}
	return rpc.AppendConfiguration(binary.LittleEndian.AppendUint64([]byte{0}, uint64(b.Time)), &b.Configuration)
}

// DecodeBase is a base of what the log has kept.
func DecodeBase(b *wal.Base) (raft.Base, error) {
	base, rest := raft.Base{ID: b.ID}, b.Configuration
	if len(rest) > timeBytes && rest[0] == 0 {
		base.Time = int64(binary.LittleEndian.Uint64(rest[1:]))
		rest = rest[1+timeBytes:]
	}
	conf, err := rpc.DecodeConfiguration(rest)
	if err != nil {
		return base, fmt.Errorf("the configuration that the log begins with: %w", err)
	}
	base.Configuration = conf
	return base, nil
}

// LogBase is a base as the log is to keep it. A time that the core did not know is looked up, before the log forgets the entry.
func LogBase(log *wal.Log, b raft.Base) (*wal.Base, error) {
	if b.Time == 0 && b.ID.Index > 0 {
		time, err := TimeOf(log, b.ID)
		if err != nil && !errors.Is(err, ErrNotHeld) {
			return nil, err
		}
		b.Time = time
	}
	return &wal.Base{ID: b.ID, Configuration: EncodeBase(&b)}, nil
}

// What TimeOf says of an entry that is not the log's any more, or never was.
var (
	ErrNotHeld = errors.New("the log does not hold the entry")
	ErrBegins  = errors.New("the log begins after entry")
)

// TimeOf is the time of an entry that the log holds, damaged or not, or begins after.
func TimeOf(log *wal.Log, id rpc.EntryID) (int64, error) {
	entry, err := log.Header(Group, id.Index)
	switch {
	case errors.Is(err, wal.ErrCompacted):
		state := log.State(Group)
		base, err := DecodeBase(&state.Base)
		if err == nil && base.ID != id {
			err = fmt.Errorf("%w %v", ErrBegins, base.ID)
		}
		return base.Time, err
	case err != nil:
		return 0, err
	case entry.ID() != id:
		return 0, ErrNotHeld
	}
	return entry.Time, nil
}

// Holds reports whether the log holds that entry, or begins after it.
func Holds(state *wal.State, id rpc.EntryID) bool {
	term := rpc.Term(0)
	for _, run := range state.Terms {
		if run.First <= id.Index {
			term = run.Term
		}
	}
	return id == state.Base.ID || id.Index > state.Base.ID.Index && id.Index <= state.Last.Index && term == id.Term
}
