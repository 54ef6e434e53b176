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
	"github.com/raftbus/raftbus/raft/node"
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

// deaf is an engine that reads no key while it fails.
type deaf struct {
	engine.Engine
	fails *error
}

func (d deaf) Open() (engine.DB, error) {
	db, err := d.Engine.Open()
	return deafDB{db, d.fails}, err
}

type deafDB struct {
	engine.DB
	fails *error
}

func (d deafDB) Get(key []byte) ([]byte, error) {
	if *d.fails != nil && key[0] == tableKey {
		return nil, *d.fails
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

// A key that cannot be read is not one that is not there: one node would create what the others refuse. Nor is anything of its batch applied then, and
// where it can be read once more all is, as if that had not been (F21).
func TestAKeyThatCannotBeReadIsNoMissingOne(t *testing.T) {
	memory, fails := memengine.New(), error(nil)
	f := open(t, memoryDisk{memory})
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
	require.NoError(t, f.store.Flush())
	f.close()
	s, err := Open(Options{Engine: deaf{memory, &fails}, ManualFlush: true})
	require.NoError(t, err)
	before := s.Applied()
	batch := []rpc.Entry{
		{Index: before.Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: addBucket("other", command.Settings{}).Encode()},
		{Index: before.Index + 2, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: put("other", "k", "v").Encode()},
		{Index: before.Index + 3, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: put("app", "k", "w").Encode()},
	}
	for _, fails = range []error{syscall.EIO, syscall.EMFILE} {
		_, err = s.Apply(batch)
		require.ErrorIs(t, err, fails)
		require.ErrorIs(t, err, node.ErrNotApplied)
		require.Equal(t, before, s.Applied())
	}
	fails = nil
	results, err := s.Apply(batch)
	require.NoError(t, err)
	require.Equal(t, []any{Result{Revision: 3}, Result{Sequence: 1, Revision: 4}, Result{Sequence: 2, Revision: 5}}, results)
	require.NoError(t, s.Close())
}

// What an Apply that failed had removed of a key is not remembered as gone: its second try comes to the same as one that never failed (I5).
func TestWhatWasNotAppliedIsForgotten(t *testing.T) {
	app := command.Settings{History: 3, TTL: 1}
	lower := command.Settings{History: 1, TTL: 1}
	for name, c := range map[string]command.Command{
		"purge":  purge(command.PurgeBucket{Filter: "k", Keep: 1}),
		"lower":  {UpdateBucket: &command.UpdateBucket{Name: "app", Settings: lower}},
		"expire": expire(command.ExpireItem{Bucket: "app", Incarnation: 1, Sequence: 2, Key: "k"}),
	} {
		var sums []string
		for _, fault := range []error{nil, syscall.EMFILE} {
			memory, fails := memengine.New(), error(nil)
			f := open(t, memoryDisk{memory})
			f.apply(addBucket("app", app), put("app", "unread", "v"))
			require.NoError(t, f.store.Flush())
			f.close()
			s, err := Open(Options{Engine: deaf{memory, &fails}, ManualFlush: true})
			require.NoError(t, err)
			f.store = s
			f.apply(put("app", "k", "1"), put("app", "k", "2"), put("app", "k", "3"))
			entries := []rpc.Entry{
				{Index: 6, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: c.Encode()},
				{Index: 7, Term: 1, Kind: rpc.EntryCommand, Time: 9_000, Data: put("app", "unread", "w").Encode()},
			}
			if fails = fault; fault != nil {
				_, err = s.Apply(entries)
				require.ErrorIs(t, err, node.ErrNotApplied)
				fails = nil
			}
			_, err = s.Apply(entries)
			require.NoError(t, err)
			sums = append(sums, sumOf(t, s))
			f.close()
		}
		require.Equal(t, sums[0], sums[1], name)
	}
}

// lost is an engine that takes no batch.
type lost struct{ engine.Engine }

func (l lost) Open() (engine.DB, error) {
	db, err := l.Engine.Open()
	return lostDB{db}, err
}

type lostDB struct{ engine.DB }

func (l lostDB) NewBatch() engine.Batch { return lostBatch{l.DB.NewBatch()} }

type lostBatch struct{ engine.Batch }

func (lostBatch) Commit() error { return syscall.EMFILE }

// What came of a batch that the engine did not take nobody knows: it does not count as one of which nothing was applied (I5).
func TestABatchThatIsNotTakenMayBeApplied(t *testing.T) {
	s, err := Open(Options{Engine: lost{memengine.New()}, ManualFlush: true})
	require.NoError(t, err)
	_, err = s.Apply([]rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryNoop}})
	require.ErrorIs(t, err, syscall.EMFILE)
	require.NotErrorIs(t, err, node.ErrNotApplied)
	require.NoError(t, s.Close())
}
