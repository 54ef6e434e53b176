package node

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

// An entry of a kind that this build does not know stops the node before any of its run is applied: it is never skipped (F28).
func TestUnknownKindStopsTheNode(t *testing.T) {
	machine := &sum{}
	a := &applier{machine: machine, waiters: &waiters{}, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was applied"); return false }}
	entries := []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryNoop}, {Index: 2, Term: 1, Kind: 200}}
	a.submit(applyWork{run: raft.Apply{From: 1, To: 2, Entries: entries}}, false)
	_, err := a.step()
	require.ErrorContains(t, err, "kind 200")
	require.ErrorContains(t, err, "run the version that wrote it")
	require.Zero(t, machine.Applied())
}

// countedFS counts the files that are open to be read. If fails is set none is opened.
type countedFS struct {
	vfs.FS
	open  int
	fails error
}

type countedFile struct {
	vfs.File
	fs *countedFS
}

func (c *countedFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if c.fails != nil {
		return nil, c.fails
	}
	f, err := c.FS.Open(name, o...)
	if err == nil {
		c.open++
		f = countedFile{f, c}
	}
	return f, err
}

func (f countedFile) Close() error { f.fs.open--; return f.File.Close() }

// anyState is a machine that takes whatever state there is, or fails when it has read it.
type anyState struct {
	sum
	fails error
}

func (m *anyState) Restore(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	m.applied = rpc.EntryID{Term: 3, Index: 9}
	return cmp.Or(m.fails, err)
}

// The file of a snapshot is closed once it is installed, or was not: its room on the disk would be free with the process only. So are the places of
// those who waited for entries that are in it: they hear nothing.
func TestAnInstalledSnapshotIsClosed(t *testing.T) {
	fs := &countedFS{FS: vfs.NewMem()}
	r, said := newTestReceiver(fs)
	at := rpc.EntryID{Term: 3, Index: 9}
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	w, _ := waitersOf(rpc.EntryID{Term: 3, Index: 9}, rpc.EntryID{Term: 3, Index: 10})
	for _, fails := range []error{io.ErrShortBuffer, nil} {
		require.Equal(t, 2, w.count)
		a := &applier{machine: &anyState{fails: fails}, waiters: w, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { return false }}
		before := fs.open
		require.ErrorIs(t, a.install(raft.Install{Snapshot: at, Transfer: 1}), fails)
		require.Equal(t, before, fs.open)
	}
	require.Equal(t, 1, w.count)
}

// A snapshot that is to be installed while too many files are open waits until some are closed: the node goes on (F21).
func TestInstallingASnapshotWaitsWhileTooManyFilesAreOpen(t *testing.T) {
	fs := &countedFS{FS: vfs.NewMem()}
	r, said := newTestReceiver(fs)
	at := rpc.EntryID{Term: 3, Index: 9}
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	installed, rests := 0, 0
	a := &applier{
		machine: &anyState{}, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}),
		report: func(raft.Event, bool) bool { installed++; return false },
		rest:   func(time.Duration) { rests++ },
	}
	a.submit(applyWork{install: raft.Install{Snapshot: at, Transfer: 1}}, false)
	fs.fails = syscall.EMFILE
	for i := 1; i < 3; i++ {
		_, err := a.step()
		require.NoError(t, err)
		require.Equal(t, i, rests, "it does not try without end")
	}
	require.Zero(t, installed)
	fs.fails = nil
	_, err := a.step()
	require.NoError(t, err)
	require.Equal(t, 1, installed)
	require.Zero(t, a.waiting())
}

// crowdedState is a machine whose reads find too many files open, so often.
type crowdedState struct {
	sum
	fails   int
	applied bool // it says that it has applied none of it
}

func (m *crowdedState) Apply(entries []rpc.Entry) ([]any, error) {
	if m.fails--; m.fails < 0 {
		return m.sum.Apply(entries)
	}
	if m.applied {
		return nil, syscall.EMFILE
	}
	return nil, fmt.Errorf("%w: %w", ErrNotApplied, syscall.EMFILE)
}

// crowdedApplier has a run for a machine that finds too many files open, and counts its rests.
func crowdedApplier(m *crowdedState) (a *applier, rests *int, reached *rpc.Index) {
	rests, reached = new(int), new(rpc.Index)
	a = &applier{
		machine: m, waiters: &waiters{}, spot: newSpot(func() {}),
		report: func(e raft.Event, _ bool) bool { *reached = e.(raft.ApplyDone).Index; return false },
		rest:   func(d time.Duration) { *rests++; time.Sleep(d) },
		logger: slog.New(slog.DiscardHandler),
	}
	one := entry(1)
	one.Data = binary.BigEndian.AppendUint64(nil, 7)
	a.submit(applyWork{run: raft.Apply{From: 1, To: 1, Entries: []rpc.Entry{one}}}, false)
	return a, rests, reached
}

