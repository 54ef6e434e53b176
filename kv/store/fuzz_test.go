package store

// Decoders against hostile bytes: a snapshot comes from the bus, records from a snapshot or a disk. None may panic, or
// allocate much more than it was given.

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/raft/rpc"
)

// requireBounded fails if run allocates more than factor times the input and 64 KiB.
func requireBounded(t *testing.T, factor, input int, run func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(factor*input+64<<10) {
		t.Fatalf("%d bytes allocated for %d", got, input)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(smallSnapshot(f, "value"), true)
	f.Add(smallSnapshot(f, "value"), false)
	f.Add(smallSnapshot(f, string(make([]byte, 100<<10))), false)
	f.Add(binary.LittleEndian.AppendUint64([]byte(snapshotMagic), frameBytesMax), false) // and nothing of it
	f.Fuzz(func(t *testing.T, stream []byte, mend bool) {
		if mend && len(stream) > len(snapshotMagic)+8 { // let more than the first checksum be met
			copy(stream, snapshotMagic)
			for rest := stream[len(snapshotMagic):]; len(rest) > 8; {
				n := min(len(rest)-8, int(binary.LittleEndian.Uint32(rest)))
				binary.LittleEndian.PutUint32(rest[4:], crc32.Checksum(rest[8:8+n], castagnoli))
				rest = rest[8+n:]
			}
		}
		requireBounded(t, 2, len(stream), func() { _, _ = readSnapshot(bytes.NewReader(stream), drop) })
	})
}

func FuzzRecords(f *testing.F) {
	f.Add((&state{applied: rpc.EntryID{Term: 1, Index: 2}, revision: 3, time: 4}).encode())
	f.Add((&bucketRecord{incarnation: 1, created: 2, settings: command.Settings{History: 3, Metadata: map[string]string{"a": "b"}}, changed: 4, trimming: true}).encode())
	f.Add((&statsRecord{sequence: 1, entries: 2, bytes: 3, keys: 4, deleted: 5}).encode())
	f.Add((&keyRecord{live: []live{{sequence: 1, size: 2}, {sequence: 3, size: 4, op: command.Delete}}}).append(nil))
	f.Add((&statsRecord{sequence: 9, due: 1, ids: 2, idsFrom: 3, idsOldest: 4, lastID: "i", lastTime: 5, consumers: 6}).encode())
	f.Add((&keyRecord{live: []live{{sequence: 1, size: 2, due: 3}}}).append(nil))
	f.Add((&idRecord{sequence: 1, revision: 2, time: 3}).encode())
	f.Add((&idOrder{id: "i", time: 1}).encode())
	f.Add((&Consumer{Bucket: "b", Config: []byte("{}"), Deliver: "d", Host: "n", Boot: 1, Generation: 2, Added: 3, Changed: 4, Created: 5, Start: 6}).encode())
	f.Add((&entryRecord{key: "k", op: command.Purge, value: []byte("v"), revision: 1, time: 2, header: []byte("NATS/1.0"), ttl: command.Never}).append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		requireBounded(t, 4, len(data), func() { _, _ = decodeKey(data) })
		requireBounded(t, 2, len(data), func() { _, _ = decodeEntry(data) })
		requireBounded(t, 16, len(data), func() { _, _ = decodeBucket(data) }) // a map, of pairs of two bytes and more
		requireBounded(t, 2, len(data), func() { _, _ = decodeConsumer(consumerKey(1, "c"), data) })
		requireBounded(t, 2, len(data), func() { _, _ = decodeIDOrder(idOrderKey(1, 2), data) })
		requireBounded(t, 2, len(data), func() { _, _, _, _ = decodeDue(dueKey(1, 2, 3), data) })
		if r, err := decodeID(data); err == nil {
			again, err := decodeID(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if o, err := decodeIDOrder(idOrderKey(1, 2), data); err == nil {
			again, err := decodeIDOrder(idOrderKey(1, 2), o.encode())
			require.NoError(t, err)
			require.Equal(t, o, again)
		}
		if c, err := decodeConsumer(consumerKey(1, "c"), data); err == nil {
			again, err := decodeConsumer(consumerKey(1, "c"), c.encode())
			require.NoError(t, err)
			require.Equal(t, c.encode(), again.encode())
		}
		if s, err := decodeState(data); err == nil {
			again, err := decodeState(s.encode())
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
		if r, err := decodeBucket(data); err == nil {
			again, err := decodeBucket(r.encode())
			require.NoError(t, err)
			require.Equal(t, r.encode(), again.encode())
		}
		if r, err := decodeStats(data); err == nil {
			again, err := decodeStats(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if r, err := decodeKey(data); err == nil {
			again, err := decodeKey(r.append(nil))
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if r, err := decodeEntry(data); err == nil {
			again, err := decodeEntry(r.append(nil))
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}

// FuzzRestore gives a store records whose checksums are right: nothing that then reads or writes them may panic, and what
// cannot be read is an error.
func FuzzRestore(f *testing.F) {
	for _, value := range []string{"", "value"} {
		var pairs []byte
		_, err := readSnapshot(bytes.NewReader(smallSnapshot(f, value)), func(key, value []byte) error {
			pairs = appendPair(pairs, key, value)
			return nil
		})
		require.NoError(f, err)
		f.Add(pairs)
	}
	f.Add(everyTable(f))
	f.Add(appendPair(appendPair(appendPair(nil, bucketKey("app"), (&bucketRecord{incarnation: 1, trimming: true}).encode()),
		statsKey(1), (&statsRecord{due: 1, ids: 1, consumers: 1}).encode()), []byte("\x06\x00\x00\x00\x00\x00\x00\x00\x01\x02"), nil))
	f.Add(appendPair(appendPair(nil, bucketKey("app"), (&bucketRecord{incarnation: 1}).encode()), keyKey(1, "k"), (&keyRecord{live: []live{{sequence: 9, size: 50}}}).append(nil)))
	f.Fuzz(func(t *testing.T, pairs []byte) {
		id := rpc.EntryID{Term: 1, Index: 9}
		sorted := restorable(id, pairs)
		stream := forged(t, id, sorted...)
		s, err := Open(newMemory().options())
		require.NoError(t, err)
		require.NoError(t, s.Restore(bytes.NewReader(stream)))
		snap, err := s.Snapshot()
		require.NoError(t, err)
		var again bytes.Buffer
		_, err = snap.WriteTo(&again)
		require.NoError(t, err)
		require.NoError(t, snap.Close())
		require.Equal(t, stream, again.Bytes())
		readAndWrite(s, id.Index)
		require.NoError(t, s.Close())
	})
}

func appendPair(b, key, value []byte) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// restorable makes of bytes the records of a snapshot: in order, each key once, with the state that its head names.
func restorable(id rpc.EntryID, pairs []byte) []string {
	records := map[string]string{}
	reader := frameReader{}
	_ = reader.pairs(pairs, func(key, value []byte) error {
		if len(key) > 0 {
			records[string(key)] = string(value)
		}
		return nil
	})
	records[string(stateKey)] = string((&state{applied: id}).encode())
	var sorted []string
	for _, key := range slices.Sorted(maps.Keys(records)) {
		sorted = append(sorted, key, records[key])
	}
	return sorted
}

// readAndWrite reads all that can be named and writes to the first few keys of the first few buckets. Errors are answers too.
func readAndWrite(s *Store, last rpc.Index) {
	apply := func(c command.Command) {
		if _, err := s.Apply([]rpc.Entry{{Index: last + 1, Term: 1, Kind: rpc.EntryCommand, Data: c.Encode()}}); err == nil {
			last++
		}
	}
	_, _ = s.EachConsumer(func(Consumer) bool { return true })
	_, _, _ = s.NextDue()
	items, _ := s.Due(never, 100)
	apply(expire(items...))
	buckets, _ := s.Buckets("", "", 3)
	for _, bucket := range buckets.Names {
		readAll(s, bucket)
		keys, _ := s.Keys(bucket, "", "", 3)
		for _, key := range append(keys.Names, "none") {
			apply(put(bucket, key, "v"))
			apply(write(command.Write{Bucket: bucket, Key: key, Op: command.Purge, MsgID: "id", TTL: command.Never, Rollup: command.RollupKey}))
			apply(write(command.Write{Bucket: bucket, Key: key, Header: []byte("NATS/1.0\r\n\r\n"), MsgID: key, TTL: 1}))
			_, _ = s.Get(bucket, key)
		}
		apply(command.Command{UpdateBucket: &command.UpdateBucket{Name: bucket}})
		apply(command.Command{AddConsumer: &command.AddConsumer{Bucket: bucket, Name: "c"}})
		apply(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: bucket, Name: "c"}})
		apply(command.Command{PurgeBucket: &command.PurgeBucket{Name: bucket, Below: 10}})
		apply(write(command.Write{Bucket: bucket, Key: "k", Rollup: command.RollupBucket}))
		readAll(s, bucket)
		apply(removeBucket(bucket))
		apply(addBucket(bucket, command.Settings{}))
	}
}

func readAll(s *Store, bucket string) {
	var filter subject.Filter
	_, _ = s.Bucket(bucket)
	_, _ = s.State(bucket)
	_, _ = s.Page(Query{Bucket: bucket, Max: 10, MaxBytes: 1000})
	_, _ = s.Next(bucket, 3, filter, nil)
	_, _ = s.LastMatch(bucket, filter, nil)
	_, _, _ = s.KeepFrom(bucket, filter, 1, nil)
	_, _, _, _ = s.Subjects(bucket, filter, 0, 10, 1<<30, nil)
	_, _ = s.Message(bucket, 1)
	_, _ = s.Last(bucket, "k")
	names, _ := s.ConsumerNames(bucket, "", 3)
	for _, name := range names.Names {
		_, _ = s.Consumer(bucket, name)
	}
}

// everyTable is the records of a store that has some in each table.
func everyTable(f testing.TB) []byte {
	s, err := Open(newMemory().options())
	require.NoError(f, err)
	for i, c := range []command.Command{
		addBucket("app", command.Settings{History: 2, TTL: 1, AllowTTL: true, MarkerTTL: 1}), putTTL("app", "k", 5), put("app", "l", "v"),
		write(command.Write{Bucket: "app", Key: "k", MsgID: "id", Header: []byte("NATS/1.0\r\n\r\n")}),
		{AddConsumer: &command.AddConsumer{Bucket: "app", Name: "c", Config: []byte("{}"), Host: "n1"}},
	} {
		_, err := s.Apply([]rpc.Entry{{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: c.Encode()}})
		require.NoError(f, err)
	}
	snap, err := s.Snapshot()
	require.NoError(f, err)
	var stream bytes.Buffer
	_, err = snap.WriteTo(&stream)
	require.NoError(f, err)
	require.NoError(f, snap.Close())
	require.NoError(f, s.Close())
	var pairs []byte
	_, err = readSnapshot(&stream, func(key, value []byte) error {
		pairs = appendPair(pairs, key, value)
		return nil
	})
	require.NoError(f, err)
	return pairs
}
