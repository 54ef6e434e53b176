package node

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// segments are the bytes of a log's files.
func segments(t *testing.T, fs vfs.FS, dir string) map[string][]byte {
	list, err := fs.List(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, name := range list {
		file, err := fs.Open(fs.PathJoin(dir, name))
		require.NoError(t, err)
		files[name], err = io.ReadAll(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	return files
}

// flip flips one bit of the only place in a log's files that holds data, and says where that is.
func flip(t *testing.T, fs vfs.FS, dir string, data []byte) (name string, at int) {
	for file, raw := range segments(t, fs, dir) {
		if i := bytes.Index(raw, data); i >= 0 {
			require.Empty(t, name, "it is there twice")
			name, at = file, i
		}
	}
	require.NotEmpty(t, name, "it is not there")
	file, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{data[0] ^ 4}, int64(at))
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
	return name, at
}

// damage flips a bit in the payload of an entry of a node that was stopped; its log as it was says which.
func (m *manual) damage(id rpc.NodeID, i rpc.Index) (name string, at int) {
	list, err := m.logs[id].Entries(0, i, i+1, 1)
	require.NoError(m.t, err)
	require.NotEmpty(m.t, list[0].Data)
	return flip(m.t, m.disks[id], m.folders[id].Path("wal"), list[0].Data)
}

// tail is a group of which each log ends with entries that no state machine holds durably. Those away missed all but the first.
func tail(t *testing.T, seed uint64, away func(*manual) []rpc.NodeID) *manual {
	m := newManual(t, seed, "n1", "n2", "n3")
	m.add(1, 2, 3)
	m.run(50)
	for _, id := range away(m) {
		m.crash(id)
	}
	at := m.leader().id()
	for x := uint64(0x1020304050); x < 0x1020304050+20 || m.hub.nodes[at].Status().Last < m.vaults[at].Durable()+3; x++ {
		m.add(x)
		m.run(20)
	}
	return m
}

func nobody(*manual) []rpc.NodeID { return nil }

// rest are the nodes that are not these.
func (m *manual) rest(not ...rpc.NodeID) []rpc.NodeID {
	return slices.DeleteFunc(slices.Clone(m.ids), func(id rpc.NodeID) bool { return slices.Contains(not, id) })
}

// Bits of entries are lost on a stopped node, that followed or led. It comes back, has no vote before the leader has given the
// entries again, and then its log is what it was, to the last bit (F18, D1-D4).
func TestF18DamagedEntriesAreRepaired(t *testing.T) {
	for seed := range uint64(6) {
		m := tail(t, seed, nobody)
		bad := m.leader().id()
		if seed%2 == 0 {
			bad = m.follower()
		}
		other, dir, last := m.rest(bad)[0], m.folders[bad].Path("wal"), m.hub.nodes[bad].Status().Last
		for _, id := range m.ids {
			m.crash(id)
		}
		before := segments(t, m.disks[bad], dir)
		m.damage(bad, last-1)
		m.damage(bad, last)
		m.back(bad, seed+50)
		m.back(other, seed+60)
		for range 100 {
			m.run(10)
			for _, id := range []rpc.NodeID{bad, other} {
				require.NotEqual(t, raft.Leader, m.hub.nodes[id].Status().Role, "%s leads by the vote of a damaged node:\n%s", id, &m.trail)
			}
		}
		require.Equal(t, 2, m.hub.nodes[bad].Status().Damaged)
		require.Contains(t, m.trail.String(), "damaged=2")
		m.back(m.rest(bad, other)[0], seed+70)
		m.add(7)
		m.agree()
		s := m.hub.nodes[bad].Status()
		require.Zero(t, s.Damaged)
		require.EqualValues(t, 2, s.Log.Repaired)
		require.Contains(t, m.trail.String(), "the leader has given again all")
		m.sameLog(bad, dir, before)
		m.crash(bad)
		m.back(bad, seed+80)
		require.Zero(t, m.hub.nodes[bad].Status().Damaged, "a repair was not durable")
		m.agree()
	}
}

// sameLog requires that a log's files hold what they held: all sectors that were written then, which are those of more than one word.
func (m *manual) sameLog(id rpc.NodeID, dir string, before map[string][]byte) {
	after := segments(m.t, m.disks[id], dir)
	for name, was := range before {
		for at := 0; at < len(was); at += waltest.SectorBytes {
			sector := was[at : at+waltest.SectorBytes]
			if !bytes.Equal(sector, bytes.Repeat(sector[:8], len(sector)/8)) {
				require.True(m.t, bytes.Equal(sector, after[name][at:at+len(sector)]), "%s at %d is not what it was", name, at)
			}
		}
	}
}

// What the state holds durably is not needed again: the log begins after it, and who needs the entry gets a snapshot. The time of
// the log's last entry is not lost with it (design section 6).
func TestF18DamagedEntryThatIsInTheState(t *testing.T) {
	for seed, lastOne := range []bool{false, true} {
		var behind rpc.NodeID
		m := tail(t, uint64(seed), func(m *manual) []rpc.NodeID { behind = m.follower(); return []rpc.NodeID{behind} })
		bad := m.rest(behind, m.leader().id())[0]
		if lastOne {
			require.NoError(t, m.vaults[bad].save())
		}
		at, last := m.vaults[bad].Durable(), m.hub.nodes[bad].Status().Last
		require.Equal(t, lastOne, at == last)
		header, err := m.logs[bad].Header(0, at)
		require.NoError(t, err)
		m.crash(bad)
		m.damage(bad, at)
		m.crash(m.rest(bad, behind)[0])
		m.back(bad, 50)
		s := m.hub.nodes[bad].Status()
		require.Equal(t, []rpc.Index{at, last}, []rpc.Index{s.Base, s.Last})
		require.Zero(t, s.Damaged)
		time, err := folder.TimeOf(m.logs[bad], header.ID())
		require.NoError(t, err)
		require.Equal(t, header.Time, time)
		m.back(behind, 60)
		m.add(7)
		require.Equal(t, bad, m.leader().id(), "the other one's log is shorter")
		m.back(m.rest(bad, behind)[0], 70)
		m.agree()
		require.Contains(t, m.trail.String(), "snapshot installed by a peer")
	}
}

// A state that was put there by mistake, of another node that has applied more than the log holds, has nothing cut: the log is as it was when the right one is
// put back, and what that needs of it is there (D4, I5).
func TestF18DamageUnderTheStateOfAnotherNode(t *testing.T) {
	m := tail(t, 1, nobody)
	bad := m.follower()
	require.Less(t, m.vaults[bad].Durable()+2, m.hub.nodes[bad].Status().Last)
	m.crash(bad)
	m.add(numbers(0x2020304050, 20)...)
	m.damage(bad, m.vaults[bad].Durable()-1)
	right, err := openVault(m.disks[bad], 7)
	require.NoError(t, err)
	m.switched(bad, m.vaults[m.leader().id()].bytes())
	dir := m.folders[bad].Path("wal")
	before := segments(t, m.disks[bad], dir)
	require.ErrorContains(t, m.tryStart(bad, 50), "its folders do not belong together")
	require.Equal(t, before, segments(t, m.disks[bad], dir))
	require.NoError(t, errors.Join(m.logs[bad].Close(), m.folders[bad].Close()))
	m.switched(bad, right.bytes())
	m.back(bad, 60)
	m.agree()
}

// The only copy of an entry is lost: nothing goes on without it, and nothing else breaks (D3).
func TestF18DamageOfTheOnlyCopyHalts(t *testing.T) {
	m := newManual(t, 1, "n1")
	m.add(numbers(0x1020304050, 3)...)
	n := m.hub.nodes["n1"]
	last := n.Status().Last
	m.crash("n1")
	m.damage("n1", last)
	m.back("n1", 50)
	m.run(1000)
	s := m.hub.nodes["n1"].Status()
	require.Equal(t, raft.Follower, s.Role)
	require.Equal(t, 1, s.Damaged)
	require.Less(t, s.Applied, last)
	require.ErrorIs(t, m.hub.nodes["n1"].Propose(nil, nil), ErrNotLeader)
	require.Contains(t, m.trail.String(), "neither votes nor acknowledges")
}

// Who the members are is nobody else's to say: without it the node does not start, unless a later one is in the state too (D3).
func TestF18DamagedConfiguration(t *testing.T) {
	m := tail(t, 1, nobody)
	out, bad := m.follower(), rpc.NodeID("")
	m.change(raft.Change{Remove: []rpc.NodeID{out}})
	bad = m.rest(out, m.leader().id())[0]
	m.add(9)
	m.run(50)
	first := m.hub.nodes[bad].Status().Configuration.Index
	require.NotZero(t, first)
	whole := m.disks[bad].Crash(waltest.KeepAll, m.dice)
	m.damage(bad, first)
	refused := func() {
		m.crash(bad)
		err := m.tryStart(bad, 50)
		require.ErrorContains(t, err, "raftbus member replace "+string(bad))
		require.ErrorContains(t, err, ".wal is damaged at offset")
	}
	refused()
	require.NoError(t, m.vaults[bad].save())
	refused()
	m.disks[bad] = whole
	m.back(bad, 60)
	m.change(raft.Change{Add: []rpc.Member{m.member(out)}})
	m.agree()
	require.NoError(t, m.vaults[bad].save())
	later := m.logs[bad].State(0).Configurations
	m.damage(bad, first)
	m.crash(bad)
	m.back(bad, 70)
	require.Equal(t, later[1], m.hub.nodes[bad].Status().Base, "%v", later)
	m.add(10)
	m.agree()
}

// A configuration before the damage is whole, and no place to begin at: the damage would be in the log still.
func TestF18DamageAfterAConfiguration(t *testing.T) {
	m := newManual(t, 4, "n1", "n2", "n3")
	out := m.follower()
	m.change(raft.Change{Remove: []rpc.NodeID{out}})
	bad := m.rest(out, m.leader().id())[0]
	m.add(numbers(0x1020304050, 5)...)
	m.run(50)
	require.NoError(t, m.vaults[bad].save())
	at := m.vaults[bad].Durable()
	require.Less(t, m.hub.nodes[bad].Status().Configuration.Index, at)
	m.crash(bad)
	m.damage(bad, at)
	m.back(bad, 50)
	require.Equal(t, at, m.hub.nodes[bad].Status().Base)
	require.Zero(t, m.hub.nodes[bad].Status().Damaged)
}

// A state that has applied what the log has lost, and not durably, may lose it too: the node does not start from it.
func TestF18DamageUnderAStateThatIsNotDurable(t *testing.T) {
	m := newManual(t, 1, "n1")
	n := m.hub.nodes["n1"]
	for applied, refused := range map[rpc.Index]bool{4: false, 5: true, 6: true} {
		err := n.tellDamaged(wal.State{Damaged: []rpc.EntryID{{Term: 1, Index: 5}}}, applied)
		require.Equal(t, refused, err != nil, applied)
	}
}

// Damage that is found while the node runs stops it, with the place and the remedy; started again, it is repaired.
func TestF18DamageFoundWhileRunning(t *testing.T) {
	for name, read := range map[string]func(*Steps, rpc.Index) error{
		"loader": func(s *Steps, i rpc.Index) error {
			s.node.loader.submit(raft.Load{Peer: "n9", From: i, To: i + 1, MaxBytes: 1 << 20})
			_, err := s.Load()
			return err
		},
		"applier": func(s *Steps, i rpc.Index) error {
			s.node.applier.submit(applyWork{run: raft.Apply{From: i, To: i}}, false)
			_, err := s.Apply()
			return err
		},
	} {
		m := tail(t, 3, nobody)
		bad := m.leader().id()
		at := m.hub.nodes[bad].Status().Last - 1
		m.damage(bad, at)
		err := read(m.steps[bad], at)
		require.ErrorContains(t, err, "start this node again", name)
		require.ErrorContains(t, err, ".wal is damaged at offset", name)
		require.ErrorAs(t, m.hub.nodes[bad].Err(), new(*wal.CorruptError))
		<-m.hub.nodes[bad].Done()
		m.crash(bad)
		m.add(7)
		m.back(bad, 50)
		m.agree()
		require.EqualValues(t, 1, m.hub.nodes[bad].Status().Log.Repaired, name)
	}
}

// An entry that is not the one that was lost is never written in its place: the node stops.
func TestRepairWithAnotherEntryStopsTheNode(t *testing.T) {
	a, disk := newAppender(t, func(rpc.Message) { t.Error("a message left") })
	lost := entry(1)
	lost.Data = []byte("what was written")
	require.NoError(t, a.log.Append(wal.Batch{Entries: []rpc.Entry{lost}}))
	require.NoError(t, a.log.Close())
	flip(t, disk, "wal", lost.Data)
	before := segments(t, disk, "wal")
	var err error
	a.log, err = wal.Open(disk, "wal", wal.Options{ReportDamaged: true})
	require.NoError(t, err)
	other := lost
	other.Data = []byte("what was not so!")
	a.submit(job{write: raft.Write{Seq: 1, Repairs: []rpc.Entry{other}}, then: []rpc.Message{{}}}, true)
	_, err = a.step()
	require.ErrorIs(t, err, wal.ErrInvalid)
	require.ErrorContains(t, err, "raftbus member replace")
	require.Equal(t, before["0000000000000001.wal"], segments(t, disk, "wal")["0000000000000001.wal"])
	require.NoError(t, a.log.Close())
}

// A folder that was copied while its node ran, and put back before that was started again, is not known for an old copy by its starts. The leader that
// has its word for what it lost says so, once, and goes on with the others (F23, D3).
func TestF23LeaderTellsWhoLostWhatItAcknowledged(t *testing.T) {
	m := newManual(t, 2, "n1", "n2", "n3")
	m.add(numbers(1, 5)...)
	bad := m.follower()
	m.run(50)
	old := m.disks[bad].Crash(waltest.KeepAll, m.dice)
	m.add(numbers(6, 10)...)
	m.run(50)
	leader := m.leader()
	m.crash(bad)
	m.disks[bad] = old
	m.back(bad, 50)
	m.run(300)
	m.add(11)
	require.Equal(t, leader, m.leader())
	require.Equal(t, 1, strings.Count(m.trail.String(), "raftbus member replace "+string(bad)+`" node=`+string(leader.id())), m.trail.String())
}