// Entries of which none was applied, since too many files were open, are applied once some are closed: the node goes on (F21). Not if some may have
// been, nor when it lasts.
func TestApplyingWaitsWhileTooManyFilesAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &crowdedState{fails: 2}
		a, rests, reached := crowdedApplier(m)
		for i := 1; i < 3; i++ {
			worked, err := a.step()
			require.NoError(t, err)
			require.True(t, worked)
			require.Equal(t, i, *rests, "it does not try without end")
			require.Zero(t, *reached)
		}
		_, err := a.step()
		require.NoError(t, err)
		require.EqualValues(t, 1, *reached)
		require.EqualValues(t, 7, m.value())
		require.Equal(t, 2, *rests)
		require.Zero(t, a.waiting())
	})
}

func TestApplyingEndsWhereTooManyFilesStayOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, reached := crowdedApplier(&crowdedState{fails: 1, applied: true})
		_, err := a.step()
		require.ErrorIs(t, err, syscall.EMFILE, "some of it may be applied")
		for range 2 { // each time anew
			began := time.Now()
			a, _, reached = crowdedApplier(&crowdedState{fails: 10_000})
			err = nil
			for tries := 0; err == nil; tries++ {
				require.Less(t, tries, 1_000, "without a rest between them")
				_, err = a.step()
			}
			require.ErrorIs(t, err, syscall.EMFILE)
			require.Equal(t, filesPatience, time.Since(began))
		}
		require.Zero(t, *reached)
		m := &crowdedState{fails: 30}
		a, _, _ = crowdedApplier(m)
		for range 31 {
			_, err = a.step()
			require.NoError(t, err)
		}
		m.fails = 40
		a.submit(applyWork{run: raft.Apply{From: 2, To: 2, Entries: []rpc.Entry{{Index: 2, Term: 1, Kind: rpc.EntryNoop}}}}, false)
		for range 41 {
			_, err = a.step()
			require.NoError(t, err, "it was over in between")
		}
	})
}

// A snapshot that comes after such entries waits for them: they are older than what it says.
func TestASnapshotWaitsForEntriesThatWait(t *testing.T) {
	a, _, _ := crowdedApplier(&crowdedState{fails: 1})
	a.rest = nil
	install := applyWork{install: raft.Install{Snapshot: rpc.EntryID{Term: 3, Index: 9}}}
	a.submit(install, false)
	_, err := a.step()
	require.NoError(t, err)
	require.EqualValues(t, 1, a.queue[0].run.To)
	require.Equal(t, []applyWork{install}, a.queue[1:])
}

// Who does such work on the spot does not wait: it leaves that to the applier's goroutine.
func TestNobodyWaitsOnTheSpotWhileTooManyFilesAreOpen(t *testing.T) {
	a, rests, reached := crowdedApplier(&crowdedState{fails: 1})
	a.spot.quick.Store(spotQuickMin)
	require.NoError(t, a.onSpot())
	require.Zero(t, *rests)
	require.Zero(t, *reached)
	require.Equal(t, 1, a.waiting())
	require.False(t, a.spot.ready(), "the next is not tried there")
	require.Len(t, a.spot.bell, 1)
	_, err := a.step()
	require.NoError(t, err)
	require.EqualValues(t, 1, *reached)
}

// The file that is whole may be another than the one that the core has decided about: it is not installed (K30).
func TestOnlyWhatWasDecidedAboutIsInstalled(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	at := rpc.EntryID{Term: 3, Index: 9}
	r.takeAll(t, said, transfer(4, 2, at, content(100, 1), 40)...)
	m := &anyState{}
	a := &applier{machine: m, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was installed"); return false }}
	for _, other := range []raft.Install{{Snapshot: at, Transfer: 1}, {Snapshot: rpc.EntryID{Term: 3, Index: 8}, Transfer: 2}} {
		require.ErrorContains(t, a.install(other), "the file holds snapshot 3/9 of transfer 2")
		require.Zero(t, m.Applied())
	}
}

// mute is a machine that has no answers.
type mute struct{ sum }

func (m *mute) Apply([]rpc.Entry) ([]any, error) { return nil, nil }

// A state machine that does not answer each entry ends the node: else who proposed one would hear what came of another.
func TestEachEntryHasItsResult(t *testing.T) {
	a := &applier{machine: &mute{}, waiters: &waiters{}, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was applied"); return false }}
	a.submit(applyWork{run: raft.Apply{From: 1, To: 1, Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryNoop}}}}, false)
	_, err := a.step()
	require.ErrorContains(t, err, "0 results for 1 entries")
}

// Whoever wants to know that a run is through is told once, after the answers to it.
func TestARunIsSettledAfterItsAnswers(t *testing.T) {
	var told []string
	a := &applier{machine: &sum{}, waiters: &waiters{}, spot: newSpot(nil), settled: []func(){func() { told = append(told, "settled") }}}
	list := make([]rpc.Entry, 2)
	for i := range list {
		list[i] = entry(rpc.Index(i + 1))
		list[i].Data = make([]byte, 8)
		require.True(t, a.waiters.reserve(8))
		a.waiters.add(list[i].ID(), 8, func(any, rpc.EntryID) { told = append(told, "answered") })
	}
	reached, err := a.apply(raft.Apply{From: 1, To: 2, Entries: list})
	require.NoError(t, err)
	require.Equal(t, rpc.Index(2), reached)
	require.Equal(t, []string{"answered", "answered", "settled"}, told)
}

