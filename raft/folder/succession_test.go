package folder

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// heir is a state machine whose disk is a field: what it did is durable at once.
type heir struct {
	applied rpc.EntryID
	skipped uint64
	seen    []rpc.Index
}

func (h *heir) Applied() rpc.EntryID { return h.applied }

func (h *heir) Apply(entries []rpc.Entry) ([]any, error) {
	for i := range entries {
		h.applied = entries[i].ID()
		h.seen = append(h.seen, h.applied.Index)
	}
	return make([]any, len(entries)), nil
}

func (h *heir) Succeed(at rpc.EntryID, skip uint64) error {
	if at.Index != h.applied.Index+1 {
		return fmt.Errorf("%v does not follow %v", at, h.applied)
	}
	h.applied, h.skipped = at, h.skipped+skip
	return nil
}

var oldTable = rpc.Configuration{Voters: []rpc.Member{member("n1"), member("n2"), member("n3")}}

func member(id rpc.NodeID) rpc.Member { return rpc.Member{ID: id, Instance: instance(id)} }

// survivor makes the folder of a node with ten entries of term 4 in its log.
func survivor(t require.TestingT, fs vfs.FS) {
	f, err := Open(fs, "/n1", "n1")
	require.NoError(t, err)
	require.NoError(t, f.Begin())
	l := openTestLog(t, fs, f.Path("wal"))
	table := oldTable
	b := wal.Batch{Base: &wal.Base{Configuration: rpc.AppendConfiguration(nil, &table)}, HardState: &rpc.HardState{Term: 6, Vote: "n2"}}
	for i := rpc.Index(1); i <= 10; i++ {
		b.Entries = append(b.Entries, rpc.Entry{Index: i, Term: 4, Kind: rpc.EntryCommand, Time: int64(i), Data: []byte("x")})
	}
	require.NoError(t, l.Append(b))
	require.NoError(t, errors.Join(l.Close(), f.Close()))
}

func openTestLog(t require.TestingT, fs vfs.FS, dir string) *wal.Log {
	l, err := inlineLog(fs)(dir)
	require.NoError(t, err)
	return l
}

func inlineLog(fs vfs.FS) func(dir string) (*wal.Log, error) {
	return func(dir string) (*wal.Log, error) {
		return wal.Open(fs, dir, wal.Options{ReportDamaged: true, Inline: true, SegmentBytes: 8 << 10})
	}
}

// succeedOn does all of it, as the command does, from wherever it was broken off.
func succeedOn(fs vfs.FS, h *heir) (err error) {
	f, err := OpenToSucceed(fs, "/n1", "n1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Unfinished() == nil {
		if len(f.Successions()) > 0 {
			return nil
		}
		if _, err := f.Plan(Succession{Kind: Recovered, Term: 7, Index: 11, Skip: 100}); err != nil {
			return err
		}
	}
	if h.applied.Index < 10 {
		l, err := inlineLog(fs)(f.Path("wal"))
		if err == nil {
			err = errors.Join(Replay(l, 10, h), l.Close())
		}
		if err != nil {
			return err
		}
	}
	return f.Succeed(Legacy{Heir: h, Revision: 9, Time: 10, OpenLog: inlineLog(fs)})
}

// checkSucceeded requires a folder that is a new cluster's, whole, and the old log beside it.
func checkSucceeded(t require.TestingT, fs vfs.FS, h *heir) {
	require.Equal(t, rpc.EntryID{Term: 7, Index: 11}, h.applied)
	require.EqualValues(t, 100, h.skipped, "once")
	require.Len(t, h.seen, 10)
	f, err := Open(fs, "/n1", "n1")
	require.NoError(t, err)
	require.NotEqual(t, instance("n1"), f.Instance)
	require.True(t, f.Begun())
	require.Len(t, f.Successions(), 1)
	s := f.Successions()[0]
	require.EqualValues(t, 9, s.Revision)
	l := openTestLog(t, fs, f.Path("wal"))
	state := l.State(0)
	base, err := DecodeBase(&state.Base)
	require.NoError(t, err)
	cluster := rpc.ClusterIDOf([]rpc.Member{{ID: "n1", Instance: f.Instance}})
	require.Equal(t, rpc.Configuration{Cluster: cluster, Index: 11, Voters: []rpc.Member{{ID: "n1", Instance: f.Instance}}}, base.Configuration)
	require.Equal(t, s.Cluster, cluster.String())
	require.Equal(t, rpc.EntryID{Term: 7, Index: 11}, state.Last)
	require.Equal(t, rpc.HardState{Term: 7}, state.HardState)
	require.EqualValues(t, 10, base.Time)
	old := openTestLog(t, fs, f.Path(s.OldLog))
	require.Equal(t, rpc.EntryID{Term: 4, Index: 10}, old.State(0).Last)
	require.NoError(t, errors.Join(old.Close(), l.Close(), f.Close()))
}

