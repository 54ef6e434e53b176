package cluster

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// Whoever may answer on the bus fills neither the memory nor the time of who asks, and a question leaves nothing behind.
func TestWhoAnswersTooMuchIsNotListenedToForEver(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t, embedded.Options{})
	loud := natstest.Connect(t, server)
	_, err := loud.Subscribe(busclient.StatusSubject("raftbus", busclient.AllNodes), func(m *nats.Msg) {
		for i := 0; t.Context().Err() == nil; i++ {
			if loud.Publish(m.Reply, fmt.Appendf(nil, `{"id":"n%d"}`, i)) != nil || loud.Flush() != nil {
				return
			}
		}
	})
	require.NoError(t, err)
	require.NoError(t, loud.Flush())
	conn := natstest.Connect(t, server)
	v, err := Ask(t.Context(), conn, "raftbus")
	require.NoError(t, err)
	require.Len(t, v.Nodes, observe.NodesMax)
	require.Zero(t, conn.NumSubscriptions())
}

// While several voters change a majority of those that were and one of those that will be are needed.
func TestAQuorumIsOfBothSetsOfVoters(t *testing.T) {
	conf := &replica.Configuration{
		Voters: []replica.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}, Outgoing: []replica.Member{{ID: "n1"}, {ID: "n4"}, {ID: "n5"}},
	}
	v := View{}
	for _, id := range []string{"n1", "n2", "n3"} {
		v.Nodes = append(v.Nodes, replica.Status{ID: id, Role: "follower", Term: 2, Leader: "n1", Ready: true, Configuration: conf})
	}
	v.Nodes[0].Role = "leader"
	require.False(t, v.HasQuorum())
	require.Nil(t, v.Leader())
	v.Nodes = append(v.Nodes, replica.Status{ID: "n4", Role: "follower", Term: 2, Leader: "n1"})
	require.True(t, v.HasQuorum())
	require.NotNil(t, v.Leader())
}
