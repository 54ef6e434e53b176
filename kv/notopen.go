package kv

// What is newer than some members may be is done only once an administrator has opened the cluster to it (admin.raise, cmd/raftbus/replica).
// No client's request opens anything: until then the cluster can be rolled back to the release that it came from (F28).

import "github.com/raftbus/raftbus/kv/command"

// notOpen refuses a command that the cluster is not open to; nil: it is.
func (s *Service) notOpen(data []byte) *failure {
	needs, open := command.Needs(data), s.store.Open()
	if needs <= open {
		return nil
	}
	return NotOpen.says("it needs feature level %d, and the cluster uses %d: once all members run a release that knows it, an administrator raises it with `raftbus upgrade finish`", needs, open)
}
