package wal

// Inspect: what a log holds, for people. It reads as Open does, with all its checks, and writes nothing: what is torn stays, no segment is made.

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Record is one record of a log, as it lies there.
type Record struct {
	Segment    string
	Offset     int64  // of its header, in bytes from the start of the segment
	Kind       string // entry, hard state, base, last, seal
	Checkpoint bool   // it repeats, at the start of a segment, what earlier segments said
	Group      GroupID
	ID         rpc.EntryID   // of an entry, a base, or the last entry; of a hard state the term alone
	EntryKind  rpc.EntryKind // of an entry
	Time       int64         // of an entry, nanoseconds since 1970 UTC
	Bytes      int           // of its payload
	Vote       rpc.NodeID    // of a hard state
	Damaged    bool          // an entry whose payload is not what was written
}

// SegmentInfo is one segment.
type SegmentInfo struct {
	Name   string `json:"segment"`
	Bytes  int64  `json:"bytes"`  // of the file
	End    int64  `json:"end"`    // of the batches that are whole
	Torn   int64  `json:"torn"`   // bytes after End that a crash left of a batch that was never synced
	Sealed bool   `json:"sealed"` // the log goes on in the next one
}

// Inspection is what a log holds.
type Inspection struct {
	Segments []SegmentInfo
	Batches  uint64
	Groups   map[GroupID]State
}

var recordKinds = map[recordKind]string{kindEntry: "entry", kindHardState: "hard state", kindBase: "base", kindLast: "last", kindSeal: "seal"}

// Inspect reads the log in dir and gives each record to visit, unless that is nil, in the order they were written; its error ends the reading.
// A *CorruptError or *ReadError says what was met, and where: what is returned with it is what was read before. Damaged payloads of entries do not
// end it. The caller holds a lock on the folder, or what is being written meanwhile may look torn or damaged.
func Inspect(fs vfs.FS, dir string, visit func(*Record) error) (Inspection, error) {
	l := &Log{folder: folder{readOnly{fs}, dir}, options: Options{ReportDamaged: true}, groups: map[GroupID]*group{}}
	in := Inspection{Groups: map[GroupID]State{}}
	numbers, _, err := l.folder.list()
	if err != nil {
		return in, err
	}
	if len(numbers) == 0 {
		return in, fmt.Errorf("%w: no segment of one is in %s", ErrNoLog, dir)
	}
	s := survey{log: l, adopt: true}
	var stopped error // what visit said, which is no damage
	s.watch = func(seg *segment, offset int64, h batchHeader, body []byte, intact bool) error {
		in.Batches++
		if visit == nil {
			return nil
		}
		return seg.records(offset, h, body, intact, func(h header, payload []byte, place int64, damaged bool) error {
			stopped = visit(record(seg, &h, payload, place, damaged))
			return stopped
		})
	}
	s.ended = func(seg *segment, t tail) {
		in.Segments = append(in.Segments, SegmentInfo{Name: seg.name, Bytes: seg.size, End: t.end, Torn: t.dirty - t.end, Sealed: t.sealed})
	}
	if err = s.read(numbers); stopped != nil {
		err = stopped
	}
	for id := range l.groups {
		in.Groups[id] = l.State(id)
	}
	return in, errors.Join(err, s.closeSpare(), l.closeSegments())
}

func record(seg *segment, h *header, payload []byte, place int64, damaged bool) *Record {
	r := &Record{
		Segment: seg.name, Offset: place, Kind: recordKinds[h.kind], Checkpoint: h.flags&flagCheckpoint != 0, Group: h.group,
		ID: h.id, EntryKind: h.entryKind, Time: h.time, Bytes: len(payload), Damaged: damaged,
	}
	if h.kind == kindHardState {
		r.Vote = rpc.NodeID(payload)
	}
	return r
}

// readOnly opens for reading what would be opened for writing too.
type readOnly struct{ vfs.FS }

// OpenReadWrite implements vfs.FS.
func (fs readOnly) OpenReadWrite(name string, _ vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.Open(name, o...)
}
