package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// newTestReceiver makes a receiver, and records what it answers.
func newTestReceiver(fs vfs.FS) (*receiver, *[]rpc.InstallSnapshotReturn) {
	var said []rpc.InstallSnapshotReturn
	r := &receiver{snapDir: &snapDir{Dir: &snapfile.Dir{FS: fs, Root: "snapshot"}}, inbox: newInbox(), logger: quiet(), bell: newBell(), keepFree: func() int64 { return 0 }}
	r.answer = func(m rpc.Message) { said = append(said, *m.Body.(*rpc.InstallSnapshotReturn)) }
	return r, &said
}

// transfer is a stream cut into chunks.
func transfer(term rpc.Term, number uint64, at rpc.EntryID, stream []byte, size int) []rpc.Message {
	var list []rpc.Message
	for from := 0; from < len(stream); from += size {
		data := stream[from:min(from+size, len(stream))]
		c := &rpc.InstallSnapshotCommand{Snapshot: at, Transfer: number, Offset: uint64(from), Data: data, Sum: uint64(crc32.Checksum(data, castagnoli))}
		if from+size >= len(stream) {
			digest := sha256.Sum256(stream)
			c.Final, c.Digest, c.Configuration = true, digest[:], &table
		}
		list = append(list, rpc.Message{From: "n2", To: "n1", Term: term, Body: c})
	}
	return list
}

// takeAll gives chunks to a receiver, and returns how much it says it has then.
func (r *receiver) takeAll(t *testing.T, said *[]rpc.InstallSnapshotReturn, list ...rpc.Message) uint64 {
	t.Helper()
	for _, m := range list {
		r.submit(m)
		_, err := r.step()
		require.NoError(t, err)
	}
	if len(*said) == 0 {
		return 0
	}
	return (*said)[len(*said)-1].Next
}

// told are the snapshots that the core was told of.
func (r *receiver) told() []raft.Event { return r.inbox.take(batch{}).completions }

func content(n int, fill byte) []byte {
	return append(make([]byte, snapfile.TimeBytes), bytes.Repeat([]byte{fill}, n)...)
}

func asItIs(r io.Reader) io.Reader { return r }

// Chunks of two transfers are never mixed, and a chunk in the middle begins none (K30, F4).
func TestChunksAreNotMixed(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	at := rpc.EntryID{Term: 3, Index: 9}
	first, second := transfer(4, 1, at, content(100, 1), 40), transfer(4, 2, at, content(100, 2), 40)
	require.Zero(t, r.takeAll(t, said, second[1]), "begun in the middle")
	require.EqualValues(t, 40, r.takeAll(t, said, first[0]))
	require.EqualValues(t, 40, r.takeAll(t, said, first[2]), "a gap")
	require.EqualValues(t, 40, r.takeAll(t, said, first[0]), "twice")
	require.Zero(t, r.takeAll(t, said, second[1]))
	require.EqualValues(t, 80, r.takeAll(t, said, first[1]))
	require.EqualValues(t, 40, r.takeAll(t, said, second[0]), "a new transfer ends the one before")
	answers := len(*said)
	r.takeAll(t, said, first...)
	require.Len(t, *said, answers, "the earlier transfer is over")
	require.Empty(t, r.told())
	r.takeAll(t, said, second[1:]...)
	require.Equal(t, []raft.Event{raft.SnapshotStored{From: "n2", Transfer: 2, Snapshot: at, Configuration: table}}, r.told())
	file, err := r.Verify(asItIs)
	require.NoError(t, err)
	require.Equal(t, at, file.ID)
	s, closer, err := r.Open()
	require.NoError(t, err)
	defer closer.Close()
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{2}, 100), got)
	require.EqualValues(t, 108, r.takeAll(t, said, second[2]), "the last chunk again, whose answer was lost")
	require.Empty(t, r.told())
}

