package node

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal/waltest"
)

// started is a start of a peer, as the bus tells of it.
func (m *manual) started(id rpc.NodeID, count, nonce uint32) busclient.Identity {
	return busclient.Identity{ID: id, Instance: m.folders[id].Instance, Boot: rpc.BootEpoch(uint64(count)<<32 | uint64(nonce))}
}

// What the bus has proof of is there at the next start, after a power loss too: the newest start of each member, and of nobody else (F23).
func TestF23StartsAreKept(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	stranger := m.started("n2", 9, 9)
	stranger.Instance[0] ^= 1
	for _, who := range []busclient.Identity{m.started("n3", 4, 1), m.started("n2", 1, 7), m.started("n2", 2, 5), m.started("n2", 2, 6), m.started("n2", 1, 8), stranger} {
		m.hub.nodes["n1"].Booted(who)
	}
	m.run(20)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 4, 1)}, m.folders["n1"].Starts)
	m.hub.nodes["n1"].Booted(m.started("n3", 5, 1))
	m.run(20)
	m.crash("n1")
	m.back("n1", 55)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 5, 1)}, m.folders["n1"].Starts, "with what is news, what was known")
	m.change(raft.Change{Remove: []rpc.NodeID{"n2"}})
	m.run(50)
	m.crash("n1")
	m.back("n1", 60)
	require.Equal(t, []busclient.Identity{m.started("n3", 5, 1)}, m.folders["n1"].Starts, "who left is forgotten, what was known is not")
}

// What is heard of while the file is being written is written after it, though nothing else happens (F23).
func TestF23StartsHeardWhileOthersAreWritten(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	m.run(50)
	want := []busclient.Identity{m.started("n2", 3, 1), m.started("n3", 4, 1)}
	for _, who := range want {
		m.hub.nodes["n1"].Booted(who)
		_, err := m.steps["n1"].Turn(0)
		require.NoError(t, err)
	}
	m.run(50)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, want, m.folders["n1"].Starts)
}

// However many instances come, and be they strangers before there is a table, what is known of them is bounded; of those it knows the newest start counts.
func TestF23StartsAreBounded(t *testing.T) {
	s, who := starts{}, func(i int, boot rpc.BootEpoch) busclient.Identity {
		return busclient.Identity{ID: "n2", Instance: rpc.InstanceID{byte(i), byte(i >> 8)}, Boot: boot}
	}
	for i := range startsMax {
		require.True(t, s.note(who(i, 1<<32)))
	}
	require.False(t, s.note(who(startsMax, 1<<32)))
	require.True(t, s.note(who(0, 2<<32)))
	require.Len(t, s.newest, startsMax)
}

// Instances that are members no more leave room: the starts of those that are, are kept however many there were before (F23).
func TestF23ThoseThatLeftLeaveRoom(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	m.hub.nodes["n1"].Booted(m.started("n3", 4, 1))
	for i := range 2 * startsMax {
		left := m.started("n2", 1, 1)
		left.Instance = rpc.InstanceID{byte(i), byte(i >> 8)}
		m.hub.nodes["n1"].Booted(left)
		m.run(1)
	}
	m.hub.nodes["n1"].Booted(m.started("n2", 2, 5))
	m.run(20)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 4, 1)}, m.folders["n1"].Starts)
}

// A power loss at any operation leaves what was known before, or after (K33, K54).
func TestF23CrashWhileKeepingStarts(t *testing.T) {
	list := func(count uint64) []busclient.Identity {
		return []busclient.Identity{{ID: "n2", Instance: instance("n2"), Boot: rpc.BootEpoch(count << 32)}}
	}
	for _, mode := range waltest.Modes {
		for k := 1; ; k++ {
			fs, dice := waltest.New(), rand.New(rand.NewPCG(uint64(k), 1))
			f, err := OpenFolder(fs, "d", "n1")
			require.NoError(t, err)
			require.NoError(t, f.writeStarts(list(1)))
			require.NoError(t, f.Close())
			left, image := k, (*waltest.FS)(nil)
			fs.Hook(func(op waltest.Op) error {
				if left--; left == 0 {
					image = fs.Crash(mode, dice)
				}
				if left <= 0 {
					return errPower
				}
				return nil
			})
			err = f.writeStarts(list(2))
			if image == nil {
				require.NoError(t, err)
				image = fs.Crash(waltest.KeepNothing, dice)
			}
			f, openErr := OpenFolder(image, "d", "n1")
			require.NoError(t, openErr)
			require.NoError(t, f.Lost)
			require.Contains(t, [][]busclient.Identity{list(1), list(2)}, f.Starts)
			if err == nil {
				require.Equal(t, list(2), f.Starts)
				break
			}
		}
	}
}

