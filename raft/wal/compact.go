package wal

// Front truncation: a new base, then the segments that no group needs any more.

// Compact forgets the entries of group g up to b.ID.Index: first b becomes durable, then segments that no group needs are
// deleted. If the log does not hold the entry b.ID, nothing of the group's log is kept (a snapshot was installed). A base
// that is not above the present one changes nothing. It waits for a running Append, and Appends wait for the first part only.
func (l *Log) Compact(g GroupID, b Base) error {
	l.compactMu.Lock()
	defer l.compactMu.Unlock()
	if s := l.State(g); s.HasBase && b.ID.Index <= s.Base.ID.Index {
		return l.alive()
	}
	if err := l.Append(Batch{Group: g, Base: &b}); err != nil {
		return err
	}
	for _, name := range l.dropUnneeded() {
		// One by one, oldest first, each durable before the next: so a gap between segments is always damage.
		if err := l.remove(name); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// dropUnneeded takes the segments that hold nothing of use out of the log and returns their names. They are the oldest
// ones; the active segment is not among them, and it has a checkpoint, since something was just appended.
func (l *Log) dropUnneeded() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.segments) - 1
	for _, g := range l.groups {
		if len(g.index.points) > 0 {
			n = min(n, l.position(g.index.points[0].segment))
		}
	}
	names := make([]string, 0, n)
	for _, s := range l.segments[:n] {
		names = append(names, s.name)
	}
	for _, f := range l.retire(n) {
		_ = f.Close() // everything in it was synced long ago, or is not needed
	}
	return names
}

func (l *Log) position(s *segment) int { return int(s.segment - l.segments[0].segment) }

func (l *Log) remove(name string) error {
	if err := l.folder.fs.Remove(l.folder.path(name)); err != nil {
		return err
	}
	return l.folder.sync()
}
