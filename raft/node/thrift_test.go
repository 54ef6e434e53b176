package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A node is thrifty unless it is told to be eager, or to send what several are to get alike as one message.
func TestWhoIsSentAWriteAtOnce(t *testing.T) {
	for _, test := range []struct {
		c    config.Config
		want int
	}{
		{config.Config{}, 1}, {config.Config{Eager: true}, 2}, {config.Config{Multicast: true}, 2},
	} {
		ids := []rpc.NodeID{"n1", "n2", "n3"}
		m := newManualWith(t, 7, func(o *Options) {
			c := test.c
			c.NodeID, c.MemberIDs = o.Config.Self().ID(), ids
			var err error
			o.Config, err = config.Validate(c)
			require.NoError(t, err)
		}, ids...)
		leader := m.leader()
		m.run(20)
		sent := 0
		m.hub.mangle = func(msg rpc.Message) []rpc.Message {
			if cmd, is := msg.Body.(*rpc.AppendLogCommand); is && len(cmd.Entries) > 0 {
				sent++
			}
			return []rpc.Message{msg}
		}
		require.NoError(t, leader.Propose(make([]byte, 8), func(any, rpc.EntryID) {}))
		_, err := m.steps[leader.id()].Turn(0)
		require.NoError(t, err)
		require.Equal(t, test.want, sent, "%+v", test.c)
		core, err := leader.fromStored(leader.o.Log.State(onlyGroup))
		require.NoError(t, err)
		require.Equal(t, test.c.Multicast, core.Multicast, "with one message for several all are told alike what is committed")
	}
}
