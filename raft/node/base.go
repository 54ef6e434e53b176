package node

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

const timeBytes = 8

func encodeBase(b *raft.Base) []byte {
	if b.Time == 0 {
		return rpc.AppendConfiguration(nil, &b.Configuration)
	}
	return rpc.AppendConfiguration(binary.LittleEndian.AppendUint64([]byte{0}, uint64(b.Time)), &b.Configuration)
}

func decodeBase(b *wal.Base) (raft.Base, error) {
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

// walBase is a base as the log is to keep it. A time that the core did not know is looked up, before the log forgets the entry.
func walBase(log *wal.Log, b raft.Base) (*wal.Base, error) {
	if b.Time == 0 && b.ID.Index > 0 {
		time, err := timeOf(log, b.ID)
		if err != nil && !errors.Is(err, errNotHeld) {
			return nil, err
		}
		b.Time = time
	}
	return &wal.Base{ID: b.ID, Configuration: encodeBase(&b)}, nil
}

var (
	errNotHeld = errors.New("the log does not hold the entry")
	errBegins  = errors.New("the log begins after entry")
)

// timeOf is the time of an entry that the log holds, damaged or not, or begins after.
func timeOf(log *wal.Log, id rpc.EntryID) (int64, error) {
	entry, err := log.Header(onlyGroup, id.Index)
	switch {
	case errors.Is(err, wal.ErrCompacted):
		state := log.State(onlyGroup)
		base, err := decodeBase(&state.Base)
		if err == nil && base.ID != id {
			err = fmt.Errorf("%w %v", errBegins, base.ID)
		}
		return base.Time, err
	case err != nil:
		return 0, err
	case entry.ID() != id:
		return 0, errNotHeld
	}
	return entry.Time, nil
}
