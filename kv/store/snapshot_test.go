package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

func drop(_, _ []byte) error { return nil }

func smallSnapshot(t testing.TB, value string) []byte {
	s, err := Open(Options{FS: vfs.NewMem(), Dir: "s"})
	require.NoError(t, err)
	var entries []rpc.Entry
	for i, c := range []command.Command{addBucket("app", command.Settings{}), put("app", "k", value), put("app", "l", value)} {
		entries = append(entries, rpc.Entry{Index: rpc.Index(i + 1), Term: 3, Kind: rpc.EntryCommand, Time: 5, Data: c.Encode()})
	}
	_, err = s.Apply(entries)
	require.NoError(t, err)
	snap, err := s.Snapshot()
	require.NoError(t, err)
	require.Equal(t, rpc.EntryID{Term: 3, Index: 3}, snap.ID())
	var b bytes.Buffer
	_, err = snap.WriteTo(&b)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	require.NoError(t, snap.Close(), "once more does nothing")
	require.NoError(t, s.Close())
	return b.Bytes()
}

// Every flipped bit and every cut of a snapshot is noticed (D1).
func TestDamagedSnapshotIsRefused(t *testing.T) {
	stream := smallSnapshot(t, "value")
	_, err := readSnapshot(bytes.NewReader(stream), drop)
	require.NoError(t, err)
	for i := range stream {
		_, err := readSnapshot(bytes.NewReader(stream[:i]), drop)
		require.ErrorIs(t, err, ErrBadSnapshot, "cut at %d", i)
		for bit := range 8 {
			damaged := slices.Clone(stream)
			damaged[i] ^= 1 << bit
			_, err := readSnapshot(bytes.NewReader(damaged), drop)
			require.ErrorIs(t, err, ErrBadSnapshot, "bit %d of byte %d", bit, i)
		}
	}
	long := binary.LittleEndian.AppendUint32([]byte(snapshotMagic), frameBytesMax+1)
	_, err = readSnapshot(bytes.NewReader(append(long, 0, 0, 0, 0)), drop)
	require.ErrorContains(t, err, "frame of", "refused for its length, before it is read")
	_, err = readSnapshot(bytes.NewReader(append(stream, 0)), drop)
	require.ErrorIs(t, err, ErrBadSnapshot)
}

// frames cuts a snapshot into magic and frames.
func frames(stream []byte) [][]byte {
	parts := [][]byte{stream[:len(snapshotMagic)]}
	for rest := stream[len(snapshotMagic):]; len(rest) > 0; {
		n := 8 + int(binary.LittleEndian.Uint32(rest))
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	return parts
}

func TestFramesOfTwoSnapshotsDoNotMix(t *testing.T) { // K30
	one, other := frames(smallSnapshot(t, "one")), frames(smallSnapshot(t, "two"))
	require.Len(t, one, 4)
	mixed := bytes.Join([][]byte{one[0], one[1], other[2], one[3]}, nil)
	_, err := readSnapshot(bytes.NewReader(mixed), drop)
	require.ErrorContains(t, err, "checksum of the whole")
	for name, parts := range map[string][][]byte{
		"without the head":   {one[0], one[2], one[3]},
		"with two heads":     {one[0], one[1], one[1], one[2], one[3]},
		"records left out":   {one[0], one[1], one[3]},
		"records twice":      {one[0], one[1], one[2], one[2], one[3]},
		"something after it": {one[0], one[1], one[2], one[3], one[3]},
	} {
		_, err := readSnapshot(bytes.NewReader(bytes.Join(parts, nil)), drop)
		require.ErrorIs(t, err, ErrBadSnapshot, name)
	}
}

// forged makes a snapshot whose checksums are right, of records that are not.
func forged(t *testing.T, id rpc.EntryID, pairs ...string) []byte {
	var b bytes.Buffer
	w, err := newFrameWriter(&b, id)
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, w.record([]byte(pairs[i]), []byte(pairs[i+1])))
	}
	require.NoError(t, w.end())
	return b.Bytes()
}

func TestRestoreRefusesWhatItCannotTrust(t *testing.T) {
	f := open(t, vfs.NewCrashableMem())
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
	before := sumOf(t, f.store)
	at := func(index rpc.Index) (rpc.EntryID, string) {
		id := rpc.EntryID{Term: 1, Index: index}
		return id, string((&state{applied: id}).encode())
	}
	id, record := at(9)
	old, oldRecord := at(1)
	damaged := forged(t, id, string(stateKey), record)
	damaged[len(damaged)-1] ^= 1
	for name, stream := range map[string][]byte{
		"records out of order": forged(t, id, string(stateKey), record, "\x05", "", "\x04", ""),
		"a record twice":       forged(t, id, string(stateKey), record, string(stateKey), record),
		"no state":             forged(t, id, "\x05", ""),
		"another state":        forged(t, id, string(stateKey), oldRecord),
		"an older state":       forged(t, old, string(stateKey), oldRecord),
		"damage":               damaged,
		"nothing":              nil,
	} {
		require.Error(t, f.store.Restore(bytes.NewReader(stream)), name)
		require.Equal(t, before, sumOf(t, f.store), name)
	}
	require.ErrorIs(t, f.store.Restore(io.MultiReader(bytes.NewReader(damaged[:20]), iotest.ErrReader(io.ErrClosedPipe))), io.ErrClosedPipe)
	require.NoError(t, f.store.Restore(bytes.NewReader(forged(t, id, string(stateKey), record))))
	require.Equal(t, id, f.store.Applied())
	f.close()
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	f := open(t, vfs.NewCrashableMem())
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
	snap, err := f.store.Snapshot()
	require.NoError(t, err)
	var first, second bytes.Buffer
	_, err = snap.WriteTo(&first)
	require.NoError(t, err)
	f.apply(put("app", "k", "w"), removeBucket("app"))
	require.NoError(t, f.store.flush())
	require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, f.store)))) // another engine takes over
	_, err = snap.WriteTo(&second)
	require.NoError(t, err)
	require.Equal(t, first.Bytes(), second.Bytes())
	numbers, err := f.store.folder.numbers()
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, numbers)
	require.NoError(t, snap.Close())
	numbers, err = f.store.folder.numbers()
	require.NoError(t, err)
	require.Equal(t, []uint64{2}, numbers, "the old state goes with its last reader")
	f.close()
}

