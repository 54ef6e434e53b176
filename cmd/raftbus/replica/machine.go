package replica

// The store as the node's state machine, and what is said to do where it fails.

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

// machine is the store. What ends the node says what to do: the first reason counts, and Apply may meet a damaged file before anybody hears that the
// store has failed.
type machine struct {
	*store.Store
	replica *Replica
}

func (m machine) Apply(entries []rpc.Entry) ([]any, error) {
	results, err := m.Store.Apply(entries)
	if err != nil && !errors.Is(err, command.ErrUnknown) {
		err = m.replica.storeError(err)
	}
	return results, err
}

// Restore says so of the store only: what is wrong with the snapshot is the node's to cure.
func (m machine) Restore(snapshot io.Reader) error {
	from := &source{Reader: snapshot}
	err := m.Store.Restore(from)
	if err == nil || from.failed || errors.Is(err, store.ErrBadSnapshot) {
		return err
	}
	return m.replica.storeError(err)
}

// source remembers whether it could not be read on.
type source struct {
	io.Reader
	failed bool
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.failed = s.failed || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

// watchStore stops the node when the store's disk fails, also when nothing is written that would notice (D5).
func (r *Replica) watchStore(ctx context.Context) {
	select {
	case <-r.store.Failed():
		r.node.Abort(r.storeError(r.store.Failure()))
	case <-ctx.Done():
	}
}

// fatal is told by the store.
func (r *Replica) fatal(err error) {
	if r.o.Fatal != nil {
		r.o.Fatal(r.storeError(err))
	}
}

// storeError says what to do about a store that does not open, or failed. The state has no repair of its own: the other nodes
// have it (D1). One that only lacked room has lost nothing, and needs no repair.
func (r *Replica) storeError(err error) error {
	if lacks := lack(err); lacks != "" {
		return fmt.Errorf("the state in %s: %w. Nothing was lost: %s, and start the node again, which waits for that", r.folder.Path("kv"), err, lacks)
	}
	return fmt.Errorf("the state in %s: %w. Nothing was deleted: check the disk, and start the node again; if a file is damaged, keep the data folder, give the node an empty one, start it with --join, then raftbus member replace %s; the other nodes hold what was acknowledged",
		r.folder.Path("kv"), err, r.o.ID)
}
