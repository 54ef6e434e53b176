package sim

// The state machine under a simulated node: the product's store, with a look for the watcher at all that is applied, read as a snapshot or replaced.

import (
	"io"

	"github.com/raftbus/raftbus/kv/store"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// machine is the store as the node sees it, with all that passes shown to the watcher.
type machine struct {
	process *process
	store   *store.Store
	pending int // bytes applied since the last flush
}

func newMachine(p *process) *machine { return &machine{process: p, store: p.store} }

// flushBytes is how much is applied before a flush, as the store's flusher has it: what a start applies again takes no longer than L8
// allows, however slowly it goes.
const flushBytes = 32 << 10

func (m *machine) Apply(entries []rpc.Entry) ([]any, error) {
	w := m.process.world.watch
	w.applies(m.process, entries)
	results, err := m.store.Apply(entries)
	if err == nil {
		w.applied(m.process, entries, results)
		m.wrote(entries)
	}
	return results, err
}

func (m *machine) wrote(entries []rpc.Entry) {
	for i := range entries {
		m.pending += entries[i].Size()
	}
	if m.pending >= flushBytes {
		m.pending = 0
		_ = m.store.Flush() // there is no disk under it that fails
	}
}

func (m *machine) Applied() rpc.EntryID { return m.store.Applied() }
func (m *machine) Durable() rpc.Index   { return m.store.Durable() }

func (m *machine) Snapshot() (raftnode.Snapshot, error) {
	s, err := m.store.Snapshot()
	if err == nil {
		m.process.world.watch.hashed(m.process) // whoever restores it must come to the same (I13)
	}
	return s, err
}

func (m *machine) Restore(r io.Reader) error {
	before := m.store.Applied().Index
	if err := m.store.Restore(r); err != nil {
		return err
	}
	m.process.world.watch.restored(m.process, before)
	return nil
}

func (m *machine) Close() error { return m.store.Close() }