// A snapshot leaves the disk what the log and the state machine need to go on: without that the transfer is given up, and what was written is
// removed (F21).
func TestASnapshotLeavesRoom(t *testing.T) {
	fs := vfs.NewMem()
	free := func(n uint64) { fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1 << 30}) }
	free(100)
	r, said := newTestReceiver(fs)
	r.keepFree = func() int64 { return 100 }
	list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(3<<20, 1), 1<<17)
	require.EqualValues(t, 1<<17, r.takeAll(t, said, list[0]))
	free(99)
	require.EqualValues(t, 1<<20, r.takeAll(t, said, list[1:8]...), "the disk is looked at now and then")
	require.Zero(t, r.takeAll(t, said, list[8]))
	require.False(t, r.Exists(snapfile.Incoming))
	require.Zero(t, r.takeAll(t, said, list[0]), "nothing is written")
	last := list[len(list)-1].Body.(*rpc.InstallSnapshotCommand)
	size := last.Offset + uint64(len(last.Data))
	free(100 + size - 1)
	r.takeAll(t, said, list...)
	require.Empty(t, r.told(), "to install it takes as much again")
	require.False(t, r.Exists(snapfile.Incoming))
	free(100 + 3*size)
	r.takeAll(t, said, list...)
	require.Len(t, r.told(), 1, "with room again it is taken")
}

// Each transfer looks at the disk as it begins, however far the one before it was (F21).
func TestEachSnapshotLeavesRoom(t *testing.T) {
	fs := vfs.NewMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30})
	r, said := newTestReceiver(fs)
	r.keepFree = func() int64 { return 100 }
	stream, at := content(3<<20, 1), rpc.EntryID{Term: 3, Index: 9}
	require.EqualValues(t, 2<<20, r.takeAll(t, said, transfer(4, 1, at, stream, 1<<17)[:16]...))
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 99, TotalBytes: 1 << 30})
	require.Zero(t, r.takeAll(t, said, transfer(4, 2, at, stream, 1<<17)[0]))
	require.False(t, r.Exists(snapfile.Incoming))
}

// While there is no more room than a transfer found to be too little, the next is not begun: it would be received in part and deleted again. Once there is more
// it is, and now and then in any case, since the state may have become smaller (F21, L7).
func TestASnapshotWithoutRoomIsNotReceivedAgainAndAgain(t *testing.T) {
	fs, writes := waltest.New(), 0
	fs.Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Write && strings.HasSuffix(op.Name, snapfile.Incoming) {
			writes++
		}
		return nil
	})
	free := func(n uint64) {
		fs.FS.(*vfs.MemFS).TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1 << 30})
	}
	r, said := newTestReceiver(fs)
	r.keepFree = func() int64 { return 1 << 20 }
	const chunk = 1 << 17
	next := uint64(0)
	sends := func() (wrote int) {
		next++
		before := writes
		list := transfer(4, next, rpc.EntryID{Term: 3, Index: 9}, content(3<<20, 1), chunk)
		r.takeAll(t, said, append(list, list...)...) // each is sent again
		return writes - before
	}
	free(5 << 19) // two and a half: after two MiB there is too little
	require.Greater(t, sends(), 10)
	answers := len(*said)
	for range refusalsMax - 1 {
		require.Zero(t, sends())
	}
	require.Equal(t, answers, len(*said), "who sends hears nothing, and pauses")
	require.Greater(t, sends(), 10, "now and then it is tried")
	require.Zero(t, sends(), "and found to be too little again")
	free(9 << 20)
	require.Greater(t, sends(), 10)
	require.Len(t, r.told(), 1)
	require.Zero(t, r.scarce, "it is forgotten")
}

// While a snapshot is being installed the sender hears that this gets on, and so does who sends the next one, which waits for it.
func TestHowFarAnInstallIsIsSaid(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	first, second := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40), transfer(5, 1, rpc.EntryID{Term: 3, Index: 12}, content(100, 2), 40)
	r.takeAll(t, said, first...)
	restored := func() uint64 { return (*said)[len(*said)-1].Restored }
	installs := func(again rpc.Message, next uint64) {
		stream := (&applier{snaps: r.snapDir, rest: func(time.Duration) {}}).throttled(bytes.NewReader(make([]byte, 100)))
		for _, read := range []int{0, 30, 70} {
			_, err := io.ReadFull(stream, make([]byte, read))
			require.NoError(t, err)
			want := restored() + uint64(read)
			require.Equal(t, next, r.takeAll(t, said, again))
			require.Equal(t, want, restored())
		}
	}
	installs(first[2], 108)
	r.takeAll(t, said, second...)
	installs(second[2], 80)
	r.release()
	r.takeAll(t, said, second[2])
	installs(second[2], 108)
	require.EqualValues(t, 300, restored(), "it never falls, or who sends would see no progress")
}

