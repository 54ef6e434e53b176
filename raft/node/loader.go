package node

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/wal"
)

// loader reads entries from the log for followers that are far behind.
type loader struct {
	worker
	log   *wal.Log
	inbox *inbox
}

// submit has what one peer needs be read, and given to the loop; false: as many reads wait as there may be peers, those of earlier terms among them.
func (l *loader) submit(load raft.Load) bool {
	if l.waiting() >= config.MaxMembers {
		return false
	}
	l.do(func() error {
		done, err := l.load(load)
		if err == nil {
			l.inbox.completed(done)
		}
		return err
	})
	return true
}

func (l *loader) load(load raft.Load) (raft.Loaded, error) {
	entries, err := l.log.Entries(onlyGroup, load.From, load.To, load.MaxBytes)
	if errors.Is(err, wal.ErrCompacted) {
		return raft.Loaded{Load: load, Compacted: true}, nil
	}
	if err != nil {
		return raft.Loaded{}, fmt.Errorf("read entries from %d for %s: %w", load.From, load.Peer, withRemedy(err))
	}
	return raft.Loaded{Load: load, Entries: entries}, nil
}
