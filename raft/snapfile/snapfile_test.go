package snapfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var storedStream = append(make([]byte, TimeBytes), bytes.Repeat([]byte("state"), 40)...)

// storedSnapshot is the file of a snapshot that was received whole.
func storedSnapshot(t testing.TB) []byte {
	fs := vfs.NewMem()
	stage, err := Create(fs, "s", Head{From: "n2", Term: 3, Transfer: 9, Snapshot: rpc.EntryID{Term: 2, Index: 40}})
	require.NoError(t, err)
	require.NoError(t, stage.Add(storedStream[:100]))
	require.NoError(t, stage.Add(storedStream[100:]))
	sum := sha256.Sum256(storedStream)
	require.NoError(t, stage.Finish(sum[:], &rpc.Configuration{Index: 7, Voters: []rpc.Member{{ID: "n1"}, {ID: "n2"}}}))
	file, err := fs.Open("s")
	require.NoError(t, err)
	raw, err := io.ReadAll(file)
	require.NoError(t, errors.Join(err, file.Close()))
	return raw
}

func asItIs(r io.Reader) io.Reader { return r }

// Every bit of a received snapshot's file counts, and so does every byte of its length (D1).
func TestSnapshotFileNoticesDamage(t *testing.T) {
	t.Parallel() // it shares nothing
	d := &Dir{FS: vfs.NewMem(), Root: "/"}
	whole := storedSnapshot(t)
	verify := func(raw []byte) error {
		f, err := d.FS.Create(d.Path(Complete), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write(raw)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		_, err = d.Verify(asItIs)
		return err
	}
	require.NoError(t, verify(whole))
	for i := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			require.ErrorIs(t, verify(bad), ErrDamaged, "byte %d bit %d", i, bit)
			if r, err := NewReader(bytes.NewReader(bad)); err == nil {
				given, _ := io.ReadAll(r)
				require.True(t, bytes.HasPrefix(storedStream[TimeBytes:], given), "byte %d bit %d was given away", i, bit)
			}
		}
		require.ErrorIs(t, verify(whole[:i]), ErrDamaged, "cut at %d", i)
	}
}

// asked counts how often a file's disk was asked to begin with what was written.
type asked struct {
	vfs.File
	times int
}

func (f *asked) SyncTo(int64) (bool, error) { f.times++; return false, nil }

// The disk is asked to begin with a snapshot that comes in now and then: for each chunk would be too often for the log on the same disk, and never would leave all for the end.
func TestASnapshotGoesToTheDiskByTheMegabyte(t *testing.T) {
	s, err := Create(vfs.NewMem(), "s", Head{From: "n2", Term: 3, Transfer: 9, Snapshot: rpc.EntryID{Term: 2, Index: 40}})
	require.NoError(t, err)
	file := &asked{File: s.file}
	s.file = file
	for range 64 {
		require.NoError(t, s.Add(make([]byte, 64<<10)))
	}
	require.InDelta(t, 4, file.times, 1, "of four megabytes")
	require.NoError(t, s.Close())
}