// While one snapshot is being installed the next is received, but not finished (K31).
func TestSecondSnapshotWaits(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	r.takeAll(t, said, transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)...)
	require.Len(t, r.told(), 1)
	second := transfer(5, 1, rpc.EntryID{Term: 3, Index: 12}, content(100, 2), 40)
	require.EqualValues(t, 80, r.takeAll(t, said, second...))
	file, err := r.Verify(asItIs)
	require.NoError(t, err)
	require.EqualValues(t, 9, file.ID.Index)
	r.release()
	r.takeAll(t, said, second[2])
	require.Len(t, r.told(), 1)
	file, err = r.Verify(asItIs)
	require.NoError(t, err)
	require.EqualValues(t, 12, file.ID.Index)
}

// A chunk that is longer than who reads the file takes is not stored: the node could not install what it had, nor start (D1).
func TestAChunkThatIsTooLongIsNotStored(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	at := rpc.EntryID{Term: 3, Index: 9}
	stream := content(2*snapfile.ChunkBytesMax, 1)
	require.Zero(t, r.takeAll(t, said, transfer(4, 1, at, stream, snapfile.ChunkBytesMax+1)...))
	require.Empty(t, r.told())
	r.takeAll(t, said, transfer(4, 1, at, stream, snapfile.ChunkBytesMax)...)
	require.Len(t, r.told(), 1)
	_, err := r.Verify(asItIs)
	require.NoError(t, err)
}

// A disk that hangs does not gather all that is sent meanwhile: chunks are dropped, and the sender goes on from what is stored (F22).
func TestChunksThatWaitForTheDiskAreBounded(t *testing.T) {
	r, said := newTestReceiver(vfs.NewMem())
	list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(3*snapfile.TimeBytes*chunksWaitMax, 1), snapfile.TimeBytes)
	for _, m := range list[:2*chunksWaitMax] {
		r.submit(m)
	}
	_, err := r.step()
	require.NoError(t, err)
	require.EqualValues(t, snapfile.TimeBytes*chunksWaitMax, (*said)[len(*said)-1].Next)
	require.EqualValues(t, snapfile.TimeBytes*(chunksWaitMax+1), r.takeAll(t, said, list[chunksWaitMax]))
}

// A stream that is not what was sent is set aside, and can be sent again.
func TestWrongDigestIsSetAside(t *testing.T) {
	for _, crowded := range []bool{false, true} { // where too many files are open it is not: that is no reason to end (F21)
		fs := waltest.New()
		r, said := newTestReceiver(fs)
		list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)
		list[2].Body.(*rpc.InstallSnapshotCommand).Digest = make([]byte, 32)
		require.EqualValues(t, 80, r.takeAll(t, said, list[:2]...))
		fs.Hook(func(op waltest.Op) error { return when(crowded && op.Kind == waltest.Open, syscall.EMFILE) })
		require.Zero(t, r.takeAll(t, said, list[2]))
		fs.Hook(nil)
		require.Empty(t, r.told())
		require.Equal(t, !crowded, r.Exists(snapfile.Suspect))
		r.takeAll(t, said, transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)...)
		require.Len(t, r.told(), 1)
	}
}

// A transfer that a full disk had no room for begins anew once there is some: who sends it goes on asking for it (F21).
func TestATransferThatFoundNoRoomBeginsAnew(t *testing.T) {
	fs, full := waltest.New(), true
	fs.Hook(func(op waltest.Op) error {
		if full && op.Kind == waltest.Write && strings.HasSuffix(op.Name, snapfile.Incoming) {
			return syscall.ENOSPC
		}
		return nil
	})
	r, said := newTestReceiver(fs)
	list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)
	require.Zero(t, r.takeAll(t, said, list[0]))
	full = false
	r.takeAll(t, said, list...)
	require.Len(t, r.told(), 1)
}

