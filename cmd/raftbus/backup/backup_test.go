package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is a store behind a service, and a client.
type world struct {
	t       *testing.T
	store   *store.Store
	service *Service
	conn    *nats.Conn
	server  *embedded.Server
}

func newWorld(t *testing.T) *world { return newWorldOn(t, embedded.Options{}) }

func newWorldOn(t *testing.T, o embedded.Options) *world {
	w := &world{t: t}
	var err error
	w.store, err = store.Open(store.Options{FS: vfs.NewMem(), Dir: "kv", ManualFlush: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	w.apply(command.Command{AddBucket: &command.AddBucket{Name: "app"}})
	w.server, err = embedded.Start(o)
	require.NoError(t, err)
	t.Cleanup(w.server.Shutdown)
	w.conn = w.connect()
	w.service, err = New(Options{
		Conn: w.connect(), Prefix: "raftbus", Node: "n1", Store: w.store, Logger: slog.New(slog.DiscardHandler),
		Status: func() node.Status { return node.Status{Cluster: rpc.ClusterID{1}} },
	})
	require.NoError(t, err)
	t.Cleanup(w.service.Close)
	require.NoError(t, w.service.o.Conn.Flush())
	return w
}

func (w *world) connect() *nats.Conn {
	nc, err := nats.Connect(w.server.URL())
	require.NoError(w.t, err)
	w.t.Cleanup(nc.Close)
	return nc
}

func (w *world) apply(commands ...command.Command) {
	var entries []rpc.Entry
	for i, c := range commands {
		index := w.store.Applied().Index + 1 + rpc.Index(i)
		entries = append(entries, rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index), Data: c.Encode()})
	}
	_, err := w.store.Apply(entries)
	require.NoError(w.t, err)
}

// fill writes so many values of a size.
func (w *world) fill(count, bytes int) {
	for i := range count {
		value := slices.Repeat([]byte{byte(i), byte(i >> 8)}, bytes/2)
		w.apply(command.Command{Write: &command.Write{Bucket: "app", Key: fmt.Sprintf("k.%d", i), Value: value}})
	}
}

func (w *world) source() Source {
	return Source{Conn: w.conn, Prefix: "raftbus", Node: "n1", Patience: 10 * time.Second}
}

func quiet(uint64, *Head) {}

// state is the store's, as a snapshot writes it.
func (w *world) state() []byte {
	view, err := w.store.Snapshot()
	require.NoError(w.t, err)
	defer view.Close()
	var b bytes.Buffer
	_, err = view.WriteTo(&b)
	require.NoError(w.t, err)
	return b.Bytes()
}

// A backup is of the moment that it was begun at, whatever is written meanwhile, through many chunks.
func TestBackupIsOfOneMoment(t *testing.T) {
	w := newWorld(t)
	w.fill(200, 50_000)
	want := w.state()
	var once sync.Once
	var file bytes.Buffer
	sum, err := w.source().Fetch(t.Context(), writerFunc(func(p []byte) (int, error) {
		once.Do(func() { w.fill(20, 1000) })
		return file.Write(p)
	}), quiet)
	require.NoError(t, err)
	require.EqualValues(t, 201, sum.Revision)
	require.Equal(t, store.Contents{Buckets: 1, Keys: 200, Entries: 200}, sum.Holds)
	require.EqualValues(t, file.Len(), sum.Bytes)
	f, err := Open(iotest.OneByteReader(bytes.NewReader(file.Bytes()[:1000])))
	require.NoError(t, err)
	require.Equal(t, "n1", f.Head.Node)
	f, err = Open(bytes.NewReader(file.Bytes()))
	require.NoError(t, err)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	read, err := Verify(bytes.NewReader(file.Bytes()), nil)
	require.NoError(t, err)
	require.Equal(t, sum, read)
}

type writerFunc func([]byte) (int, error)

