package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestValidateFillsInDefaults(t *testing.T) {
	c, err := Validate(Config{NodeID: "n2", MemberIDs: []rpc.NodeID{"n3", "n1", "n2"}, Key: []byte("k")})
	require.NoError(t, err)
	require.Equal(t, rpc.NodeID("n2"), c.Self().ID())
	require.Equal(t, DefaultPrefix, c.Prefix())
	require.Equal(t, DefaultTiming(), c.Timing())
	require.Equal(t, []byte("k"), c.ClusterKey())
	var ids []rpc.NodeID
	for _, m := range c.Members() {
		ids = append(ids, m.ID())
	}
	require.Equal(t, []rpc.NodeID{"n1", "n2", "n3"}, ids)
}

// All problems are reported at once, each with what to do.
func TestValidateReportsAllProblems(t *testing.T) {
	_, err := Validate(Config{
		NodeID: "_x", MemberIDs: []rpc.NodeID{"a.b", "n1", "n1"}, Subjects: "a b",
		Periods: Timing{Tick: time.Microsecond, Heartbeat: time.Nanosecond, ElectionMin: 2, ElectionMax: 1},
	})
	for _, want := range []string{`node id "_x"`, `prefix "a b"`, `member id "a.b"`, `"n1" is listed twice`, `"_x" is not among`, "tick", "heartbeat", "election timeout ", "election timeouts from"} {
		require.ErrorContains(t, err, want)
	}
}

// What splits votes, or has a late heartbeat start an election, is refused from where it begins to.
func TestTimingIsBounded(t *testing.T) {
	with := func(p Timing) error {
		_, err := Validate(Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}, Periods: p})
		return err
	}
	require.NoError(t, with(Timing{ElectionMin: time.Second, ElectionMax: 1500 * time.Millisecond}))
	require.ErrorContains(t, with(Timing{ElectionMin: time.Second, ElectionMax: 1499 * time.Millisecond}), "spread them")
	require.NoError(t, with(Timing{Heartbeat: 200 * time.Millisecond}))
	require.ErrorContains(t, with(Timing{Heartbeat: 201 * time.Millisecond}), "at least five heartbeats (1.005s)")
	require.NoError(t, with(Timing{Tick: time.Millisecond, Heartbeat: time.Millisecond}))
	require.ErrorContains(t, with(Timing{Tick: 999 * time.Microsecond}), "at least 1ms")
	require.ErrorContains(t, with(Timing{Tick: 10 * time.Millisecond, Heartbeat: 9 * time.Millisecond}), "at least one tick")
}

// A node that is to be added has no members to name: whatever it was given is not looked at.
func TestAJoinerKnowsItselfOnly(t *testing.T) {
	for _, given := range [][]rpc.NodeID{nil, {"n1", "n2"}, {"a.b", "a.b"}} {
		c, err := Validate(Config{NodeID: "n4", MemberIDs: given, Join: true})
		require.NoError(t, err)
		require.True(t, c.Joining())
		require.Equal(t, []IRaftNodeConfig{nodeConfig("n4")}, c.Members())
	}
	_, err := Validate(Config{NodeID: "_x", Join: true})
	require.ErrorContains(t, err, `node id "_x"`)

	_, err = Validate(Config{NodeID: "n4", MemberIDs: []rpc.NodeID{"n1"}})
	require.ErrorContains(t, err, "if it joined a cluster, or is to, give --join in place of --members")
	c, err := Validate(Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	require.NoError(t, err)
	require.False(t, c.Joining())
}

func TestValidateBoundsTheMembers(t *testing.T) {
	c := Config{NodeID: "n0"}
	for i := range MaxMembers {
		c.MemberIDs = append(c.MemberIDs, rpc.NodeID(fmt.Sprint("n", i)))
	}
	_, err := Validate(c)
	require.NoError(t, err)
	c.MemberIDs = append(c.MemberIDs, "more")
	_, err = Validate(c)
	require.ErrorContains(t, err, "at most 15")
}

func TestValidToken(t *testing.T) {
	for _, good := range []string{"a", "N-1", "a_b", "0", strings.Repeat("x", 64)} {
		require.True(t, ValidToken(good), good)
	}
	for _, bad := range []string{"", "_a", "a.b", "a b", "a*", "ä", ">", strings.Repeat("x", 65)} {
		require.False(t, ValidToken(bad), bad)
	}
}
