package node

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// noticed collects notices of several nodes.
type noticed struct {
	mu    sync.Mutex
	lines []string
}

func (l *noticed) listen(o *Options) {
	id := o.Config.Self().ID()
	o.Notice = func(n Notice) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %s", id, n.Kind, n.State, n.Peer, n.Members)), " "))
	}
}

func (l *noticed) has(t *testing.T, line string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Contains(t, l.lines, line)
}

// A leader, a broken link, the members and a snapshot, from its beginning to its end, are told by those that they happen to.
func TestNoticesTellWhatHappens(t *testing.T) {
	l := &noticed{}
	m := newManualWith(t, 1, func(o *Options) {
		noLogKept(o)
		l.listen(o)
	}, "n1", "n2", "n3")
	m.add(numbers(1, 5)...)
	leader, away := m.leader().id(), m.follower()
	l.has(t, fmt.Sprintf("%s role leader", leader))
	for _, id := range m.ids {
		l.has(t, fmt.Sprintf("%s leader %s", id, leader))
	}
	m.crash(away)
	m.add(numbers(6, 150)...)
	m.run(300)
	l.has(t, fmt.Sprintf("%s link broken %s", leader, away))
	m.back(away, 50)
	m.agree()
	l.has(t, fmt.Sprintf("%s link connected %s", leader, away))
	l.has(t, fmt.Sprintf("%s snapshot sending %s", leader, away))
	l.has(t, fmt.Sprintf("%s snapshot sent %s", leader, away))
	l.has(t, fmt.Sprintf("%s snapshot installed", away))
	l.has(t, fmt.Sprintf("%s members committed voters n1,n2,n3", away))
}

// Queues are told without a turn, and what waits shows in them.
func TestQueuesShowWhatWaits(t *testing.T) {
	m := newManual(t, 1, "n1", "n2", "n3")
	m.add(1)
	leader := m.leader()
	waiting := func() map[string]int {
		list := map[string]int{}
		for _, q := range leader.Queues() {
			require.Positive(t, q.Max, q.Name)
			require.NotContains(t, list, q.Name)
			list[q.Name] = q.Waiting
		}
		return list
	}
	m.run(50)
	require.Zero(t, waiting()["proposals"])
	require.NoError(t, leader.Propose(make([]byte, 8), func(any, rpc.EntryID) {}))
	require.NoError(t, leader.ReadIndex(func(error) {}))
	require.Equal(t, 1, waiting()["proposals"])
	require.Positive(t, waiting()["proposal_bytes"])
	require.Equal(t, 1, waiting()["reads"])
	m.run(50)
	require.Zero(t, waiting()["proposals"]+waiting()["proposal_bytes"]+waiting()["reads"])
}
