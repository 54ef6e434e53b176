package store

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// feeder makes entries and applies them, as a node would.
type feeder struct {
	t     *testing.T
	store *Store
}

func open(t *testing.T, fs vfs.FS) feeder {
	t.Helper()
	s, err := Open(Options{FS: fs, Dir: "node/store"})
	require.NoError(t, err)
	return feeder{t, s}
}

// apply applies commands, one entry each, in one call.
func (f feeder) apply(commands ...command.Command) []Result {
	f.t.Helper()
	last := f.store.Applied()
	entries := make([]rpc.Entry, len(commands))
	for i, c := range commands {
		index := last.Index + 1 + rpc.Index(i)
		entries[i] = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index) * 1000, Data: c.Encode()}
	}
	answers, err := f.store.Apply(entries)
	require.NoError(f.t, err)
	results := make([]Result, len(answers))
	for i, answer := range answers {
		results[i] = answer.(Result)
	}
	return results
}

func (f feeder) one(c command.Command) Result {
	f.t.Helper()
	return f.apply(c)[0]
}

func (f feeder) close() {
	f.t.Helper()
	require.NoError(f.t, f.store.Close())
}

func addBucket(name string, s command.Settings) command.Command {
	return command.Command{AddBucket: &command.AddBucket{Name: name, Settings: s}}
}

func removeBucket(name string) command.Command {
	return command.Command{RemoveBucket: &command.RemoveBucket{Name: name}}
}

func put(bucket, key, value string) command.Command {
	return write(command.Write{Bucket: bucket, Key: key, Value: []byte(value)})
}

func write(w command.Write) command.Command { return command.Command{Write: &w} }

func del(bucket, key string) command.Command {
	return write(command.Write{Bucket: bucket, Key: key, Op: command.Delete})
}

func TestPutIsReadAndSurvivesReopen(t *testing.T) {
	fs := vfs.NewCrashableMem()
	f := open(t, fs)
	require.Equal(t, Result{Revision: 1}, f.one(addBucket("app", command.Settings{})))
	require.Equal(t, Result{Sequence: 1, Revision: 2}, f.one(put("app", "color", "blue")))
	want := Entry{Key: "color", Value: []byte("blue"), Sequence: 1, Revision: 2, Time: 2000}
	got, err := f.store.Get("app", "color")
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Zero(t, f.store.Durable())
	f.close()

	f = open(t, fs)
	require.Equal(t, rpc.EntryID{Term: 1, Index: 2}, f.store.Applied())
	require.Equal(t, rpc.Index(2), f.store.Durable())
	got, err = f.store.Get("app", "color")
	require.NoError(t, err)
	require.Equal(t, want, got)
	f.close()
}

func TestRestoreGivesTheSameState(t *testing.T) {
	f := open(t, vfs.NewCrashableMem())
	f.one(addBucket("app", command.Settings{History: 3}))
	for range 5 {
		f.one(put("app", "color", "blue"))
	}
	snap, err := f.store.Snapshot()
	require.NoError(t, err)
	var stream bytes.Buffer
	n, err := snap.WriteTo(&stream)
	require.NoError(t, err)
	require.EqualValues(t, stream.Len(), n)
	require.NoError(t, snap.Close())

	g := open(t, vfs.NewCrashableMem())
	g.one(addBucket("other", command.Settings{}))
	require.NoError(t, g.store.Restore(&stream))
	atF, sumF, err := f.store.StateHash()
	require.NoError(t, err)
	atG, sumG, err := g.store.StateHash()
	require.NoError(t, err)
	require.Equal(t, atF, atG)
	require.Equal(t, sumF, sumG)
	require.Equal(t, rpc.Index(6), g.store.Durable())
	f.close()
	g.close()
}