// A folder goes on as the only voter of a new cluster, of which the old one knows nothing: another id, another instance, a later term.
func TestSuccession(t *testing.T) {
	fs, h := waltest.New(), &heir{}
	survivor(t, fs)
	f, err := OpenToSucceed(fs, "/n1", "n1")
	require.NoError(t, err)
	l := openTestLog(t, fs, f.Path("wal"))
	r, err := f.Remaining(l, rpc.EntryID{Term: 4, Index: 3})
	require.NoError(t, err)
	require.Equal(t, Remains{
		Cluster: rpc.ClusterIDOf(oldTable.Voters), Conf: oldTable, Term: 6, Last: rpc.EntryID{Term: 4, Index: 10}, Time: 10, Whole: 10,
	}, r)
	require.Equal(t, rpc.EntryID{Term: 7, Index: 11}, After(r.Whole, r.Term))
	require.NoError(t, errors.Join(l.Close(), f.Close()))
	require.NoError(t, succeedOn(fs, h))
	checkSucceeded(t, fs, h)
}

// A build that knows no successions would erase that the folder is half made, or what was done: it is to stop at the version (F28).
func TestSuccessionIsOfAnotherVersion(t *testing.T) {
	fs := waltest.New()
	survivor(t, fs)
	version := func() int {
		ident, err := parseIdentity(readFile(t, fs, "/n1/identity"))
		require.NoError(t, err)
		return ident.Version
	}
	require.Equal(t, 1, version(), "without one the folder can go back")
	f, err := OpenToSucceed(fs, "/n1", "n1")
	require.NoError(t, err)
	_, err = f.Plan(Succession{Kind: Recovered, Term: 7, Index: 11})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, 2, version())
	require.NoError(t, succeedOn(fs, &heir{}))
	require.Equal(t, 2, version())
	f, err = Open(fs, "/n1", "n1")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, 2, version())
}

// The state is not all that a folder has while a received snapshot is not installed, as it may be where the disk does not say: a new cluster would
// begin without what only the snapshot holds.
func TestASnapshotThatIsNotInstalledRemains(t *testing.T) {
	mem := vfs.NewMem()
	survivor(t, mem)
	l := openTestLog(t, mem, "/n1/wal")
	for _, fs := range []vfs.FS{mem, failing(mem, "/n1/snapshot/complete", errorfs.OpStat)} {
		f, err := OpenToSucceed(fs, "/n1", "n1")
		require.NoError(t, err)
		if fs == mem {
			_, err = f.Remaining(l, rpc.EntryID{Term: 4, Index: 10})
			require.NoError(t, err)
			require.NoError(t, mem.MkdirAll("/n1/snapshot", 0o700))
			made, err := mem.Create("/n1/snapshot/complete", vfs.WriteCategoryUnspecified)
			require.NoError(t, errors.Join(err, made.Close()))
		}
		_, err = f.Remaining(l, rpc.EntryID{Term: 4, Index: 10})
		require.ErrorContains(t, err, "a snapshot was received and is not installed")
		require.NoError(t, f.Close())
	}
	require.NoError(t, l.Close())
}

// A start of the node, which would install it, ends at a log that cannot be read: who recovers without one is not sent there.
func TestASnapshotThatIsNotInstalledRemainsWithoutALog(t *testing.T) {
	mem := vfs.NewMem()
	survivor(t, mem)
	require.NoError(t, mem.RemoveAll("/n1/wal"))
	require.NoError(t, mem.MkdirAll("/n1/snapshot", 0o700))
	made, err := mem.Create("/n1/snapshot/complete", vfs.WriteCategoryUnspecified)
	require.NoError(t, errors.Join(err, made.Close()))
	f, err := OpenToSucceed(mem, "/n1", "n1")
	require.NoError(t, err)
	applied := rpc.EntryID{Term: 4, Index: 10}
	_, err = f.RemainingWithoutLog(applied)
	require.ErrorContains(t, err, "a snapshot was received and is not installed")
	require.ErrorContains(t, err, "move /n1/snapshot to another place")
	require.NotContains(t, err.Error(), "start the node")
	require.NoError(t, mem.Rename("/n1/snapshot", "/elsewhere"))
	r, err := f.RemainingWithoutLog(applied)
	require.NoError(t, err)
	require.Equal(t, applied, r.Last)
	require.NoError(t, f.Close())
}