// A bus of small messages slows a backup, and does not end the node.
func TestBackupInSmallMessages(t *testing.T) {
	for _, bytes := range []int{4 << 10, 8 << 10, 8<<10 + 1} {
		w := newWorldOn(t, embedded.Options{MaxPayload: bytes})
		w.fill(20, 1000)
		sum, err := w.source().Fetch(t.Context(), io.Discard, quiet)
		require.NoError(t, err)
		require.EqualValues(t, 20, sum.Holds.Keys)
	}
}

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Every flipped bit and every cut of a backup is noticed (D1).
func TestDamagedBackupIsRefused(t *testing.T) {
	w := newWorld(t)
	w.fill(2, 10)
	var file bytes.Buffer
	_, err := w.source().Fetch(t.Context(), &file, quiet)
	require.NoError(t, err)
	for i := range file.Bytes() {
		_, err := Verify(bytes.NewReader(file.Bytes()[:i]), nil)
		require.Error(t, err, "cut at %d", i)
		for bit := range 8 {
			damaged := slices.Clone(file.Bytes())
			damaged[i] ^= 1 << bit
			_, err := Verify(bytes.NewReader(damaged), nil)
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
	}
	_, err = Verify(bytes.NewReader(append(file.Bytes(), 0)), nil)
	require.ErrorIs(t, err, ErrBadFile)
	newer := slices.Clone(file.Bytes())
	newer[7]++
	_, err = Verify(bytes.NewReader(newer), nil)
	require.ErrorContains(t, err, "version 2")
	broken := errors.New("the disk")
	_, err = Verify(io.MultiReader(bytes.NewReader(file.Bytes()[:300]), iotest.ErrReader(broken)), nil)
	require.ErrorIs(t, err, broken)
}

// An increment and its base are the whole backup that would have been taken, whatever has changed; with another base they are nothing.
func TestIncrements(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t)
		random := rand.New(rand.NewPCG(seed, 0))
		w.change(random, 300)
		base, other := w.file(nil), bytes.Buffer{}
		w.change(random, random.IntN(50))
		inc := w.file(base)
		whole := w.file(nil)
		sum, err := Verify(bytes.NewReader(inc), nil)
		require.NoError(t, err)
		require.NotNil(t, sum.Base)

		var merged bytes.Buffer
		_, err = Merge(bytes.NewReader(base), bytes.NewReader(inc), &merged)
		require.NoError(t, err)
		require.True(t, bytes.Equal(w.stateIn(whole), w.stateIn(merged.Bytes())))
		_, err = Verify(&merged, nil)
		require.NoError(t, err)

		w.change(random, 10)
		_, err = Merge(bytes.NewReader(w.file(nil)), bytes.NewReader(inc), &other)
		require.ErrorIs(t, err, ErrBase)
		_, err = Merge(bytes.NewReader(base), bytes.NewReader(whole), &other)
		require.ErrorIs(t, err, ErrBase)
		for range 20 {
			damaged := slices.Clone(inc)
			damaged[random.IntN(len(inc))] ^= 1 << random.IntN(8)
			_, err = Merge(bytes.NewReader(base), bytes.NewReader(damaged), &other)
			require.Error(t, err)
			damaged = slices.Clone(base)
			damaged[random.IntN(len(base))] ^= 1 << random.IntN(8)
			_, err = Merge(bytes.NewReader(damaged), bytes.NewReader(inc), &other)
			require.Error(t, err)
		}
		w.service.Close()
	}
}

// A backup that is whole is not called damaged because it is another than the increment's base: of another revision, of another state of the same
// revision, or of the same state and taken once more.
func TestAnotherBaseIsNotDamaged(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	put := func(w *world, key string) {
		w.apply(command.Command{Write: &command.Write{Bucket: "app", Key: key, Value: []byte("v")}})
	}
	put(w, "a")
	first := w.file(nil)
	put(w, "b")
	put(other, "a")
	put(other, "a")
	base, again := w.file(nil), w.file(nil)
	put(w, "c")
	inc := w.file(base)
	for i, wrong := range [][]byte{first, other.file(nil), again} {
		_, err := Verify(bytes.NewReader(wrong), nil)
		require.NoError(t, err)
		var out bytes.Buffer
		_, err = Merge(bytes.NewReader(wrong), bytes.NewReader(inc), &out)
		require.ErrorIs(t, err, ErrBase)
		require.NotErrorIs(t, err, ErrBadFile)
		require.Equal(t, i == 0, out.Len() == 0, "another revision is seen before anything is copied")
	}
	_, err := Merge(bytes.NewReader(base), bytes.NewReader(inc), io.Discard)
	require.NoError(t, err)
}

// change writes and removes at random.
func (w *world) change(random *rand.Rand, count int) {
	for range count {
		c := command.Write{Bucket: "app", Key: fmt.Sprint("k", random.IntN(100)), Value: []byte(fmt.Sprint(random.IntN(5)))}
		switch random.IntN(10) {
		case 0:
			c.Op = command.Delete
		case 1:
			w.apply(command.Command{PurgeBucket: &command.PurgeBucket{Name: "app", Filter: c.Key}})
			continue
		}
		w.apply(command.Command{Write: &c})
	}
}

