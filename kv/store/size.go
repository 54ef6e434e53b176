package store

import "github.com/raftbus/raftbus/kv/store/engine"

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