// stoppedState is a machine that is told to stop once it has read something.
type stoppedState struct {
	anyState
	stop  chan struct{}
	bytes int64
	err   error
}

func (m *stoppedState) Restore(r io.Reader) error {
	m.bytes, m.err = io.Copy(writerFunc(func(p []byte) (int, error) {
		if !closed(m.stop) {
			close(m.stop)
		}
		return len(p), nil
	}), r)
	return m.err
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A node that stops while it installs a snapshot does not wait for its end, which may be minutes away. The file stays: the next start installs it.
func TestInstallingASnapshotEndsWithTheNode(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	at := rpc.EntryID{Term: 3, Index: 9}
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	m := &stoppedState{stop: make(chan struct{})}
	a := &applier{machine: m, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was installed"); return false }}
	a.submit(applyWork{install: raft.Install{Snapshot: at, Transfer: 1}}, false)
	require.NoError(t, a.run(m.stop))
	require.ErrorIs(t, m.err, ErrStopped)
	require.Less(t, m.bytes, int64(100))
	require.True(t, r.Exists(snapfile.Complete))
}

// A state machine that holds another state than the one it was given stops the node: else the log would begin after entries that nobody
// applied (I5).
func TestTheStateIsThatOfTheSnapshot(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	at := rpc.EntryID{Term: 3, Index: 8}
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	a := &applier{machine: &anyState{}, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { t.Error("it was installed"); return false }}
	require.ErrorContains(t, a.install(raft.Install{Snapshot: at, Transfer: 1}), "the state is of entry 3/9")
}

// keen is a state machine that does not read its snapshot to the end.
type keen struct{ anyState }

func (m *keen) Restore(r io.Reader) error {
	_, err := r.Read(make([]byte, 10))
	m.applied = rpc.EntryID{Term: 3, Index: 9}
	return err
}

// A snapshot counts when its file was read to the end, and fits, whatever the state machine needs of it; and it is the one that was received, not
// another's (D1, K30).
func TestTheWholeSnapshotIsHeldToBeWhole(t *testing.T) {
	mem, at := vfs.NewMem(), rpc.EntryID{Term: 3, Index: 9}
	r, said := newTestReceiver(mem)
	r.takeAll(t, said, transfer(4, 1, at, content(100, 1), 40)...)
	install := func(i raft.Install) error {
		a := &applier{machine: &keen{}, waiters: &waiters{}, snaps: r.snapDir, spot: newSpot(func() {}), report: func(raft.Event, bool) bool { return false }}
		return a.install(i)
	}
	right := raft.Install{Snapshot: at, Transfer: 1}
	require.NoError(t, install(right))
	require.ErrorContains(t, install(raft.Install{Snapshot: at, Transfer: 2}), "not that of transfer 2")
	require.ErrorContains(t, install(raft.Install{Snapshot: rpc.EntryID{Term: 3, Index: 8}, Transfer: 1}), "the file holds snapshot 3/9")
	raw := readFile(t, mem, r.Path(snapfile.Complete))
	raw[len(raw)-1] ^= 1
	file, err := mem.Create(r.Path(snapfile.Complete), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = file.Write(raw)
	require.NoError(t, errors.Join(err, file.Close()))
	require.ErrorIs(t, install(right), snapfile.ErrDamaged)
}

// What a peer needs of a log that has been forgotten meanwhile is told to be gone: it gets a snapshot, and the node goes on.
func TestALoadOfWhatIsForgotten(t *testing.T) {
	a, _ := newAppender(t, nil)
	require.NoError(t, a.log.Append(wal.Batch{Entries: []rpc.Entry{entry(1), entry(2)}}))
	require.NoError(t, a.log.Compact(0, wal.Base{ID: rpc.EntryID{Term: 1, Index: 1}}))
	l := &loader{log: a.log}
	load := raft.Load{Peer: "n2", From: 1, To: 3, MaxBytes: 1 << 10}
	done, err := l.load(load)
	require.NoError(t, err)
	require.Equal(t, raft.Loaded{Load: load, Compacted: true}, done)
}

// A read from the log that finds no place, since reads of earlier terms wait for the disk, is asked for again: the peer that needs it is not
// waited for, for ever (K62).
func TestK62ALoadThatFindsNoPlaceIsAskedAgain(t *testing.T) {
	m := newManualWith(t, 1, func(o *Options) { o.Tune = func(l *raft.Limits) { l.CacheBytesMax = 1 << 10 } }, "n1", "n2", "n3")
	m.add(numbers(1, 3)...)
	away := m.follower()
	m.crash(away)
	m.add(numbers(4, 100)...)
	leader := m.leader()
	m.back(away, 50)
	for range 3 * leader.ticks().Heartbeat {
		for leader.loader.submit(raft.Load{Peer: away, Term: 0, From: 1, To: 2, MaxBytes: 1}) {
		}
		m.run(1)
	}
	require.Less(t, m.machines[away].total, m.machines[leader.id()].total)
	m.agree()
}