// Of a log that cannot be read to its end the beginning still says which states are not of its history: those before it, and one that has another entry there (D3).
func TestRemainsWithoutALogOfAStateThatIsNotItsOwn(t *testing.T) {
	fs := waltest.New()
	survivor(t, fs)
	f, err := OpenToSucceed(fs, "/n1", "n1")
	require.NoError(t, err)
	l := openTestLog(t, fs, f.Path("wal"))
	require.NoError(t, l.Append(wal.Batch{Base: &wal.Base{ID: rpc.EntryID{Term: 4, Index: 7}, Configuration: rpc.AppendConfiguration(nil, &oldTable)}}))
	require.NoError(t, l.Close())
	for applied, its := range map[rpc.EntryID]bool{{Term: 4, Index: 6}: false, {Term: 3, Index: 7}: false, {Term: 4, Index: 7}: true, {Term: 5, Index: 9}: true, {Term: 5, Index: 12}: true} {
		r, err := f.RemainingWithoutLog(applied)
		if its {
			require.NoError(t, err)
			require.Equal(t, applied, r.Last)
			require.Equal(t, 6+rpc.Term(termsUnread), r.Term, "later than any that cannot be read (D3)")
			continue
		}
		require.ErrorContains(t, err, "the state is of entry "+applied.String()+", which the log, of entries 8 to 10, does not hold: they do not belong together")
		require.ErrorContains(t, err, "move /n1/wal to another place, and give --without-log")
	}
	require.NoError(t, f.Close())
}

// Nor does the state need the old log once it goes on: one of which the disk does not give a part is set aside as one that is damaged (D4).
func TestALogThatTheDiskDoesNotGiveIsSetAside(t *testing.T) {
	mem := vfs.NewMem()
	survivor(t, mem)
	f, err := OpenToSucceed(mem, "/n1", "n1")
	require.NoError(t, err)
	_, err = f.Plan(Succession{Kind: Recovered, Term: 7, Index: 11})
	require.NoError(t, errors.Join(err, f.Close()))
	names, err := mem.List("/n1/wal")
	require.NoError(t, err)
	disk := failing(mem, "/n1/wal/"+names[0], errorfs.OpFileReadAt)
	h := &heir{applied: rpc.EntryID{Term: 4, Index: 10}}
	f, err = OpenToSucceed(mem, "/n1", "n1")
	require.NoError(t, err)
	opened := 0
	require.NoError(t, f.Succeed(Legacy{Heir: h, OpenLog: func(dir string) (*wal.Log, error) {
		if opened++; opened == 1 {
			return inlineLog(disk)(dir)
		}
		return inlineLog(mem)(dir)
	}}))
	old := openTestLog(t, mem, f.Path(f.Successions()[0].OldLog))
	require.EqualValues(t, 10, old.State(0).Last.Index)
	require.NoError(t, errors.Join(old.Close(), f.Close()))
}

// Where there was no log none is said to be set aside.
func TestALogThatIsGoneIsNotSetAside(t *testing.T) {
	mem := vfs.NewMem()
	survivor(t, mem)
	require.NoError(t, mem.RemoveAll("/n1/wal"))
	h := &heir{applied: rpc.EntryID{Term: 4, Index: 10}}
	require.NoError(t, succeedOn(mem, h))
	_, _, history, err := Peek(mem, "/n1")
	require.NoError(t, err)
	require.Empty(t, history[0].OldLog)
}

// What was set aside before is never replaced, nor what cannot be looked at (D4).
func TestTheOldLogTakesNobodysName(t *testing.T) {
	mem := vfs.NewMem()
	f, err := Open(mem, "/d", "n1")
	require.NoError(t, err)
	for _, want := range []string{"wal.before-x", "wal.before-x+", "wal.before-x++"} {
		name, err := f.free("wal.before-x")
		require.NoError(t, err)
		require.Equal(t, want, name)
		require.NoError(t, mem.MkdirAll(f.Path(name), 0o700))
	}
	f.fs = failing(mem, "/d/wal.before-x+", errorfs.OpStat)
	_, err = f.free("wal.before-x")
	require.ErrorIs(t, err, syscall.EIO)
	require.NoError(t, f.Close())
}

