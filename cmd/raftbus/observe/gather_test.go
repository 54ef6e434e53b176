package observe

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Who answers is listed once, whoever is missed is waited for, and who was silent before not for long.
func TestGather(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	nc := natstest.Connect(t, server)
	gather := func(subject string, silent ...string) (ids []string, took time.Duration) {
		began := time.Now()
		list, err := Gather(t.Context(), nc, subject, silent)
		require.NoError(t, err)
		for _, s := range list {
			ids = append(ids, s.Node)
		}
		return ids, time.Since(began)
	}
	none, _ := gather("nobody")
	require.Empty(t, none)

	second, first := full(), full()
	second.Node = "n2"
	bad := full()
	bad.Node = "bad id"
	answer := func(subject string, list ...any) {
		_, err := nc.Subscribe(subject, func(m *nats.Msg) {
			for _, one := range list {
				data, _ := json.Marshal(one) // they are what they are
				_ = m.Respond(data)
			}
		})
		require.NoError(t, err)
	}
	answer("two", "nonsense", second, bad, first, first)
	ids, _ := gather("two")
	require.Equal(t, []string{"n1", "n2"}, ids)

	first.Members = []string{"n1", "n2", "n3"}
	answer("three", first, second)
	_, long := gather("three")
	require.GreaterOrEqual(t, long, GatherTime)
	ids, short := gather("three", "n3")
	require.Equal(t, []string{"n1", "n2"}, ids)
	require.GreaterOrEqual(t, short, silentTime)

	nc.Close()
	_, err := Gather(t.Context(), nc, "two", nil)
	require.Error(t, err)
}

// While a full cluster changes from some members to others each node names both. None is left out for that.
func TestAFullClusterIsGatheredWhileItChanges(t *testing.T) {
	said := Stats{Node: "n1"}
	for i := range 2 * rpc.ClusterMax {
		said.Members = append(said.Members, fmt.Sprintf("n%d", i+1))
	}
	data, err := json.Marshal(said)
	require.NoError(t, err)
	require.Len(t, add(nil, data), 1)
}

// Whoever may answer on the bus fills nobody's memory: so many nodes are listed, and none with more members than one can name (Q12).
func TestWhatIsGatheredIsBounded(t *testing.T) {
	var list []Stats
	say := func(node string, leads string, members ...string) {
		data, err := json.Marshal(Stats{Node: node, Leader: leads, Members: members})
		require.NoError(t, err)
		list = add(list, data)
	}
	say("many", "", make([]string, rpc.MaxMembers+1)...)
	require.Empty(t, list)
	for n := range NodesMax + 1 {
		say(fmt.Sprintf("n%04d", n), "")
	}
	require.Len(t, list, NodesMax)
	say("n0000", "n1")
	require.Equal(t, "n1", list[0].Leader, "of those that are listed the last word counts")
}