// A transfer that goes on after a restart keeps the time of the log, with which it began: by it nothing expires too soon, nor twice (F24).
func TestATransferThatGoesOnKeepsItsTime(t *testing.T) {
	fs := vfs.NewMem()
	stream := content(100, 1)
	binary.LittleEndian.PutUint64(stream, 77)
	list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, stream, 40)
	before, said := newTestReceiver(fs)
	require.EqualValues(t, 80, before.takeAll(t, said, list[:2]...))
	before.end()
	r, said := newTestReceiver(fs)
	r.takeAll(t, said, list[2])
	require.Equal(t, int64(77), r.told()[0].(raft.SnapshotStored).Time)
}

// The first chunk after a restart waits for what is stored of its own transfer to be read, and not for that of another, which may be as large (L7).
func TestAnOldHalfOfAnotherTransferIsNotRead(t *testing.T) {
	at := rpc.EntryID{Term: 3, Index: 9}
	for _, number := range []uint64{1, 2} { // the transfer that goes on, and the next
		fs, reads := waltest.New(), 0
		before, said := newTestReceiver(fs)
		before.takeAll(t, said, transfer(4, 1, at, content(4000, 1), 40)[:90]...)
		before.end()
		fs.Hook(func(op waltest.Op) error {
			if op.Kind == waltest.Read {
				reads++
			}
			return nil
		})
		r, said := newTestReceiver(fs)
		list := transfer(4, number, at, content(4000, 1), 40)
		r.takeAll(t, said, list[0])
		if number == 1 {
			require.Greater(t, reads, 90)
			require.EqualValues(t, 90*40, r.stored())
		} else {
			require.Equal(t, 1, reads, "its head says that it is another's")
			require.EqualValues(t, 40, r.stored())
		}
		r.takeAll(t, said, list...)
		require.Len(t, r.told(), 1)
		require.Zero(t, fs.OpenFiles())
	}
}

// A snapshot that the core wants no more, since it has got as far by entries, is let go of: else none could be received ever again (K31).
func TestASnapshotThatIsNotWantedIsLetGoOf(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.add(1, 2)
	m.run(20)
	to := m.follower()
	n := m.hub.nodes[to]
	n.receiver.hold(true)
	n.inbox.completed(raft.SnapshotStored{From: m.leader().id(), Transfer: 1, Snapshot: m.vaults[to].Applied(), Configuration: table})
	_, err := m.steps[to].Turn(0)
	require.NoError(t, err)
	_, err = m.steps[to].Receive()
	require.NoError(t, err)
	require.False(t, n.receiver.isHeld())
	require.False(t, n.receiver.waits(), "nor is the next one removed for it")
}

// Who comes as far by entries as the snapshot that it is being sent, or was before it was started anew, has no use for what it has of that: the file is as
// large as the state may be, and nothing else would ever remove it (F21).
func TestWhatIsReceivedGoesOnceItIsPassed(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		for seed := range uint64(3) {
			m, away := behind(t, seed)
			m.back(away, seed+50)
			m.receiving(away)
			n := m.hub.nodes[away]
			n.receiver.pass(n.receiver.last.Snapshot.Index - 1)
			_, err := m.steps[away].Receive()
			require.NoError(t, err)
			require.Positive(t, n.receiver.stored(), "it is needed still")
			at := n.receiver.last.Snapshot.Index
			if restarted {
				image := m.disks[away].Crash(waltest.KeepAll, m.dice)
				m.crash(away)
				m.disks[away] = image
				m.back(away, seed+60)
				n = m.hub.nodes[away]
				require.Equal(t, at, n.receiver.staged)
			}
			n.receiver.pass(at)
			require.True(t, m.steps[away].Waiting().Receive)
			_, err = m.steps[away].Receive()
			require.NoError(t, err)
			require.False(t, n.snaps.Exists(snapfile.Incoming))
			require.False(t, n.receiver.passed())
			m.agree()
			require.False(t, n.snaps.Exists(snapfile.Incoming))
		}
	}
}

