package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

func smallSnapshot(t testing.TB, value string) []byte {
	s, err := Open(newMemory().options())
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

// A record of the largest value that NATS allows goes with what its frame holds already, and is read again (C6).
func TestTheLargestRecordIsReadAgain(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = r.Close() }() // and with it who writes; it does not fail

	records := [][]byte{make([]byte, 63<<10), make([]byte, 64<<20-8<<10)} // the first does not close the frame
	go func() {
		out, err := NewSnapshotWriter(w, rpc.EntryID{Term: 1, Index: 1})
		for i, value := range records {
			if err == nil {
				err = out.Record([]byte{byte(i)}, value)
			}
		}
		if err == nil {
			err = out.End()
		}
		_ = w.CloseWithError(err) // it does not fail
	}()
	read := 0
	require.NoError(t, ReadRecords(r, func(key, value []byte) error {
		require.Equal(t, []byte{byte(read)}, key)
		require.Len(t, value, len(records[read]))
		read++
		return nil
	}))
	require.Equal(t, len(records), read)
}

// States that differ in a key, or in a value of the same length, differ in their hash (I5).
func TestTheHashIsOfKeysAndValues(t *testing.T) {
	hashes := map[string]string{}
	for _, state := range [][2]string{{"k", "one"}, {"k", "two"}, {"l", "one"}} {
		f := open(t, newMemory())
		f.apply(addBucket("app", command.Settings{}), put("app", state[0], state[1]))
		hash := sumOf(t, f.store)
		require.Empty(t, hashes[hash], state)
		hashes[hash] = state[0] + state[1]
		f.close()
	}
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
func forged(t testing.TB, id rpc.EntryID, pairs ...string) []byte {
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
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
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
	})
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
		snap, err := f.store.Snapshot()
		require.NoError(t, err)
		var first, second bytes.Buffer
		_, err = snap.WriteTo(&first)
		require.NoError(t, err)
		f.apply(put("app", "k", "w"), removeBucket("app"))
		require.NoError(t, f.store.Flush())
		require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, f.store)))) // another engine takes over
		_, err = snap.WriteTo(&second)
		require.NoError(t, err)
		require.Equal(t, first.Bytes(), second.Bytes())
		require.NoError(t, snap.Close())
		f.close()
	})
}

func TestSnapshotIsStreamedInFrames(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
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
		var again bytes.Buffer // it broke, and is begun again
		n, err := snap.WriteTo(&again)
		require.NoError(t, err)
		require.EqualValues(t, len(stream), n)
		require.Equal(t, stream, again.Bytes())
		if !raceDetector { // Pebble's iterators copy each value then, in some runs: it looks for readers of what has gone
			requireBounded(t, 1, 2*frameBytes, func() { _, err = snap.WriteTo(io.Discard) }) // of two million
			require.NoError(t, err)
		}
		require.NoError(t, snap.Close())
		f.close()
	})
}

type failAfter struct{ n int }

func (f *failAfter) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// The bytes on disk are fixed for good.
func TestStoredBytesAreAsPublished(t *testing.T) {
	require.Equal(t, "\x08\x01\x10\x02\x18\x01\x20\x03\x28\x04", string((&state{applied: rpc.EntryID{Term: 1, Index: 2}, revision: 3, time: 4}).encode()))
	require.Equal(t, "\x08\x02\x10\x02\x18\x01\x20\x03\x28\x04\x30\x03", string((&state{rpc.EntryID{Term: 1, Index: 2}, 3, 4, 3}).encode()))
	require.Equal(t, "\x08\x01\x10\x02\x1a\x02\x08\x03", string((&bucketRecord{incarnation: 1, created: 2, settings: command.Settings{History: 3}}).encode()))
	require.Equal(t, "\x08\x01\x10\x02\x18\x03\x20\x04\x28\x05", string((&statsRecord{sequence: 1, entries: 2, bytes: 3, keys: 4, deleted: 5}).encode()))
	require.Equal(t, "\x0a\x04\x08\x01\x10\x02\x0a\x06\x08\x03\x10\x04\x18\x01", string((&keyRecord{live: []live{{sequence: 1, size: 2}, {sequence: 3, size: 4, op: command.Delete}}}).append(nil)))
	require.Equal(t, "\x0a\x01k\x10\x02\x1a\x01v\x20\x01\x28\x02", string((&entryRecord{key: "k", op: command.Purge, value: []byte("v"), revision: 1, time: 2}).append(nil)))
	require.Equal(t, "\x08\x01\x20\x07", string((&bucketRecord{incarnation: 1, changed: 7}).encode()))
	require.Equal(t, "\x0a\x01k\x20\x01\x28\x02\x32\x01H\x38\x01", string((&entryRecord{key: "k", revision: 1, time: 2, header: []byte("H"), ttl: command.Never}).append(nil)))
	require.Equal(t, "\x08\x01\x2a\x01k\x30\x02", string((&bucketRecord{incarnation: 1, trimming: true, trimAfter: "k", idsSince: 2}).encode()))
	require.Equal(t, "\x08\x01\x38\x01", string((&bucketRecord{incarnation: 1, importing: true}).encode()))
	require.Equal(t, "\x08\x01\x2a\x00", string((&bucketRecord{incarnation: 1, trimming: true}).encode()))
	require.Equal(t, "\x08\x01\x30\x02\x38\x03\x40\x04\x48\x05\x52\x01i\x58\x06\x60\x07",
		string((&statsRecord{sequence: 1, due: 2, ids: 3, idsFrom: 4, idsOldest: 5, lastID: "i", lastTime: 6, consumers: 7}).encode()))
	require.Equal(t, "\x0a\x06\x08\x01\x10\x02\x20\x03", string((&keyRecord{live: []live{{sequence: 1, size: 2, due: 3, own: true, time: 9, never: true}}}).append(nil)))
	require.Equal(t, "\x08\x01\x10\x02\x18\x03", string((&idRecord{sequence: 1, revision: 2, time: 3}).encode()))
	require.Equal(t, "\x0a\x01i\x10\x02", string((&idOrder{sequence: 1, id: "i", time: 2}).encode()))
	require.Equal(t, "\x0a\x01b\x12\x01{\x1a\x01d\x22\x01h\x28\x01\x30\x02\x38\x03\x40\x04\x48\x05\x50\x06", string((&Consumer{
		Bucket: "b", Incarnation: 9, Name: "c", Config: []byte("{"), Deliver: "d", Host: "h", Boot: 1, Generation: 2, Added: 3, Changed: 4, Created: 5, Start: 6,
	}).encode()))
	one := "\x00\x00\x00\x00\x00\x00\x00\x01"
	require.Equal(t, "\x06"+one+one+one, string(dueKey(1, 1, 1)))
	require.Equal(t, "\x07"+one+"i", string(idKey(1, "i")))
	require.Equal(t, "\x08"+one+one, string(idOrderKey(1, 1)))
	require.Equal(t, "\x09"+one+"c", string(consumerKey(1, "c")))
	require.Equal(t, "\x02app", string(bucketKey("app")))
	require.Equal(t, "\x03\x00\x00\x00\x00\x00\x00\x00\x01", string(statsKey(1)))
	require.Equal(t, "\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02", string(entryKey(1, 2)))
	require.Equal(t, "\x05\x00\x00\x00\x00\x00\x00\x00\x01a.b", string(keyKey(1, "a.b")))
	require.Equal(t, []byte{2}, prefixEnd([]byte{1, 0xff}))
	require.Nil(t, prefixEnd([]byte{0xff, 0xff}))
}

// drop is for who wants to know of a snapshot only whether it can be read.
func drop(_, _ []byte) error { return nil }
