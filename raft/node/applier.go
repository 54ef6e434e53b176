package node

import (
	"errors"
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// The applier hands committed entries to the state machine and answers whoever proposed them. The core gives it one run at
// a time, of entries that are durable in this node's own log.

type applier struct {
	log      *wal.Log
	group    wal.GroupID
	machine  StateMachine
	waiters  *waiters
	inbox    *inbox
	bytesMax int
	work     chan raft.Apply // one at a time
}

// step applies one run, and returns the index it reached.
func (a *applier) step(run raft.Apply) (rpc.Index, error) {
	entries, err := a.entries(run)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		if !entries[i].Kind.Known() {
			return 0, fmt.Errorf("entry %v is of kind %d, which this build does not know: run the version that wrote it, or a later one", entries[i].ID(), entries[i].Kind)
		}
	}
	results, err := a.machine.Apply(entries)
	if err != nil {
		return 0, fmt.Errorf("apply entries %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err)
	}
	if len(results) != len(entries) {
		return 0, fmt.Errorf("the state machine gave %d results for %d entries", len(results), len(entries))
	}
	a.waiters.settle(entries, results)
	return entries[len(entries)-1].Index, nil
}

// entries are those the core had in memory, or are read from the log.
func (a *applier) entries(run raft.Apply) ([]rpc.Entry, error) {
	if run.Entries != nil {
		return run.Entries, nil
	}
	entries, err := a.log.Entries(a.group, run.From, run.To+1, a.bytesMax)
	if err == nil && len(entries) == 0 {
		err = errors.New("the log returned nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("read entries %d to %d to apply them: %w", run.From, run.To, err)
	}
	return entries, nil
}

// run is the applier's goroutine.
func (a *applier) run(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case work := <-a.work:
			reached, err := a.step(work)
			if err != nil {
				return err
			}
			a.inbox.completed(raft.ApplyDone{Index: reached})
		}
	}
}

// loader reads entries from the log for followers that are far behind: at most one read per peer waits.
type loader struct {
	log   *wal.Log
	group wal.GroupID
	inbox *inbox
	work  chan raft.Load
}

func (l *loader) step(load raft.Load) (raft.Loaded, error) {
	entries, err := l.log.Entries(l.group, load.From, load.To, load.MaxBytes)
	if errors.Is(err, wal.ErrCompacted) {
		return raft.Loaded{Load: load, Compacted: true}, nil
	}
	if err != nil {
		return raft.Loaded{}, fmt.Errorf("read entries from %d for %s: %w", load.From, load.Peer, err)
	}
	return raft.Loaded{Load: load, Entries: entries}, nil
}

// run is the loader's goroutine.
func (l *loader) run(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case load := <-l.work:
			done, err := l.step(load)
			if err != nil {
				return err
			}
			l.inbox.completed(done)
		}
	}
}
