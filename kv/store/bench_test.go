package store

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

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
			value := make([]byte, 256)
			entries := make([]rpc.Entry, batch)
			b.ReportAllocs()
			index := rpc.Index(1)
			for n := 0; b.Loop(); n += batch {
				for i := range entries {
					index++
					entries[i] = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index), Data: write(command.Write{Bucket: "app", Key: fmt.Sprint(int(index) * 7919 % 100_000), Value: value}).Encode()}
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
	require.NoError(b, s.Flush())
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		_, err := s.Get("app", fmt.Sprint(n*7919%100_000))
		require.NoError(b, err)
	}
	require.NoError(b, s.Close())
}

// BenchmarkCrash is what the simulator does all the time: a store is opened, given 100 entries in batches of 10 with a flush
// midway, loses power, and is opened again.
func BenchmarkCrash(b *testing.B) {
	var entries []rpc.Entry
	for i := range 100 {
		c := put("app", fmt.Sprint(i*7%30), "a value of twenty-odd bytes")
		if i == 0 {
			c = addBucket("app", command.Settings{History: 3})
		}
		entries = append(entries, rpc.Entry{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: int64(i), Data: c.Encode()})
	}
	for name, fresh := range map[string]func() disk{"memory": newMemory, "pebble": newPebble} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := fresh()
				s, err := Open(d.options())
				require.NoError(b, err)
				for i := 0; i < len(entries); i += 10 {
					_, err := s.Apply(entries[i : i+10])
					require.NoError(b, err)
					if i == 50 {
						require.NoError(b, s.Flush())
					}
				}
				left := d.crash(0, 0)
				again, err := Open(left.options())
				require.NoError(b, err)
				require.EqualValues(b, 60, again.Applied().Index)
				if name == "pebble" { // or its goroutines stay
					require.NoError(b, s.Close())
					require.NoError(b, again.Close())
				}
			}
		})
	}
}

// BenchmarkMillionTTLs is a million keys of 100 bytes that live for ten minutes, by a TTL of their own or by their bucket's: what it
// costs to ask, each time, whether one is over while none is, and what each costs that is. RAFTBUS_LONG makes it a million; else a
// tenth.
func BenchmarkMillionTTLs(b *testing.B) {
	keys := 100_000
	if share > 0 {
		keys = 1_000_000
	}
	const ttl = 10 * time.Minute
	for name, c := range map[string]struct {
		settings command.Settings
		own      time.Duration
	}{"own": {command.Settings{AllowTTL: true}, ttl}, "bucket": {command.Settings{TTL: ttl}, 0}} {
		b.Run(name, func(b *testing.B) {
			s, err := Open(Options{FS: vfs.Default, Dir: b.TempDir()})
			require.NoError(b, err)
			index := rpc.Index(0)
			apply := func(at time.Duration, commands ...command.Command) {
				entries := make([]rpc.Entry, len(commands))
				for i, c := range commands {
					index++
					entries[i] = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(at), Data: c.Encode()}
				}
				_, err := s.Apply(entries)
				require.NoError(b, err)
			}
			apply(0, addBucket("app", c.settings))
			value := make([]byte, 100)
			var batch []command.Command
			for i := range keys {
				batch = append(batch, write(command.Write{Bucket: "app", Key: fmt.Sprintf("key.%d", i*7919%keys), Value: value, TTL: c.own}))
				if len(batch) == 64 || i == keys-1 {
					apply(time.Duration(i)*time.Microsecond, batch...)
					batch = batch[:0]
				}
			}
			require.NoError(b, s.Flush())
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, err = s.Due(0, 1000) // makes the schedule
			require.NoError(b, err)
			runtime.GC()
			runtime.ReadMemStats(&after)
			began := cpuTime(b)
			const asked = 10_000
			for range asked {
				next, _, err := s.NextDue()
				require.NoError(b, err)
				require.GreaterOrEqual(b, next, int64(ttl))
				items, err := s.Due(next-1, 1000)
				require.NoError(b, err)
				require.Empty(b, items)
			}
			asking := cpuTime(b) - began
			b.ResetTimer()
			began = cpuTime(b)
			expired := 0
			for b.Loop() {
				for expired < keys { // once; what is left is nothing
					items, err := s.Due(int64(time.Hour), 1000)
					require.NoError(b, err)
					require.NotEmpty(b, items)
					expired += len(items)
					apply(time.Hour, command.Command{Expire: &command.Expire{Items: items}})
				}
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(keys), "cpu-ns/expired")
			b.ReportMetric(float64(asking.Nanoseconds())/asked, "cpu-ns/ask")
			b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "B-schedule")
			b.ReportMetric(float64(after.HeapAlloc)/(1<<20), "MiB-heap")
			info, err := s.Bucket("app")
			require.NoError(b, err)
			require.Zero(b, info.Entries)
			require.NoError(b, s.Close())
		})
	}
}

// cpuTime is what the process has used of its processors: machines that run benchmarks are rarely idle.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
