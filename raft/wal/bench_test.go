package wal

// What an Append and an Open cost on a real disk: the one that TMPDIR is on.

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			l, err := Open(vfs.Default, b.TempDir(), Options{})
			require.NoError(b, err)
			es := make([]rpc.Entry, n)
			data := make([]byte, 256)
			next := rpc.Index(1)
			b.ReportAllocs()
			b.SetBytes(int64(n * len(data)))
			for b.Loop() {
				for i := range es {
					es[i] = rpc.Entry{Index: next, Term: 1, Kind: rpc.EntryCommand, Data: data}
					next++
				}
				if err := l.Append(Batch{Entries: es}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(l.Stats().SyncMax.Microseconds()), "µs-max")
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkBareSync is what the disk alone costs: one sector written over in a file that is there, and fdatasync.
func BenchmarkBareSync(b *testing.B) {
	s, err := folder{vfs.Default, b.TempDir()}.makeSegment(place{1, 1}, SegmentBytesDefault, nil)
	require.NoError(b, err)
	sector, at := make([]byte, sectorBytes), int64(sectorBytes)
	for b.Loop() {
		if err := rewrite(s, sector, at); err != nil {
			b.Fatal(err)
		}
		if at += sectorBytes; at == s.size {
			at = sectorBytes
		}
	}
	require.NoError(b, s.file.Close())
}

// BenchmarkEncode is Append without the disk: what of it is ours.
func BenchmarkEncode(b *testing.B) {
	l, err := Open(vfs.NewMem(), "/log", Options{})
	require.NoError(b, err)
	es := entries(1, 1, 65)
	for i := range es {
		es[i].Data = make([]byte, 256)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := l.stage([]Batch{{Entries: es}})
		if l.encode(l.active, 1, false); err != nil {
			b.Fatal(err)
		}
		l.unstage()
	}
	require.NoError(b, l.Close())
}

func BenchmarkEntries(b *testing.B) {
	l, err := Open(vfs.Default, b.TempDir(), Options{})
	require.NoError(b, err)
	const all = 100_000
	es := make([]rpc.Entry, 1000)
	for first := rpc.Index(1); first < all; first += 1000 {
		for i := range es {
			es[i] = rpc.Entry{Index: first + rpc.Index(i), Term: 1, Kind: rpc.EntryCommand, Data: make([]byte, 256)}
		}
		require.NoError(b, l.Append(Batch{Entries: es}))
	}
	for _, bytes := range []int{0, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", bytes), func(b *testing.B) {
			b.ReportAllocs()
			read := 0
			for i := rpc.Index(0); b.Loop(); i += 7919 {
				got, err := l.Entries(0, 1+i%all, all, bytes)
				if err != nil {
					b.Fatal(err)
				}
				read += len(got)
			}
			b.ReportMetric(float64(read)/float64(b.N), "entries/op")
		})
	}
	require.NoError(b, l.Close())
}

// BenchmarkSimulated is the life of a log in a simulator: made, a hundred appends, opened again, on a disk in memory that
// can crash.
func BenchmarkSimulated(b *testing.B) {
	for _, kib := range []int64{8, 16, 64} {
		b.Run(fmt.Sprintf("segment=%dKiB", kib), func(b *testing.B) {
			o := Options{SegmentBytes: kib << 10, LogID: testLogID, Inline: true}
			data := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				fs := vfs.NewCrashableMem()
				l, err := Open(fs, "/log", o)
				require.NoError(b, err)
				for i := rpc.Index(1); i <= 100; i++ {
					err := l.Append(Batch{Entries: []rpc.Entry{{Index: i, Term: 1, Kind: rpc.EntryCommand, Data: data}}})
					if err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, l.Close())
				l, err = Open(fs, "/log", o)
				require.NoError(b, err)
				require.NoError(b, l.Close())
			}
		})
	}
}

func BenchmarkOpenNew(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		l, err := Open(vfs.Default, b.TempDir()+fmt.Sprint(start.UnixNano()), Options{})
		require.NoError(b, err)
		b.ReportMetric(float64(time.Since(start).Microseconds()), "µs-open")
		b.StopTimer()
		require.NoError(b, l.Close())
		b.StartTimer()
	}
}
