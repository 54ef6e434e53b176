package store

// What the engine fails to read: it is told, and taken neither for what is not there nor for the end (D1, I5).

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// cutView is a view whose reading breaks off.
type cutView struct{ engine.View }

func (cutView) Scan(_, _ []byte, _ func(k, v []byte) (bool, error)) error { return io.ErrUnexpectedEOF }

// A snapshot of which not all was read has no end, by which a peer would take it for whole.
func TestASnapshotThatCannotBeReadHasNoEnd(t *testing.T) {
	f := open(t, newMemory())
	defer f.close()
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
	snap, err := f.store.snapshot()
	require.NoError(t, err)
	whole := snap.view
	snap.view = cutView{whole}
	_, err = snap.WriteTo(io.Discard)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	snap.view = whole
	require.NoError(t, snap.Close())
}

// deaf is an engine that reads no key once it fails.
type deaf struct {
	engine.Engine
	fails *bool
}

func (d deaf) Open() (engine.DB, error) {
	db, err := d.Engine.Open()
	return deafDB{db, d.fails}, err
}

type deafDB struct {
	engine.DB
	fails *bool
}

func (d deafDB) Get(key []byte) ([]byte, error) {
	if *d.fails && key[0] == tableKey {
		return nil, syscall.EIO
	}
	return d.DB.Get(key)
}

// sweeping is an engine that counts how often what is left over is removed.
type sweeping struct {
	engine.Engine
	swept *int
}

func (s sweeping) RemoveLeftovers() error {
	*s.swept++
	return s.Engine.RemoveLeftovers()
}

// Beside a state that cannot be read nothing is removed: what looks left over may be all that there is (D4, K51).
func TestBesideAStateThatCannotBeReadNothingIsRemoved(t *testing.T) {
	swept := 0
	o := Options{Engine: sweeping{memengine.New(), &swept}, ManualFlush: true}
	s, err := Open(o)
	require.NoError(t, err)
	require.Equal(t, 1, swept)
	batch := s.db.NewBatch()
	batch.Set(stateKey, []byte{0xff})
	require.NoError(t, batch.Commit())
	batch.Close()
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.Close())
	_, err = Open(o)
	require.Error(t, err)
	require.Equal(t, 1, swept)
}

// A key that cannot be read is not one that is not there: one node would create what the others refuse.
func TestAKeyThatCannotBeReadIsNoMissingOne(t *testing.T) {
	memory, fails := memengine.New(), false
	f := open(t, memoryDisk{memory})
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
	require.NoError(t, f.store.Flush())
	f.close()
	s, err := Open(Options{Engine: deaf{memory, &fails}, ManualFlush: true})
	require.NoError(t, err)
	fails = true
	_, err = s.Apply([]rpc.Entry{{Index: s.Applied().Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: put("app", "k", "w").Encode()}})
	require.ErrorIs(t, err, syscall.EIO)
	require.NoError(t, s.Close())
}