func TestSnapshotIsStreamedInFrames(t *testing.T) {
	f := open(t, vfs.NewCrashableMem())
	f.one(addBucket("app", command.Settings{}))
	value := string(bytes.Repeat([]byte("v"), 10_000))
	for i := range 200 {
		f.one(put("app", string(rune('a'+i)), value))
	}
	stream := streamOf(t, f.store)
	require.Greater(t, len(frames(stream)), 20)
	for _, frame := range frames(stream) {
		require.LessOrEqual(t, len(frame), frameBytes+11_000)
	}
	snap, err := f.store.Snapshot()
	require.NoError(t, err)
	_, err = snap.WriteTo(&failAfter{n: 100_000})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.NoError(t, snap.Close())
	f.close()
}

type failAfter struct{ n int }

func (f *failAfter) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(smallSnapshot(f, "value"), true)
	f.Fuzz(func(t *testing.T, stream []byte, mend bool) {
		if mend && len(stream) > len(snapshotMagic)+8 { // let more than the first checksum be met
			copy(stream, snapshotMagic)
			for rest := stream[len(snapshotMagic):]; len(rest) > 8; {
				n := min(len(rest)-8, int(binary.LittleEndian.Uint32(rest)))
				binary.LittleEndian.PutUint32(rest[4:], crc32.Checksum(rest[8:8+n], castagnoli))
				rest = rest[8+n:]
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = readSnapshot(bytes.NewReader(stream), drop)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(4*len(stream)+160<<10) {
			t.Fatalf("%d bytes allocated for %d", got, len(stream))
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add((&state{applied: rpc.EntryID{Term: 1, Index: 2}, revision: 3, time: 4}).encode())
	f.Add((&bucketRecord{1, 2, command.Settings{History: 3}}).encode())
	f.Add((&statsRecord{1, 2, 3, 4, 5}).encode())
	f.Add((&keyRecord{live: []live{{1, 2, command.Put}, {3, 4, command.Delete}}}).encode())
	f.Add((&entryRecord{"k", command.Purge, []byte("v"), 1, 2}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decodeState(data); err == nil {
			again, err := decodeState(s.encode())
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
		if r, err := decodeBucket(data); err == nil {
			_, err := decodeBucket(r.encode())
			require.NoError(t, err)
		}
		if r, err := decodeStats(data); err == nil {
			again, err := decodeStats(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if r, err := decodeKey(data); err == nil {
			again, err := decodeKey(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if r, err := decodeEntry(data); err == nil {
			again, err := decodeEntry(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}

// The bytes on disk are fixed for good.
func TestStoredBytesAreAsPublished(t *testing.T) {
	require.Equal(t, "\x08\x01\x10\x02\x18\x01\x20\x03\x28\x04", string((&state{rpc.EntryID{Term: 1, Index: 2}, 3, 4}).encode()))
	require.Equal(t, "\x08\x01\x10\x02\x1a\x02\x08\x03", string((&bucketRecord{1, 2, command.Settings{History: 3}}).encode()))
	require.Equal(t, "\x08\x01\x10\x02\x18\x03\x20\x04\x28\x05", string((&statsRecord{1, 2, 3, 4, 5}).encode()))
	require.Equal(t, "\x0a\x04\x08\x01\x10\x02\x0a\x06\x08\x03\x10\x04\x18\x01", string((&keyRecord{live: []live{{1, 2, command.Put}, {3, 4, command.Delete}}}).encode()))
	require.Equal(t, "\x0a\x01k\x10\x02\x1a\x01v\x20\x01\x28\x02", string((&entryRecord{"k", command.Purge, []byte("v"), 1, 2}).encode()))
	require.Equal(t, "\x02app", string(bucketKey("app")))
	require.Equal(t, "\x03\x00\x00\x00\x00\x00\x00\x00\x01", string(statsKey(1)))
	require.Equal(t, "\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02", string(entryKey(1, 2)))
	require.Equal(t, "\x05\x00\x00\x00\x00\x00\x00\x00\x01a.b", string(keyKey(1, "a.b")))
	require.Equal(t, []byte{2}, prefixEnd([]byte{1, 0xff}))
	require.Nil(t, prefixEnd([]byte{0xff, 0xff}))
}