// flip flips one bit of data in a log's files.
func flip(t *testing.T, fs vfs.FS, dir string, data []byte) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	flipped := 0
	for _, name := range names {
		at := bytes.Index(readFile(t, fs, fs.PathJoin(dir, name)), data)
		if at < 0 {
			continue
		}
		file, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.WriteAt([]byte{data[0] ^ 4}, int64(at))
		require.NoError(t, errors.Join(err, file.Sync(), file.Close()))
		flipped++
	}
	require.Equal(t, 1, flipped)
}

// Who the members were is nothing that a new cluster needs: of a list that was applied and cannot be read the one before is told. One that was not
// applied is needed.
func TestRemainsWithADamagedConfiguration(t *testing.T) {
	fs := waltest.New()
	survivor(t, fs)
	f, err := OpenToSucceed(fs, "/n1", "n1")
	require.NoError(t, err)
	l := openTestLog(t, fs, f.Path("wal"))
	two := rpc.Configuration{Index: 11, Voters: oldTable.Voters[:2]}
	data := rpc.AppendConfiguration(nil, &two)
	require.NoError(t, l.Append(wal.Batch{Entries: []rpc.Entry{{Index: 11, Term: 6, Kind: rpc.EntryConfiguration, Time: 11, Data: data}, {Index: 12, Term: 6, Kind: rpc.EntryCommand, Time: 12}}}))
	require.NoError(t, l.Close())
	flip(t, fs, f.Path("wal"), data)
	l = openTestLog(t, fs, f.Path("wal"))
	r, err := f.Remaining(l, rpc.EntryID{Term: 6, Index: 11})
	require.NoError(t, err)
	require.Equal(t, oldTable, r.Conf)
	require.EqualValues(t, 11, r.Lost)
	require.Zero(t, r.Damaged)
	require.EqualValues(t, 12, r.Whole)
	r, err = f.Remaining(l, rpc.EntryID{Term: 4, Index: 10})
	require.NoError(t, err)
	require.Zero(t, r.Lost, "it is lost with all that follows")
	require.EqualValues(t, 10, r.Whole)
	one := rpc.Configuration{Index: 13, Voters: oldTable.Voters[:1]}
	require.NoError(t, l.Append(wal.Batch{Entries: []rpc.Entry{{Index: 13, Term: 6, Kind: rpc.EntryConfiguration, Time: 13, Data: rpc.AppendConfiguration(nil, &one)}}}))
	r, err = f.Remaining(l, rpc.EntryID{Term: 6, Index: 13})
	require.NoError(t, err)
	require.Equal(t, one, r.Conf)
	require.Zero(t, r.Lost, "a later one can be read")
	require.NoError(t, errors.Join(l.Close(), f.Close()))
}

// Broken off at any change of the disk, with whatever that kept: the folder starts no node until the command was given again, which goes on
// from there (F15, F17, D4).
func TestSuccessionBrokenOffAnywhere(t *testing.T) {
	t.Parallel() // it shares nothing
	for _, mode := range waltest.Modes {
		for at, done := 0, false; !done; at++ {
			fs, h := waltest.New(), &heir{}
			survivor(t, fs)
			fs = fs.Crash(waltest.KeepAll, rand.New(rand.NewPCG(1, 0)))
			left, gone, failed := at, errors.New("no power"), false
			fs.Hook(func(op waltest.Op) error {
				if op.Kind.Changes() {
					left--
				}
				if left < 0 {
					failed = true
					return gone
				}
				return nil
			})
			err := succeedOn(fs, h)
			done = err == nil
			require.Equal(t, !failed, done, "step %d: what was not written is not said to be", at)
			fs.Hook(nil)
			fs = fs.Crash(mode, rand.New(rand.NewPCG(uint64(at), 0)))
			if !done {
				require.ErrorIs(t, err, gone)
			}
			_, _, history, err := Peek(fs, "/n1")
			require.NoError(t, err)
			if f, err := Open(fs, "/n1", "n1"); err != nil {
				require.ErrorIs(t, err, ErrUnfinished, "step %d", at)
			} else {
				require.NoError(t, f.Close())
				require.True(t, len(history) == 1 || h.applied.Index == 0, "step %d: a node may start in the middle", at)
			}
			require.NoError(t, succeedOn(fs, h), "step %d, kept %v", at, mode)
			checkSucceeded(t, fs, h)
		}
	}
}

// Nor does a change of the disk that fails by itself, while those after it do not, make a folder look whole.
func TestSuccessionWhereOneChangeFails(t *testing.T) {
	t.Parallel() // it shares nothing
	for at, failed := 0, true; failed; at++ {
		fs, h := waltest.New(), &heir{}
		survivor(t, fs)
		left := at
		fs.Hook(func(op waltest.Op) error {
			if op.Kind.Changes() {
				if left--; left == -1 {
					return syscall.EIO
				}
			}
			return nil
		})
		err := succeedOn(fs, h)
		fs.Hook(nil)
		if failed = left < 0; err != nil {
			require.ErrorIs(t, err, syscall.EIO)
			require.NoError(t, succeedOn(fs, h), "step %d", at)
		}
		checkSucceeded(t, fs, h)
	}
}

