package node

// Compaction: which entries the log may forget. Enough is kept that a member that was away for a short while needs no snapshot, and
// never less than what the state machine would have to apply again after a power loss. The log is looked at and cut off
// the loop; the core says yes to it, since it must not ask for what is gone.

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

const (
	// KeepLogBytesDefault is the default of Options.KeepLogBytes.
	KeepLogBytesDefault = 64 << 20
	// compactEvery is how often the log is looked at, in ticks.
	compactEvery = 100
)

// compactor is the step machine; the loop gives it work.
type compactor struct {
	worker
	log     *wal.Log
	look    func() error // nil if the log takes more: see appender.room
	machine StateMachine
	keep    int64 // bytes of log
	inbox   *inbox

	logger *slog.Logger

	room    error // as of the last look, by whoever calls step
	looking bool  // owned by the loop: a look is under way
	ticks   int   // owned by the loop: until the next one
}

// tick has the log looked at from time to time. then is called on the loop.
func (c *compactor) tick(then func(to rpc.Index)) {
	if c.ticks--; c.ticks > 0 || c.looking {
		return
	}
	c.ticks, c.looking = compactEvery, true
	c.do(func() error {
		if err := c.dropUnneeded(); err != nil {
			return err
		}
		to := c.horizon()
		c.inbox.call(func() {
			if c.looking = false; to > 0 {
				then(to)
			}
		})
		return nil
	})
}

// dropUnneeded deletes segments that nothing needs since the log has its base, which came with an installed snapshot, or that could not be deleted then. On a
// full disk nothing is written that would have the log compacted again (F21).
func (c *compactor) dropUnneeded() error {
	state := c.log.State(onlyGroup)
	if !state.HasBase {
		return nil
	}
	return c.log.Compact(onlyGroup, state.Base)
}

// horizon is the index up to which the log should be forgotten now; 0: nothing is worth it. On a full disk all that can be spared
// goes (F21); where only too many files are open that would help nobody.
func (c *compactor) horizon() rpc.Index {
	keep, room, before := c.keep, c.look(), c.room
	if diskFull(room) {
		keep = 0
	}
	c.room = room
	if diskFull(room) != diskFull(before) || wal.TooManyFiles(room) != wal.TooManyFiles(before) {
		c.tellRoom()
	}
	return c.log.Horizon(onlyGroup, c.machine.Durable(), keep)
}

func (c *compactor) tellRoom() {
	switch {
	case wal.TooManyFiles(c.room):
		c.logger.Error("too many files are open: writes are refused and reads go on; have some closed, or allow more, writes resume by themselves", "err", c.room)
	case diskFull(c.room):
		c.logger.Error("the disk is full: writes are refused and reads go on; free some space, writes resume by themselves")
	default:
		c.logger.Info("the disk has room again: writes are taken")
	}
}

// compact carries out what the core agreed to. Where the log begins later by then, since a snapshot was installed, only segments are left
// to be deleted.
func (c *compactor) compact(base raft.Base) {
	c.do(func() error {
		b, err := folder.LogBase(c.log, base)
		switch {
		case errors.Is(err, folder.ErrBegins):
			b = &wal.Base{ID: base.ID}
		case err != nil:
			return fmt.Errorf("the time of entry %v: %w", base.ID, err)
		}
		return c.log.Compact(onlyGroup, *b)
	})
}