// A file that is damaged anywhere is set aside, and the node starts without it (D1, D4).
func TestF23DamagedStartsAreSetAside(t *testing.T) {
	fs := vfs.NewMem()
	f, err := OpenFolder(fs, "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.writeStarts([]busclient.Identity{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}))
	whole, err := f.readFile(startsName)
	require.NoError(t, err)
	for i := range 8 * len(whole) {
		bad := bytes.Clone(whole)
		bad[i/8] ^= 1 << (i % 8)
		file, err := fs.Create(f.Path(startsName), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.Write(bytes.Clone(bad)) // memory may scribble on what it was given
		require.NoError(t, errors.Join(err, file.Close()))
		f.Lost, f.Starts = nil, nil
		require.NoError(t, f.loadStarts())
		require.ErrorContains(t, f.Lost, startsSuspect, "bit %d", i)
		require.Empty(t, f.Starts)
		kept, err := f.readFile(startsSuspect)
		require.NoError(t, err)
		require.Equal(t, bad, kept)
	}
}

// So is one that the disk does not give any more, wherever it fails.
func TestF23UnreadableStartsAreSetAside(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpOpen, errorfs.OpFileRead} {
		mem := vfs.NewMem()
		f, err := OpenFolder(mem, "d", "n1")
		require.NoError(t, err)
		require.NoError(t, errors.Join(f.writeStarts([]busclient.Identity{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}), f.Close()))
		failing := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind && op.Path == f.Path(startsName) {
				return syscall.EIO
			}
			return nil
		}))
		for i := range 2 { // a disk may fail to say, too, that there is no such file
			f, err = OpenFolder(failing, "d", "n1")
			require.NoError(t, err)
			if i == 0 {
				require.ErrorIs(t, f.Lost, syscall.EIO)
			}
			require.Empty(t, f.Starts)
			_, err = f.readFile(startsSuspect)
			require.NoError(t, errors.Join(err, f.Close()))
		}
	}
}

// Too many open files say nothing of it: it stays, and the next start reads it (F21).
func TestF23StartsOutliveTooManyFiles(t *testing.T) {
	mem := vfs.NewMem()
	f, err := OpenFolder(mem, "d", "n1")
	require.NoError(t, err)
	list := []busclient.Identity{{ID: "n2", Instance: instance("n2"), Boot: 7 << 32}}
	require.NoError(t, errors.Join(f.writeStarts(list), f.Close()))
	_, err = OpenFolder(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		return when(op.Kind == errorfs.OpOpen && op.Path == f.Path(startsName), syscall.EMFILE)
	})), "d", "n1")
	require.ErrorIs(t, err, syscall.EMFILE)
	f, err = OpenFolder(mem, "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.Lost)
	require.Equal(t, list, f.Starts)
	require.NoError(t, f.Close())
}

// Starts as a later build writes them are set aside, not read as what they are not (F28).
func TestF23StartsOfALaterBuildAreSetAside(t *testing.T) {
	f, err := OpenFolder(vfs.NewMem(), "d", "n1")
	require.NoError(t, err)
	require.NoError(t, f.writeLine(startsName, startsFile{Version: startsVersion + 1}))
	require.NoError(t, f.loadStarts())
	require.ErrorContains(t, f.Lost, "version 2, this build reads 1")
	require.NoError(t, f.Close())
}

// A full disk keeps no starts, and stops nobody; the next news are kept with those.
func TestF23FullDiskKeepsNoStarts(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	m.disks["n1"].Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create {
			return syscall.ENOSPC
		}
		return nil
	})
	m.hub.nodes["n1"].Booted(m.started("n2", 2, 5))
	m.run(50)
	require.Contains(t, m.trail.String(), "could not be kept")
	m.disks["n1"].Hook(nil)
	m.hub.nodes["n1"].Booted(m.started("n3", 3, 5))
	m.run(50)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 3, 5)}, m.folders["n1"].Starts)
}

// What a full disk did not keep is kept at the next chance, though it is no news then (F23).
func TestF23StartsThatWereNotKeptAreTriedAgain(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	m.disks["n1"].Hook(func(op waltest.Op) error {
		if op.Kind == waltest.Create {
			return syscall.ENOSPC
		}
		return nil
	})
	m.hub.nodes["n1"].Booted(m.started("n2", 2, 5))
	m.run(50)
	m.disks["n1"].Hook(nil)
	m.change(raft.Change{Remove: []rpc.NodeID{"n3"}})
	m.run(50)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5)}, m.folders["n1"].Starts)
}

// A node that hears from a peer that its folder is an old copy leads no more, once and for all, and says what is to be done (F23, D3).
func TestAnOldCopyLeadsNoMore(t *testing.T) {
	g := newManual(t, 1, "n1", "n2", "n3")
	first := g.leader()
	first.Pinged(busclient.Pinged{Peer: g.ids[0], Outdated: true})
	g.run(2 * first.ticks().ElectionMax)
	require.NotEqual(t, first.id(), g.leader().id())
	require.True(t, first.outdated)
}
