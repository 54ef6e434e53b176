package rpc_test

// What encoding and decoding cost in memory: the bounds that are promised, and figures.

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func appendLog(n, dataBytes int) *rpc.AppendLogCommand {
	c := &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 3, Index: 100_000}, Commit: 100_000}
	for i := range n {
		c.Entries = append(c.Entries, rpc.Entry{
			Index: 100_001 + rpc.Index(i), Term: 3, Kind: rpc.EntryCommand, Time: goldenTime, Data: make([]byte, dataBytes),
		})
	}
	return c
}

func TestAppendAllocatesNothing(t *testing.T) {
	for name, keys := range testedKeys() {
		for _, b := range goldenBodies() {
			dst := make([]byte, 0, rpc.Size(b))
			require.Zero(t, testing.AllocsPerRun(100, func() { rpc.Append(dst, &goldenHeader, b, keys) }), "%s %T", name, b)
		}
	}
}

// Two ids, the body, and one slice for all entries.
func TestDecodeAllocatesOnceForAllEntries(t *testing.T) {
	for name, keys := range testedKeys() {
		for _, n := range []int{1, 64, 4096} {
			frame := rpc.Append(nil, &goldenHeader, appendLog(n, 16), keys)
			require.EqualValues(t, 4, testing.AllocsPerRun(10, func() {
				_, _, err := rpc.Decode(frame, keys)
				require.NoError(t, err)
			}), "%s, %d entries", name, n)
		}
	}
}

// testedKeys leaves the sealed case out where the race detector makes sync.Pool forget on purpose.
func testedKeys() map[string]*rpc.Keys {
	if raceDetector {
		return map[string]*rpc.Keys{"plain": nil}
	}
	return map[string]*rpc.Keys{"plain": nil, "sealed": rpc.NewKeys(newKey, oldKey)}
}

func TestDecodeAllocatesInProportion(t *testing.T) {
	require.EqualValues(t, 56, unsafe.Sizeof(rpc.Entry{}), "MaxEntries and SmallEntries count with this size")

	tiny := field(fieldEntries, entry(1, 1))
	member := field(fieldVoters, field(1, []byte("n1")))
	fill := func(n int, piece []byte) []byte { return many(n, func(int) []byte { return piece }) }
	follow := func(n int) []byte {
		return many(n, func(i int) []byte { return field(fieldEntries, entry(uint64(i), 1)) })
	}
	for name, frame := range map[string][]byte{
		"as many small entries as pass":     message(field(bodyAppendLog, follow(rpc.SmallEntries))),
		"entries that do not follow":        message(field(bodyAppendLog, fill(rpc.SmallEntries, tiny))),
		"more small entries than pass":      message(field(bodyAppendLog, follow(4096))),
		"very many empty entries":           message(field(bodyAppendLog, fill(1_000_000, field(fieldEntries)))),
		"a large first entry, then nothing": message(field(bodyAppendLog, field(fieldEntries, entry(1, 1), field(5, make([]byte, 20_000))), fill(4095, field(fieldEntries)))),
		"members":                           message(field(bodyPingReturn, field(fieldConf, fill(rpc.MaxMembers, member)))),
		"very many members":                 message(field(bodyPingReturn, field(fieldConf, fill(100_000, member)))),
		"very many starts":                  message(field(bodyPingReturn, fill(100_000, field(10, field(1, []byte("n1")))))),
		"very many configurations":          message(field(bodyPingReturn, fill(100_000, field(fieldConf)))),
		"very many bodies":                  message(fill(100_000, field(bodyCommitLog))),
		"very many senders":                 message(fill(1000, field(fieldFrom, []byte("n1")))),
		"the largest honest message":        rpc.Append(nil, &goldenHeader, appendLog(rpc.MaxEntries, 10), nil),
	} {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, allocated(func() { _, _, _ = rpc.Decode(frame, nil) }), 2*len(frame)+64<<10, "%d bytes read", len(frame))
		})
	}
}

// allocated is how many bytes f allocates: the least of some runs, since the test runner allocates beside it.
func allocated(f func()) int {
	least := -1
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if n := int(after.TotalAlloc - before.TotalAlloc); least < 0 || n < least {
			least = n
		}
	}
	return least
}

func BenchmarkAppendLog(b *testing.B) {
	for _, n := range []int{1, 64} {
		for name, keys := range map[string]*rpc.Keys{"plain": nil, "sealed": rpc.NewKeys(newKey, nil)} {
			command := appendLog(n, 256)
			frame := rpc.Append(nil, &goldenHeader, command, keys)
			b.Run(fmt.Sprintf("encode/entries=%d/%s", n, name), func(b *testing.B) {
				dst := make([]byte, 0, rpc.Size(command))
				b.ReportAllocs()
				b.SetBytes(int64(len(frame)))
				for b.Loop() {
					rpc.Append(dst, &goldenHeader, command, keys)
				}
			})
			b.Run(fmt.Sprintf("decode/entries=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(frame)))
				for b.Loop() {
					if _, _, err := rpc.Decode(frame, keys); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
