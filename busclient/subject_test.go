package busclient

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestSubjectsAreThoseOfTheDesign(t *testing.T) {
	require.Equal(t, "raftbus.rpc.n2.n1.AppendLog", requestSubject("raftbus", "n2", "n1", rpc.MethodAppendLog))
	require.Equal(t, "raftbus.rpc.n1.*.Ping", requestSubject("raftbus", "n1", "*", rpc.MethodPing))
	require.Equal(t, "raftbus.node.n1.status", StatusSubject("raftbus", "n1"))

	r := newRoutes("p", "n1", "n2", [paths]string{"ctl", "blk"})
	require.Equal(t, "p.rpc.n2.n1.PingBulk", r.requests[rpc.MethodPingBulk])
	require.Equal(t, "p.rpc.n1.n2.Return.ctl.7", r.reply(control, 7))
	require.Equal(t, "p.rpc.n1.n2.Return.blk.8", r.reply(bulk, 8))
	require.Equal(t, "p.rpc.n2.n1.Return.", r.inbox)
}

func TestEachMethodIsServedOnItsConnectionOnce(t *testing.T) {
	seen := map[rpc.Method]int{}
	for p := range paths {
		for _, m := range served[p] {
			require.Equal(t, p == bulk, m.Bulk(), m)
			seen[m]++
		}
	}
	for _, m := range []rpc.Method{rpc.MethodHeartbeat, rpc.MethodAppendLog, rpc.MethodCommitLog, rpc.MethodRequestVote, rpc.MethodPing, rpc.MethodPingBulk} {
		require.Equal(t, 1, seen[m], m)
	}
	require.Equal(t, rpc.MethodPing, pingMethod[control])
	require.Equal(t, rpc.MethodPingBulk, pingMethod[bulk])
}

func TestSubjectsAreReadBack(t *testing.T) {
	const own = "p.rpc.n1."
	from, method, ok := parseRequest(own, requestSubject("p", "n1", "n2", rpc.MethodHeartbeat))
	require.True(t, ok)
	require.Equal(t, rpc.NodeID("n2"), from)
	require.Equal(t, rpc.MethodHeartbeat, method)

	r := newRoutes("p", "n1", "n2", [paths]string{"ctl", "blk"})
	from, round, ok := parseReturn(own, r.reply(bulk, 1<<63))
	require.True(t, ok)
	require.Equal(t, rpc.NodeID("n2"), from)
	require.Equal(t, uint64(1<<63), round)

	for _, wrong := range []string{"", "p.rpc.n1.", "p.rpc.n1.n2", "p.rpc.n2.n1.Ping", "p.rpc.n1.n2.Return.x.y", "p.rpc.n1.n2.Return.x.-1"} {
		_, _, ok := parseReturn(own, wrong)
		require.False(t, ok, wrong)
	}
	_, _, ok = parseRequest(own, "p.rpc.n2.n1.Ping")
	require.False(t, ok)
}
