package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// BenchmarkApply puts 256-byte values to 100,000 keys, in batches as a node under load has them.
func BenchmarkApply(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			s, err := Open(Options{FS: vfs.Default, Dir: b.TempDir()})
			require.NoError(b, err)
			apply := func(entries []rpc.Entry) {
				_, err := s.Apply(entries)
				require.NoError(b, err)
			}
			apply([]rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: addBucket("app", command.Settings{}).Encode()}})
			value := string(make([]byte, 256))
			entries := make([]rpc.Entry, batch)
			b.ReportAllocs()
			index := rpc.Index(1)
			for n := 0; b.Loop(); n += batch {
				for i := range entries {
					index++
					entries[i] = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index), Data: put("app", fmt.Sprint(int(index)*7919%100_000), value).Encode()}
				}
				apply(entries)
			}
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "puts/s")
			require.NoError(b, s.Close())
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := Open(Options{FS: vfs.Default, Dir: b.TempDir()})
	require.NoError(b, err)
	entries := []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: addBucket("app", command.Settings{}).Encode()}}
	for i := range 100_000 {
		entries = append(entries, rpc.Entry{Index: rpc.Index(i + 2), Term: 1, Kind: rpc.EntryCommand, Data: put("app", fmt.Sprint(i), string(make([]byte, 256))).Encode()})
	}
	_, err = s.Apply(entries)
	require.NoError(b, err)
	require.NoError(b, s.flush())
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		_, err := s.Get("app", fmt.Sprint(n*7919%100_000))
		require.NoError(b, err)
	}
	require.NoError(b, s.Close())
}