// What nothing is known of goes too, and by itself.
func TestAnOldHalfOfASnapshotGoesByItself(t *testing.T) {
	begun := vfs.NewMem()
	stage, err := snapfile.Create(begun, "s", snapfile.Head{From: "n2", Term: 1, Transfer: 1, Snapshot: rpc.EntryID{Term: 1, Index: 2}})
	require.NoError(t, err)
	require.NoError(t, stage.Close())
	for name, raw := range map[string][]byte{
		"passed":  readFile(t, begun, "s"),
		"no head": []byte("half"),
	} {
		m := newManual(t, 1, "n1", "n2", "n3")
		m.add(1, 2, 3)
		id := m.follower()
		m.crash(id)
		path := m.folders[id].Snapshots().Path(snapfile.Incoming)
		require.NoError(t, m.disks[id].MkdirAll(m.folders[id].Snapshots().Root, 0o700))
		file, err := m.disks[id].Create(path, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.Write(raw)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		m.back(id, 60)
		m.run(100)
		require.False(t, m.hub.nodes[id].snaps.Exists(snapfile.Incoming), name)
	}
}

// What a snapshot leaves of the disk is what the log is told to leave.
func TestASnapshotLeavesWhatTheLogLeaves(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	require.EqualValues(t, 1, m.hub.nodes["n1"].receiver.keepFree())
}

// A snapshot that comes while too many files are open, or its folder has no room, is given up and sent again: the node goes on (F21).
func TestASnapshotThatComesWhileTooManyFilesAreOpenIsSentAgain(t *testing.T) {
	for name, by := range map[string]func(waltest.Op) error{
		"no folder can be made": func(op waltest.Op) error { return when(op.Kind == waltest.Mkdir, syscall.ENOSPC) },
		"nor be synced":         func(op waltest.Op) error { return when(op.Kind == waltest.Open && op.Name == ".", syscall.EMFILE) },
		"nor the file be named": func(op waltest.Op) error {
			return when(op.Kind == waltest.Open && op.Name == "snapshot", syscall.ENFILE)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := waltest.New()
			fs.Hook(by)
			r, said := newTestReceiver(fs)
			list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)
			r.takeAll(t, said, list...)
			require.Empty(t, r.told())
			require.False(t, r.Exists(snapfile.Incoming))
			fs.Hook(nil)
			r.takeAll(t, said, list...)
			require.Len(t, r.told(), 1)
		})
	}
}

// Nor does it take what was received of it before the node started: that goes on once some are closed.
func TestATransferGoesOnAfterTooManyFilesWereOpen(t *testing.T) {
	fs := waltest.New()
	list := transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)
	before, said := newTestReceiver(fs)
	require.EqualValues(t, 80, before.takeAll(t, said, list[:2]...))
	before.end()
	r, said := newTestReceiver(fs)
	for _, name := range []string{".", r.Path(snapfile.Incoming)} { // the folder's, which is synced, and the file
		fs.Hook(func(op waltest.Op) error { return when(op.Kind == waltest.Open && op.Name == name, syscall.EMFILE) })
		r.takeAll(t, said, list[1])
		require.Empty(t, *said, "it is sent again")
		require.True(t, r.Exists(snapfile.Incoming))
	}
	fs.Hook(nil)
	r.takeAll(t, said, list[2])
	require.Len(t, r.told(), 1)
}

func when(so bool, err error) error {
	if so {
		return err
	}
	return nil
}

// A folder that fails otherwise ends the node (D5).
func TestASnapshotFolderThatFailsEndsTheNode(t *testing.T) {
	fs := waltest.New()
	fs.Hook(func(op waltest.Op) error { return when(op.Kind == waltest.Sync, syscall.EIO) })
	r, _ := newTestReceiver(fs)
	r.submit(transfer(4, 1, rpc.EntryID{Term: 3, Index: 9}, content(100, 1), 40)[0])
	_, err := r.step()
	require.ErrorIs(t, err, syscall.EIO)
}