// file is a backup: an increment, if there is a base.
func (w *world) file(base []byte) []byte {
	s := w.source()
	if base != nil {
		s.Base = bytes.NewReader(base)
	}
	var b bytes.Buffer
	_, err := s.Fetch(w.t.Context(), &b, quiet)
	require.NoError(w.t, err)
	return b.Bytes()
}

// stateIn is what a backup has beside its head.
func (w *world) stateIn(file []byte) []byte {
	f, err := Open(bytes.NewReader(file))
	require.NoError(w.t, err)
	state, err := io.ReadAll(f)
	require.NoError(w.t, err)
	return state
}

// Chunks that are lost on the way are asked for again.
func TestLostChunksAreAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.fill(100, 50_000)
	w.service.Close()
	lossy, err := New(w.service.o)
	require.NoError(t, err)
	t.Cleanup(lossy.Close)
	var asked atomic.Int64
	require.NoError(t, lossy.sub.Unsubscribe())
	lossy.sub, err = lossy.o.Conn.Subscribe(Subject("raftbus", "n1"), func(m *nats.Msg) {
		if n := asked.Add(1); n > 1 && n%7 == 0 {
			m.Reply = "nowhere"
		}
		lossy.handle(m)
	})
	require.NoError(t, err)
	require.NoError(t, lossy.o.Conn.Flush())
	var file bytes.Buffer
	s := w.source()
	s.wait = 100 * time.Millisecond
	_, err = s.Fetch(t.Context(), &file, quiet)
	require.NoError(t, err)
	_, err = Verify(&file, nil)
	require.NoError(t, err)
}

// Losses that come one after the other, each of which is made good, do not use the patience up, however many there are.
func TestPatienceIsForOneSilence(t *testing.T) {
	w := newWorldOn(t, embedded.Options{MaxPayload: 16 << 10})
	w.fill(60, 50_000)
	w.service.Close()
	lossy, err := New(w.service.o)
	require.NoError(t, err)
	t.Cleanup(lossy.Close)
	require.NoError(t, lossy.sub.Unsubscribe())
	lost := map[int]bool{} // of the subscription's goroutine
	var losses atomic.Int64
	lossy.sub, err = lossy.o.Conn.Subscribe(Subject("raftbus", "n1"), func(m *nats.Msg) {
		var q question
		_ = json.Unmarshal(m.Data, &q) // what asks for no chunk has 0
		if q.Chunk > 0 && q.Chunk%aheadMax == 0 && !lost[q.Chunk] {
			lost[q.Chunk] = true
			losses.Add(1)
			return
		}
		lossy.handle(m)
	})
	require.NoError(t, err)
	require.NoError(t, lossy.o.Conn.Flush())
	s := w.source()
	s.wait, s.Patience = 50*time.Millisecond, 3*time.Second
	_, err = s.Fetch(t.Context(), io.Discard, quiet)
	require.NoError(t, err)
	require.Greater(t, losses.Load(), int64(8), "as many silences")
}

// A node that is behind is waited for.
func TestBackupReflectsWhatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	s := w.source()
	s.AtLeast = 3
	got := make(chan Summary, 1)
	go func() {
		sum, err := s.Fetch(context.Background(), io.Discard, quiet)
		if err == nil {
			got <- sum
		}
		close(got)
	}()
	require.Eventually(t, func() bool {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		return w.service.opening == 1
	}, 5*time.Second, time.Millisecond)
	w.fill(2, 10)
	require.EqualValues(t, 3, (<-got).Index)
}

// Backups that wait for the node to catch up count: as many who ask at once have no more views than as many who ask one after the other (L9).
func TestBackupsThatBeginCount(t *testing.T) {
	w := newWorld(t)
	begun := make(chan error, sessionsMax)
	for range sessionsMax {
		go func() {
			s := w.source()
			s.AtLeast = 3
			_, err := s.open(context.Background())
			begun <- err
		}()
	}
	require.Eventually(t, func() bool {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		return w.service.opening == sessionsMax
	}, 5*time.Second, time.Millisecond)
	_, err := w.source().open(t.Context())
	require.ErrorContains(t, err, "are under way")
	w.fill(2, 10)
	for range sessionsMax {
		require.NoError(t, <-begun)
	}
}

