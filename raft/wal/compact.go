package wal

// Front truncation: a new base, then the segments that no group needs any more. What a policy needs to choose the base is
// here too; when to compact, and what a snapshot must hold first, is the driver's.

import (
	"errors"
	"sort"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Horizon returns the index of the base with which Compact does the most good: the highest one, not above limit, that frees
// group g's part of whole segments while at least keepBytes of newer segments stay; 0 if there is none. limit is what the
// caller has a durable snapshot of. keepBytes is what lets a briefly absent follower catch up without one; 0 frees all but
// the segment being written, which is what a full disk asks for.
//
// keepBytes counts what is in the files, whichever group's: if all groups follow their horizons the log takes keepBytes and
// a segment or two, and a group that writes little holds up nobody. The horizon of one whose last entry is older than that
// is its last entry. A segment is deleted once every group has passed it.
func (l *Log) Horizon(g GroupID, limit rpc.Index, keepBytes int64) rpc.Index {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.groups[g] == nil {
		return 0
	}
	for n := l.keptFrom(keepBytes); n > 0; n-- {
		i, frees := l.groups[g].index.lastBefore(l.segments[n].segment)
		if !frees {
			return 0
		}
		if i <= limit {
			return i
		}
	}
	return 0
}

// keptFrom is the position of the newest segment from which on there are so many bytes. The caller holds mu.
func (l *Log) keptFrom(bytes int64) int {
	n := len(l.segments) - 1
	for ; n > 0; n-- {
		if bytes -= l.segments[n].end; bytes <= 0 {
			break
		}
	}
	return n
}

// Around returns how many bytes of the disk Compact would free of a log that is group g's alone if entry i were the base, and how many bytes of the
// log hold the entries above i.
func (l *Log) Around(g GroupID, i rpc.Index) (below, above int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.groups[g] == nil || len(l.groups[g].index.points) == 0 {
		return 0, 0
	}
	index := &l.groups[g].index
	first := index.points[max(index.before(i+1), 0)]
	at := l.position(first.segment)
	for _, s := range l.segments[:at] {
		below += s.size
	}
	if i >= index.next-1 {
		return below, 0
	}
	for _, s := range l.segments[at:] {
		above += s.end
	}
	return below, above - first.offset
}

// lastBefore is the last entry that is not in segment number or a later one, and whether there is any.
func (x *index) lastBefore(number uint64) (rpc.Index, bool) {
	n := sort.Search(len(x.points), func(k int) bool { return x.points[k].segment.segment >= number })
	if n < len(x.points) {
		return x.points[n].first - 1, n > 0
	}
	return x.next - 1, n > 0
}

// Compact forgets the entries of group g up to b.ID.Index: first b becomes durable, then segments that no group needs are
// deleted. If the log does not hold the entry b.ID, nothing of the group's log is kept (a snapshot was installed; K27). A
// base that is not above the present one changes nothing, but segments are deleted all the same: that is how the space of a
// log is freed whose base came with an Append. It waits for a running Append, and Appends wait for the first part only.
func (l *Log) Compact(g GroupID, b Base) error {
	l.compactMu.Lock()
	defer l.compactMu.Unlock()
	if err := l.rebase(g, b); err != nil {
		return err
	}
	names, idle := l.dropUnneeded()
	_ = closeAll(idle) // everything in them was synced long ago, or is not needed
	l.unneeded = append(l.unneeded, names...)
	for len(l.unneeded) > 0 {
		// One by one, oldest first, each durable before the next: so a gap between segments is always damage.
		err := l.remove(l.unneeded[0])
		if TooManyFiles(err) {
			return nil // the next Compact goes on
		}
		if err != nil {
			return l.fail(err)
		}
		l.unneeded = l.unneeded[1:]
	}
	return nil
}

// rebase makes b the group's base if it is above the present one, which the Append that it waits for may change.
func (l *Log) rebase(g GroupID, b Base) error {
	if l.beginsAt(g, b) {
		return l.alive()
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if l.beginsAt(g, b) {
		return l.alive()
	}
	return l.append([]Batch{{Group: g, Base: &b}})
}

// beginsAt reports whether the group's log begins at b, or later.
func (l *Log) beginsAt(g GroupID, b Base) bool {
	s := l.State(g)
	return s.HasBase && b.ID.Index <= s.Base.ID.Index
}

// dropUnneeded takes the segments that hold nothing of use out of the log and returns their names, and the files that nobody
// reads. They are the oldest ones.
func (l *Log) dropUnneeded() (names []string, idle []vfs.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.newestCheckpoint()
	for _, g := range l.groups {
		if len(g.index.points) > 0 {
			n = min(n, l.position(g.index.points[0].segment))
		}
	}
	for _, s := range l.segments[:n] {
		names = append(names, s.name)
	}
	return names, l.retire(n)
}

// newestCheckpoint is the position of the last segment that begins with a checkpoint, before which segments are needed for
// entries only. It is not the active one while the first batch of that is being written, nor one that holds its seal and
// nothing else. The caller holds mu.
func (l *Log) newestCheckpoint() int {
	n := len(l.segments) - 1
	if l.segments[n].end > sectorBytes {
		return n
	}
	for n--; n > 0 && l.segments[n].end == 2*sectorBytes; n-- {
	}
	return max(n, 0)
}

func (l *Log) position(s *segment) int { return int(s.segment - l.segments[0].segment) }

// remove deletes a segment durably. The directory is opened first: where that is one file too many, nothing was done.
func (l *Log) remove(name string) error {
	dir, err := l.folder.fs.OpenDir(l.folder.dir)
	if err != nil {
		return err
	}
	if err = l.folder.fs.Remove(l.folder.path(name)); err == nil {
		err = dir.Sync()
	}
	return errors.Join(err, dir.Close())
}
