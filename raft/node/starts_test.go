package node

import (
	"syscall"
	"testing"

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
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 4, 1)}, m.hub.nodes["n1"].KnownStarts())
	m.hub.nodes["n1"].Booted(m.started("n3", 5, 1))
	m.run(20)
	m.crash("n1")
	m.back("n1", 55)
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 5, 1)}, m.hub.nodes["n1"].KnownStarts(), "with what is news, what was known")
	m.change(raft.Change{Remove: []rpc.NodeID{"n2"}})
	m.run(50)
	m.crash("n1")
	m.back("n1", 60)
	require.Equal(t, []busclient.Identity{m.started("n3", 5, 1)}, m.hub.nodes["n1"].KnownStarts(), "who left is forgotten, what was known is not")
}

// That counts of members too whom this node's log does not name yet: a peer has told of them (F23).
func TestF23StartsOfThoseWhomAPeerToldOfAreKept(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	n, n4 := m.hub.nodes["n1"], busclient.Identity{ID: "n4", Instance: instance("n4"), Boot: rpc.BootEpoch(3<<32 | 1)}
	n.Booted(n4)
	m.run(20)
	conf := rpc.Configuration{Cluster: n.cluster, Index: 99, Voters: n.core.Committed().Voters, Learners: memberOf("n4")}
	n.Learned(n.cluster, conf)
	m.run(20)
	m.crash("n1")
	m.back("n1", 50)
	require.Contains(t, m.hub.nodes["n1"].KnownStarts(), n4)
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
	require.Equal(t, want, m.hub.nodes["n1"].KnownStarts())
}

// Who was started before this node heard that it is a member is kept once that is heard, though nothing else happens (F23).
func TestF23StartsOfWhoIsLearnedToBeAMember(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.leader()
	n, who := m.hub.nodes["n1"], busclient.Identity{ID: "n4", Instance: rpc.InstanceID{4}, Boot: 1 << 32}
	n.Booted(who)
	m.run(20)
	cluster := n.Status().Cluster
	n.Learned(cluster, rpc.Configuration{Cluster: cluster, Index: 800, Voters: []rpc.Member{m.member("n1"), m.member("n2"), m.member("n3"), {ID: who.ID, Instance: who.Instance}}})
	m.run(20)
	m.crash("n1")
	m.back("n1", 50)
	require.Equal(t, []busclient.Identity{who}, m.hub.nodes["n1"].KnownStarts())
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
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 4, 1)}, m.hub.nodes["n1"].KnownStarts())
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
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5), m.started("n3", 3, 5)}, m.hub.nodes["n1"].KnownStarts())
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
	require.Equal(t, []busclient.Identity{m.started("n2", 2, 5)}, m.hub.nodes["n1"].KnownStarts())
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
