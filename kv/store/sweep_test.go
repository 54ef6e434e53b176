package store

// The sweep over snapshots: whatever a network or a disk makes of a stream, Restore refuses it, and the old state stays (D1).

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// share asks for the sweep of a release instead of that of every `go test`: RAFTBUS_LONG=1 for the whole of it, RAFTBUS_LONG=7 for about a
// seventh of its images, drawn anew each time. 0: neither.
var share = func() int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("RAFTBUS_LONG"), "0"))
	if err != nil || n < 0 {
		panic("RAFTBUS_LONG: give 1 for all, or n for about an nth of the images")
	}
	return n
}()

// sweptBytes is about how long the swept stream is: two frames of records.
const sweptBytes = 66 << 10

// sweptStream is a snapshot of bytes that repeat nowhere, of a state newer than that of sweptStore.
func sweptStream(t *testing.T) []byte {
	f := open(t, newMemory())
	f.one(addBucket("new", command.Settings{History: 2, Description: "swept"}))
	rng := rand.NewChaCha8([32]byte{1})
	for i, size := 0, 0; size < sweptBytes; i++ {
		value := make([]byte, 900)
		_, _ = rng.Read(value)
		f.one(put("new", fmt.Sprint(i), string(value)))
		size += len(value) + 60
	}
	stream := streamOf(t, f.store)
	f.close()
	require.Len(t, frames(stream), 5, "magic, head, two frames of records, end")
	return stream
}

// sweptStore is a store that Restore must leave as it is.
type sweptStore struct {
	feeder
	disk  disk
	state string
}

func newSweptStore(t *testing.T, fresh func() disk) *sweptStore {
	d := fresh()
	o := d.options()
	o.ManualFlush = true // a long sweep would meet the flusher's period
	s, err := Open(o)
	require.NoError(t, err)
	f := feeder{t, s}
	f.apply(addBucket("old", command.Settings{}), put("old", "k", "v"))
	require.NoError(t, f.store.Flush())
	f.one(put("old", "k", "not durable"))
	return &sweptStore{f, d, sumOf(t, f.store)}
}

func (s *sweptStore) refuses(stream []byte, image string) {
	was := s.store.db
	err := s.store.Restore(bytes.NewReader(stream))
	require.ErrorIs(s.t, err, ErrBadSnapshot, image)
	require.Same(s.t, was, s.store.db, image)
	require.Equal(s.t, s.state, sumOf(s.t, s.store), image)
	require.NoError(s.t, s.store.Failure(), image)
}

// finish shows that the old state is also what a crash leaves, and that the stream was a good one.
func (s *sweptStore) finish(stream []byte) {
	require.EqualValues(s.t, 2, s.store.Durable())
	g := open(s.t, s.disk.crash(0, 0))
	require.EqualValues(s.t, 2, g.store.Applied().Index)
	g.close()
	s.apply(put("old", "k", "still alive"))
	require.NoError(s.t, s.store.Restore(bytes.NewReader(stream)))
	require.Equal(s.t, stream, streamOf(s.t, s.store))
	s.close()
}

// damaged is the image of a number: each bit flipped, then each cut. It is made in buf.
func damaged(buf, stream []byte, number int) ([]byte, string) {
	copy(buf, stream)
	if number < 8*len(stream) {
		buf[number/8] ^= 1 << (number % 8)
		return buf, fmt.Sprintf("bit %d of byte %d", number%8, number/8)
	}
	cut := number - 8*len(stream)
	return buf[:cut], fmt.Sprintf("cut at %d", cut)
}

// Every bit and every cut of a snapshot with RAFTBUS_LONG, on Pebble a part of them; else a sample.
func TestSweepOfASnapshot(t *testing.T) {
	t.Parallel()
	onPebble, inMemory := 200, 5000
	stream := sweptStream(t)
	if share > 0 {
		onPebble, inMemory = max(onPebble, 5000/share), max(inMemory, 9*len(stream)/share)
	}
	t.Run("pebble", func(t *testing.T) { sweep(t, newPebble, stream, onPebble) })
	t.Run("memory", func(t *testing.T) { sweep(t, newMemory, stream, inMemory) })
}

func sweep(t *testing.T, fresh func() disk, stream []byte, images int) {
	s := newSweptStore(t, fresh)
	all := 9 * len(stream)
	seed := uint64(0)
	if share > 0 {
		seed = rand.Uint64()
	}
	t.Logf("%d images of %d, drawn by seed %d", images, all, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, len(stream))
	for number := range images {
		if images < all {
			number = rng.IntN(all)
		}
		image, name := damaged(buf, stream, number)
		s.refuses(image, name)
	}
	s.finish(stream)
}

// Frames that come in another order, twice or not at all, or from another snapshot (K30), and what follows the end.
func TestSweepOfAStreamsFrames(t *testing.T) {
	stream := sweptStream(t)
	other := frames(smallSnapshot(t, "other"))
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		s := newSweptStore(t, fresh)
		parts := frames(stream)
		refuses := func(parts [][]byte, what string, at int) {
			s.refuses(bytes.Join(parts, nil), fmt.Sprintf("%s %d", what, at))
		}
		for i := range parts {
			refuses(slices.Delete(slices.Clone(parts), i, i+1), "left out", i)
			refuses(slices.Insert(slices.Clone(parts), i, parts[i]), "twice", i)
			for j := range i {
				swapped := slices.Clone(parts)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				refuses(swapped, fmt.Sprintf("exchanged with %d:", j), i)
			}
			if i > 0 {
				mixed := slices.Clone(parts)
				mixed[i] = other[min(i, len(other)-1)]
				refuses(mixed, "of another", i)
			}
		}
		s.refuses(append(slices.Clone(stream), 0), "a byte after it")
		s.refuses(append(slices.Clone(stream), stream...), "twice")
		s.finish(stream)
	})
}
