package raft

// The log as the core sees it: the terms of all entries, the newest entries, and the writes that are on their way to the disk.

import (
	"sort"

	"github.com/raftbus/raftbus/raft/rpc"
)

// raftLog is what the core knows of its log: the term of every entry, and the newest entries themselves. All that is not
// yet durable is in memory; what is, may be evicted and read again from the disk.
type raftLog struct {
	base     rpc.EntryID // the entry before the first
	baseTime int64       // its time, where it is known
	runs     []rpc.TermRun
	last     rpc.Index
	time     int64       // of the last entry
	cache    []rpc.Entry // contiguous, ends at last
	bytes    int         // size of the cache

	submitted rpc.Index // given to the disk up to here
	synced    rpc.Index // durable up to here
	writes    []pendingWrite
	seq       uint64 // of the last write submitted
	heads     uint64 // of the last one whose head is durable: what goes before its entries
}

// pendingWrite is a write on its way to the disk. Its last falls when the entries it wrote are replaced by a later write:
// its completion then attests only what is left of it, even if an equal entry comes back (K22).
type pendingWrite struct {
	seq  uint64
	last rpc.Index
	tick uint64 // when it was submitted
}

// term returns the term of the entry at i; false if it is not in the log (K24: never a panic).
func (l *raftLog) term(i rpc.Index) (rpc.Term, bool) {
	if i == l.base.Index {
		return l.base.Term, true
	}
	if i < l.base.Index || i > l.last {
		return 0, false
	}
	n := sort.Search(len(l.runs), func(k int) bool { return l.runs[k].First > i })
	return l.runs[n-1].Term, true
}

func (l *raftLog) has(id rpc.EntryID) bool {
	t, ok := l.term(id.Index)
	return ok && t == id.Term
}

func (l *raftLog) lastID() rpc.EntryID {
	t, _ := l.term(l.last)
	return rpc.EntryID{Term: t, Index: l.last}
}

// mayMatch is the highest entry at or below id that can be in a log that holds id: everything above it has a higher
// term than id, so it surely is not. One call skips a whole conflicting term (thesis 5.3; K26).
func (l *raftLog) mayMatch(id rpc.EntryID) rpc.EntryID {
	i := min(id.Index, l.last)
	n := sort.Search(len(l.runs), func(k int) bool { return l.runs[k].Term > id.Term })
	if n < len(l.runs) {
		i = min(i, l.runs[n].First-1)
	}
	if i <= l.base.Index {
		return l.base
	}
	t, _ := l.term(i)
	return rpc.EntryID{Term: t, Index: i}
}

// append adds entries, replacing the log from the first of them on.
func (l *raftLog) append(entries []rpc.Entry) {
	if first := entries[0].Index; first <= l.last {
		l.truncate(first)
	}
	for i := range entries {
		e := &entries[i]
		if len(l.runs) == 0 || l.runs[len(l.runs)-1].Term != e.Term {
			l.runs = append(l.runs, rpc.TermRun{First: e.Index, Term: e.Term})
		}
		l.bytes += e.Size()
	}
	l.grow(len(entries))
	l.cache = append(l.cache, entries...)
	l.last = entries[len(entries)-1].Index
	l.time = entries[len(entries)-1].Time
}

// grow makes room for more entries, and then for as many again as there are: by smaller steps each entry is moved many times, to memory that
// was never used.
func (l *raftLog) grow(more int) {
	if len(l.cache)+more > cap(l.cache) {
		l.cache = append(make([]rpc.Entry, 0, max(2*len(l.cache), len(l.cache)+more)), l.cache...)
	}
}

// truncate forgets the entries from first on. The caller appends others there in the same step.
func (l *raftLog) truncate(first rpc.Index) {
	keep := 0
	if start := l.cacheFirst(); first > start {
		keep = int(first - start)
	}
	for i := keep; i < len(l.cache); i++ {
		l.bytes -= l.cache[i].Size()
	}
	// A copy: those who were handed the old tail still read it (K21).
	l.cache = append([]rpc.Entry(nil), l.cache[:keep]...)
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].First >= first {
		l.runs = l.runs[:len(l.runs)-1]
	}
	l.last = first - 1
	l.submitted = min(l.submitted, l.last)
	l.synced = min(l.synced, l.last)
	for i := range l.writes {
		l.writes[i].last = min(l.writes[i].last, l.last)
	}
}