// An entry that only a later build understands is not left out of what goes on: it would be another state than the cluster's (I5, F28).
func TestReplaySkipsNoUnknownKind(t *testing.T) {
	fs, h := waltest.New(), &heir{}
	survivor(t, fs)
	l := openTestLog(t, fs, "/n1/wal")
	require.NoError(t, l.Append(wal.Batch{Entries: []rpc.Entry{{Index: 11, Term: 6, Kind: 9}}}))
	require.NoError(t, Replay(l, 10, h))
	require.ErrorContains(t, Replay(l, 11, h), "entry 6/11 is of kind 9, which this build does not know")
	require.Equal(t, rpc.EntryID{Term: 4, Index: 10}, h.applied)
	require.NoError(t, l.Close())
}

// What cannot go on says why.
func TestNothingToSucceed(t *testing.T) {
	fs := vfs.NewMem()
	f, err := Open(fs, "/n1", "n1")
	require.NoError(t, err)
	l := openTestLog(t, fs, f.Path("wal"))
	_, err = f.Remaining(l, rpc.EntryID{})
	require.ErrorContains(t, err, "never began")
	require.ErrorContains(t, f.Succeed(Legacy{Heir: &heir{}}), "nothing is planned")
	require.NoError(t, errors.Join(l.Close(), f.Close()))
	_, _, _, err = Peek(fs, "/n2")
	require.Error(t, err)

	f, err = OpenToSucceed(fs, "/n3", "n3")
	require.NoError(t, err)
	planned, err := f.Plan(Succession{Kind: Restored, Term: 7, Index: 11})
	require.NoError(t, err)
	again, err := f.Plan(Succession{Kind: Restored, Term: 8, Index: 12})
	require.NoError(t, err)
	require.Equal(t, planned, again, "what was begun is what is done")
	require.Error(t, f.Succeed(Legacy{Heir: &heir{applied: rpc.EntryID{Term: 9, Index: 11}}, OpenLog: inlineLog(fs)}), "by a state that is another's")
	require.NoError(t, f.Close())
	_, err = Open(fs, "/n3", "n3")
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "delete the folder")
}

// The identity keeps the last successions only, or it would be too large to be read one day.
func TestOldSuccessionsAreForgotten(t *testing.T) {
	fs, h := waltest.New(), &heir{applied: rpc.EntryID{Term: 4, Index: 10}}
	survivor(t, fs)
	const count = successionsMax + 3
	for range count {
		f, err := OpenToSucceed(fs, "/n1", "n1")
		require.NoError(t, err)
		at := After(h.applied.Index, h.applied.Term)
		_, err = f.Plan(Succession{Kind: Recovered, Term: at.Term, Index: at.Index})
		require.NoError(t, err)
		require.NoError(t, f.Succeed(Legacy{Heir: h, OpenLog: inlineLog(fs)}))
		require.NoError(t, f.Close())
	}
	_, _, history, err := Peek(fs, "/n1")
	require.NoError(t, err)
	require.Len(t, history, successionsMax)
	require.EqualValues(t, 10+count, history[successionsMax-1].Index)
	require.EqualValues(t, 10+count-successionsMax+1, history[0].Index)
}

// The time of an entry is that of no other with its index: what another leader put there has its own.
func TestTheTimeOfAnEntryIsItsOwn(t *testing.T) {
	fs := waltest.New()
	survivor(t, fs)
	l := openTestLog(t, fs, "/n1/wal")
	b, err := LogBase(l, raft.Base{ID: rpc.EntryID{Term: 4, Index: 1}, Configuration: oldTable})
	require.NoError(t, err)
	base, err := DecodeBase(b)
	require.NoError(t, err)
	require.EqualValues(t, 1, base.Time)
	_, err = TimeOf(l, rpc.EntryID{Term: 5, Index: 1})
	require.ErrorIs(t, err, ErrNotHeld)
	require.NoError(t, l.Append(wal.Batch{Base: b}))
	at, err := TimeOf(l, b.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, at)
	_, err = TimeOf(l, rpc.EntryID{Term: 5, Index: 1})
	require.ErrorIs(t, err, ErrBegins)
	require.NoError(t, l.Close())
}