// A backup that begins while the node stops lets go of the state. The store, which is closed at the end, would say who still reads.
func TestABackupThatBeginsAsTheNodeStops(t *testing.T) {
	w := newWorld(t)
	w.service.Close()
	w.service.open(&nats.Msg{Reply: "nobody"}, 0) // the question came just before
}

// However patient whoever takes a backup is, the node hears of it again before it lets go of the state.
func TestThePatientAreHeardOfInTime(t *testing.T) {
	f := follower{s: Source{Patience: time.Hour}, first: askWait, wait: askWait}
	for range 20 {
		f.slower()
		require.LessOrEqual(t, f.wait, idleMax/2)
	}
	require.Greater(t, f.wait, 2*askWait)
}

// Who has less patience than a silence is long waits no longer than that.
func TestTheImpatientDoNotWait(t *testing.T) {
	w := newWorld(t)
	f, err := Source{Conn: w.conn, Patience: askWait / 20}.follow(&begun{Ahead: 1})
	require.NoError(t, err)
	defer f.close()
	require.Equal(t, askWait/20, f.wait)
}

// There are no more views of the state than a bound, and none after its backup has ended, was given up, or the node stops.
func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.fill(10, 100)
	var begun []string
	for range sessionsMax {
		b, err := w.source().open(t.Context())
		require.NoError(t, err)
		begun = append(begun, b.Backup)
	}
	require.NotEqual(t, begun[0][:12], begun[1][:12], "what it makes beside, such as inboxes, nobody can guess from them (Q9)")
	_, err := w.source().open(t.Context())
	require.ErrorContains(t, err, "are under way")
	require.ErrorIs(t, err, ErrRefused)
	w.source().over(begun[0])
	require.Eventually(t, func() bool {
		_, err := w.source().Fetch(t.Context(), io.Discard, quiet)
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)
	_, err = w.source().ask(t.Context(), question{Backup: begun[0]}, 10*time.Second)
	require.ErrorContains(t, err, "knows no such backup")
	_, err = w.source().ask(t.Context(), question{Backup: begun[1], Chunk: aheadMax}, 10*time.Second)
	require.ErrorContains(t, err, "is asked for")
	_, err = w.source().ask(t.Context(), question{Backup: begun[1], Chunk: -1}, 10*time.Second)
	require.ErrorContains(t, err, "is asked for")
	w.service.mu.Lock()
	given := w.service.sessions[begun[1]]
	w.service.mu.Unlock()
	w.service.forget(given)
	require.Nil(t, given.view)
	_, err = w.source().ask(t.Context(), question{Backup: begun[1]}, 10*time.Second)
	require.ErrorContains(t, err, "knows no such backup")

	m, err := w.conn.Request(Subject("raftbus", "n1"), []byte("what"), 10*time.Second)
	require.NoError(t, err)
	require.Contains(t, m.Header.Get(headerError), "no question")
}

// However long a backup is, each question has the node wait anew for the next, and no more chunks are kept than may be asked for again.
func TestALongBackupIsNotBrokenOffAndKeepsLittle(t *testing.T) {
	w := newWorldOn(t, embedded.Options{MaxPayload: 8 << 10})
	w.fill(4*aheadMax, 1000)
	b, err := w.source().open(t.Context())
	require.NoError(t, err)
	w.service.mu.Lock()
	one := w.service.sessions[b.Backup]
	w.service.mu.Unlock()
	for k, last := 0, false; !last; k++ {
		require.True(t, one.idle.Stop(), "nobody waits for chunk %d", k)
		m, err := w.source().ask(t.Context(), question{Backup: b.Backup, Chunk: k}, 10*time.Second)
		require.NoError(t, err)
		last = m.Header.Get(headerDigest) != ""
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	require.Greater(t, one.cut, 2*aheadMax)
	require.Len(t, one.kept, aheadMax)
}

// Whoever takes a backup that is not whole hears so, and the node lets go of the state.
func TestBackupBrokenOff(t *testing.T) {
	w := newWorld(t)
	w.fill(100, 50_000)
	full := errors.New("the disk is full")
	_, err := w.source().Fetch(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full }), quiet)
	require.ErrorIs(t, err, full)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = w.source().Fetch(ctx, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }), quiet)
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		return len(w.service.sessions) == 0
	}, 5*time.Second, time.Millisecond)
	var once sync.Once
	s := w.source()
	s.Patience = time.Millisecond
	_, err = s.Fetch(t.Context(), writerFunc(func(p []byte) (int, error) { once.Do(w.service.Close); return len(p), nil }), quiet)
	require.Error(t, err)
}
