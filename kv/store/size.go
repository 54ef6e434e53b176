package store

import "github.com/raftbus/raftbus/kv/store/engine"

// Reserve is how much of the disk others leave free for a state that has so many bytes there: what waits in memory to be flushed, and what one
// compaction takes on the way. With less, a state that grew until the disk was full would have no room to be merged, and one that has none at
// all to flush ends the node (F21).
func Reserve(disk uint64) int64 {
	return engine.FlushRoomBytes + int64(min(disk, engine.CompactionRoomBytes))
}

// Size is how large the state is; zero where the engine does not know, and after Close. It costs more than an atomic: not for every
// request.
func (s *Store) Size() engine.Size {
	db, _, err := s.use()
	if err != nil {
		return engine.Size{}
	}
	defer db.release()
	return db.Size()
}
