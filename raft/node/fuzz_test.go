package node

// What a node reads from its folder at the start, besides log and state: nonsense is an error or no snapshot, never a panic, and never
// costs much more memory than it is long.

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// storedSnapshot is the file of a snapshot that was received whole.
func storedSnapshot(t testing.TB) []byte {
	fs := vfs.NewMem()
	stage, err := createStage(fs, "s", snapHead{From: "n2", Term: 3, Transfer: 9, Snapshot: rpc.EntryID{Term: 2, Index: 40}})
	require.NoError(t, err)
	stream := append(make([]byte, timeBytes), bytes.Repeat([]byte("state"), 40)...)
	require.NoError(t, stage.add(stream[:100]))
	require.NoError(t, stage.add(stream[100:]))
	sum := sha256.Sum256(stream)
	require.NoError(t, stage.finish(sum[:], &rpc.Configuration{Index: 7, Voters: []rpc.Member{{ID: "n1"}, {ID: "n2"}}}))
	file, err := fs.Open("s")
	require.NoError(t, err)
	raw, err := io.ReadAll(file)
	require.NoError(t, errors.Join(err, file.Close()))
	return raw
}

func FuzzSnapshotFile(f *testing.F) {
	whole := storedSnapshot(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-20])
	f.Add(whole[:40])
	f.Add([]byte(snapMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := newSnapReader(bytes.NewReader(raw))
		if err != nil {
			require.ErrorIs(t, err, errSnapshotFile)
			return
		}
		n, err := io.Copy(io.Discard, r)
		require.LessOrEqual(t, n, int64(len(raw)))
		if err != nil {
			require.ErrorIs(t, err, errSnapshotFile)
			require.False(t, r.whole)
			return
		}
		require.True(t, r.whole)
	})
}

func FuzzIdentity(f *testing.F) {
	good := `{"version":1,"node":"n1","instance":"00112233445566778899aabbccddeeff","starts":3,"begun":true}`
	f.Add([]byte(good), true)
	f.Add([]byte(`{"version":2}`), true)
	f.Add([]byte(`{"version":3}`), true) // of a later build (F28)
	f.Add([]byte(`{}`), true)
	f.Add([]byte(good), false)
	f.Fuzz(func(t *testing.T, line []byte, sealed bool) {
		raw := line
		if sealed { // nothing gets past the checksum else
			raw = fmt.Appendf(bytes.Clone(line), "\n%08x\n", crc32.Checksum(line, castagnoli))
		}
		ident, err := parseIdentity(raw)
		if err == nil {
			require.Contains(t, []int{1, identityVersion}, ident.Version)
		}
	})
}

func FuzzBase(f *testing.F) {
	conf := rpc.Configuration{Index: 7, Voters: []rpc.Member{{ID: "n1"}}}
	f.Add(encodeBase(&raft.Base{Configuration: conf}))
	f.Add(encodeBase(&raft.Base{Time: 12345, Configuration: conf}))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		base, err := decodeBase(&wal.Base{Configuration: raw})
		if err != nil {
			require.ErrorIs(t, err, rpc.ErrMalformed)
			return
		}
		again, err := decodeBase(&wal.Base{Configuration: encodeBase(&base)})
		require.NoError(t, err)
		require.Equal(t, base, again)
	})
}