// forget drops all up to an entry that the log holds (thesis 5). What is handed out already stays readable.
func (l *raftLog) forget(to rpc.EntryID) {
	if start := l.cacheFirst(); to.Index >= start {
		n := to.Index + 1 - start
		l.baseTime = l.cache[n-1].Time
		for i := range n {
			l.bytes -= l.cache[i].Size()
		}
		l.cache = append([]rpc.Entry(nil), l.cache[n:]...)
	} else if to != l.base {
		l.baseTime = 0 // on the disk, for the driver to look up
	}
	l.base = to
	if l.last == to.Index {
		l.runs = nil
	} else {
		n := sort.Search(len(l.runs), func(k int) bool { return l.runs[k].First > to.Index+1 })
		l.runs = append([]rpc.TermRun(nil), l.runs[n-1:]...)
		l.runs[0].First = to.Index + 1
	}
	// What a snapshot brought is durable by itself, also where this log's own entries up to there were not yet.
	l.synced, l.submitted = max(l.synced, to.Index), max(l.submitted, to.Index)
}

// reset makes the log begin, and end, with an entry of another history, whose snapshot was installed (K27). Writes under way attest
// nothing that is left.
func (l *raftLog) reset(to rpc.EntryID, time int64) {
	l.base, l.baseTime, l.last, l.time = to, time, to.Index, time
	l.runs, l.cache, l.bytes = l.runs[:0], nil, 0
	l.submitted, l.synced = to.Index, to.Index
	for i := range l.writes {
		l.writes[i].last = min(l.writes[i].last, to.Index)
	}
}

func (l *raftLog) cacheFirst() rpc.Index { return l.last + 1 - rpc.Index(len(l.cache)) }

// cached returns entries from 'from' on, up to 'to' (not included), at least one, as many as fit in maxBytes; nil if
// the first of them is not in memory.
func (l *raftLog) cached(from, to rpc.Index, maxBytes int) []rpc.Entry {
	start := l.cacheFirst()
	if from < start || from >= to || from > l.last {
		return nil
	}
	list := l.cache[from-start : min(to, l.last+1)-start]
	size := 0
	for i := range list {
		size += list[i].Size()
		if i > 0 && (size > maxBytes || i == maxEntriesPerMessage) {
			return list[:i:i]
		}
	}
	return list[:len(list):len(list)]
}

// evict drops the oldest entries from memory until it holds at most maxBytes, but none that is not durable.
func (l *raftLog) evict(maxBytes int) {
	if l.bytes <= maxBytes {
		return
	}
	n, start := 0, l.cacheFirst()
	for l.bytes > maxBytes/2 && start+rpc.Index(n) <= l.synced {
		l.bytes -= l.cache[n].Size()
		n++
	}
	if n > 0 { // so that the evicted ones can be freed; about as many will come again
		room := len(l.cache) + len(l.cache)/8
		l.cache = append(make([]rpc.Entry, 0, room), l.cache[n:]...)
	}
}

// crowded reports whether more than maxBytes wait for the disk.
func (l *raftLog) crowded(maxBytes int) bool {
	l.evict(maxBytes)
	return l.bytes > maxBytes // what is durable would have been dropped first
}

// submit takes what the disk has not been given, as one write.
func (l *raftLog) submit(base *Base, hs *rpc.HardState, repairs []rpc.Entry, tick uint64) Write {
	if base == nil && hs == nil && repairs == nil && l.submitted == l.last {
		return Write{}
	}
	l.seq++
	w := Write{Seq: l.seq, Base: base, HardState: hs, Repairs: repairs}
	if l.submitted < l.last {
		tail := l.cache[l.submitted+1-l.cacheFirst():]
		w.Entries = tail[:len(tail):len(tail)]
	}
	l.submitted = l.last
	l.writes = append(l.writes, pendingWrite{seq: l.seq, last: l.last, tick: tick})
	return w
}

// complete notes that writes up to seq are durable, and of those up to head all but their entries, of which those of the next are up to part.
func (l *raftLog) complete(seq, head uint64, part rpc.Index) {
	n := 0
	for n < len(l.writes) && l.writes[n].seq <= seq {
		l.synced = max(l.synced, l.writes[n].last)
		n++
	}
	l.writes = append(l.writes[:0], l.writes[n:]...)
	if len(l.writes) > 0 && l.writes[0].seq == head {
		l.synced = max(l.synced, min(part, l.writes[0].last)) // not what was cut off since
	}
	l.heads = max(l.heads, head)
}

// renew has all that is not durable count as submitted now.
func (l *raftLog) renew(tick uint64) {
	for i := range l.writes {
		l.writes[i].tick = tick
	}
}

// stalledSince is the tick at which the oldest write that is not durable was submitted.
func (l *raftLog) stalledSince() (uint64, bool) {
	if len(l.writes) == 0 {
		return 0, false
	}
	return l.writes[0].tick, true
}

// sizeOf is what entries weigh.
func sizeOf(entries []rpc.Entry) (bytes int) {
	for i := range entries {
		bytes += entries[i].Size()
	}
	return bytes
}
