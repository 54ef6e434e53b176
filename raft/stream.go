package raft

// stream says of the AppendLogs to one peer whether they follow each other so closely that the next one may say what is committed: a CommitLog
// for each, its answer, and a run of what was committed for itself, cost a follower and the bus nearly what another AppendLog does. Whoever is
// told later applies later, and so do the watchers that it serves: by a share of a tick while the stream goes on, by two ticks when it ends.
type stream struct {
	sent    uint64 // tick of the last AppendLog
	sends   int    // how many AppendLogs left in that tick
	entries int    // and how many entries with them
	dense   bool   // in the tick before it so many AppendLogs left that more are to come at once
	bulk    bool   // or so many entries, within two ticks before it, that few of them wait long
}

const (
	// denseSends is how many AppendLogs in a tick are a stream of them: with the default tick of 10 ms the next comes in 2 ms, on average.
	denseSends = 5
	// bulkEntries in a tick are a stream, in however few AppendLogs: so many come from clients that wait for each other already.
	bulkEntries = 32
)

// note notes that an AppendLog leaves.
func (s *stream) note(now uint64, entries int) {
	if now != s.sent {
		since := now - s.sent
		s.dense = since == 1 && s.sends >= denseSends
		s.bulk = since <= 2 && s.entries >= bulkEntries
		s.sent, s.sends, s.entries = now, 0, 0
	}
	s.sends++
	s.entries += entries
}

// goesOn reports whether the next AppendLog is soon to come.
func (s *stream) goesOn(now uint64) bool {
	return s.dense && now == s.sent || s.bulk && now-s.sent <= 1
}
