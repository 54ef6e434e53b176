package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// What needs a later version changes nothing before the Raise that opens it, on every node alike; after it, it is done, and builds that do
// not know it refuse the store, and a snapshot of it (F28).
func TestRaiseOpensWhatIsNew(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		f.one(addBucket("app", command.Settings{}))
		freeze := command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{ReadOnly: true}}}
		require.Equal(t, Result{Code: NotOpen}, f.one(freeze))
		require.EqualValues(t, command.Base, f.store.Open())
		require.EqualValues(t, 1, f.stateRecord(t)[1], "a build that knows no other format may come back")

		require.Equal(t, Done, f.one(command.Command{Raise: &command.Raise{Version: 3}}).Code)
		require.Equal(t, Done, f.one(command.Command{Raise: &command.Raise{Version: 2}}).Code, "it never falls")
		require.EqualValues(t, 3, f.store.Open())
		require.EqualValues(t, 2, f.stateRecord(t)[1], "builds before refuse it")
		require.Equal(t, Done, f.one(freeze).Code)

		g := open(t, fresh())
		restoreFrom(t, g.store, f.store)
		require.EqualValues(t, 3, g.store.Open(), "a snapshot says so too")
		g.close()
		f.close()
		f = open(t, d)
		require.EqualValues(t, 3, f.store.Open())
		f.close()
	})
}

func (f feeder) stateRecord(t *testing.T) []byte {
	record, err := f.store.db.Get(stateKey)
	require.NoError(t, err)
	return record
}

func restoreFrom(t *testing.T, to, from *Store) {
	view, err := from.Snapshot()
	require.NoError(t, err)
	defer view.Close()
	var b bytes.Buffer
	_, err = view.WriteTo(&b)
	require.NoError(t, err)
	require.NoError(t, to.Restore(&b))
}

// A store that was opened to more than this build knows is refused, with what to do.
func TestAStoreOpenedToMoreIsRefused(t *testing.T) {
	_, err := decodeState((&state{raised: command.Version + 1}).encode())
	require.ErrorContains(t, err, "run the version that wrote it, or a later one")
}

// A read-only bucket takes no writes and no purges; it is read, updated back and removed.
func TestReadOnlyBuckets(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(command.Command{Raise: &command.Raise{Version: 3}})
		f.one(addBucket("app", command.Settings{}))
		f.one(put("app", "k", "v"))
		f.one(command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{ReadOnly: true}}})
		for _, c := range []command.Command{put("app", "k", "w"), del("app", "k"), {PurgeBucket: &command.PurgeBucket{Name: "app"}}} {
			require.Equal(t, Result{Code: ReadOnly}, f.one(c))
		}
		e, err := f.store.Last("app", "k")
		require.NoError(t, err)
		require.Equal(t, "v", string(e.Value))
		require.Equal(t, Done, f.one(command.Command{UpdateBucket: &command.UpdateBucket{Name: "app"}}).Code)
		require.Equal(t, Done, f.one(put("app", "k", "w")).Code)
		f.close()
	})
}

// In a read-only bucket entries still expire, and it can be removed.
func TestReadOnlyBucketsEnd(t *testing.T) { // F24
	f := open(t, newMemory())
	settings := command.Settings{TTL: 10 * time.Second, AllowTTL: true, MarkerTTL: time.Second}
	f.at(0, command.Command{Raise: &command.Raise{Version: 3}}, addBucket("app", settings), put("app", "aged", "v"), putTTL("app", "own", 5*time.Second))
	settings.ReadOnly = true
	f.at(0, command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: settings}})
	over := f.due(time.Hour, 10)
	require.Len(t, over, 2)
	require.Equal(t, []Result{{Count: 2}}, f.at(time.Hour, expire(over...)))
	for _, key := range []string{"aged", "own"} {
		marker, err := f.store.Last("app", key)
		require.NoError(t, err)
		require.Equal(t, command.Purge, marker.Op)
	}
	require.Equal(t, Done, f.at(time.Hour, removeBucket("app"))[0].Code)
	f.close()
}
