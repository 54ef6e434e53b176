package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The core is told which entries a call carried that failed, at once or later: that they were lost, or their answer alone (L7).
func TestAFailedCallSaysWhatItCarried(t *testing.T) {
	s := &sender{self: "n1", bus: port{newHub(), "n1"}, inbox: newInbox()}
	cmd := &rpc.AppendLogCommand{Prev: rpc.EntryID{Index: 5}, Entries: make([]rpc.Entry, 2)}
	s.send(rpc.Message{From: "n1", To: "n2", Body: cmd})
	back[*rpc.AppendLogReturn](s, cmd)(rpc.Reply[*rpc.AppendLogReturn]{From: "n3", Err: busclient.ErrTimeout})
	s.send(rpc.Message{From: "n1", To: "n2", Body: &rpc.HeartbeatCommand{}})
	require.Equal(t, []raft.Event{
		raft.Failed{Peer: "n2", Method: rpc.MethodAppendLog, Last: 7}, raft.Failed{Peer: "n3", Method: rpc.MethodAppendLog, Last: 7}, raft.Failed{Peer: "n2", Method: rpc.MethodHeartbeat},
	}, s.inbox.take(batch{}).events)
}

// lines is a bus that writes down what leaves, and for whom. Those that are away get nothing together with others.
type lines struct {
	Bus
	sent []string
	away []rpc.NodeID
}

func (l *lines) Using(peer rpc.NodeID, action func(busclient.IRaftClient)) error {
	action(line{lines: l, peer: peer})
	return nil
}

func (l *lines) Corked(send func()) { send() }

func (l *lines) MulticastAppendLog(to []rpc.NodeID, _ rpc.Term, cmd *rpc.AppendLogCommand, _ rpc.Done[*rpc.AppendLogReturn]) []rpc.NodeID {
	return l.together(to, describeAppend(cmd))
}

func (l *lines) MulticastCommitLog(to []rpc.NodeID, _ rpc.Term, cmd *rpc.CommitLogCommand) []rpc.NodeID {
	return l.together(to, fmt.Sprintf("commit %d", cmd.Commit))
}

func (l *lines) together(to []rpc.NodeID, what string) (left []rpc.NodeID) {
	in := slices.Clone(to)
	in = slices.DeleteFunc(in, func(id rpc.NodeID) bool { return slices.Contains(l.away, id) })
	l.sent = append(l.sent, fmt.Sprintf("%v %s", in, what))
	return slices.DeleteFunc(slices.Clone(to), func(id rpc.NodeID) bool { return slices.Contains(in, id) })
}

type line struct {
	busclient.IRaftClient
	lines *lines
	peer  rpc.NodeID
}

func (l line) tell(what string) error {
	l.lines.sent = append(l.lines.sent, string(l.peer)+" "+what)
	return nil
}

func (l line) AppendLog(_ rpc.Term, cmd *rpc.AppendLogCommand, _ rpc.Done[*rpc.AppendLogReturn]) error {
	return l.tell(describeAppend(cmd))
}

func (l line) CommitLog(_ rpc.Term, cmd *rpc.CommitLogCommand, _ rpc.Done[*rpc.CommitLogReturn]) error {
	return l.tell(fmt.Sprintf("commit %d", cmd.Commit))
}

func (l line) Heartbeat(rpc.Term, *rpc.HeartbeatCommand, rpc.Done[*rpc.HeartbeatReturn]) error {
	return l.tell("heartbeat")
}

func describeAppend(cmd *rpc.AppendLogCommand) string {
	return fmt.Sprintf("append %d+%d", cmd.Prev.Index, len(cmd.Entries))
}

// leaves sends a turn's messages, and returns what left.
func (l *lines) leaves(multicast bool, list ...rpc.Message) []string {
	l.sent = nil
	t := turnSender{sender: &sender{bus: l, inbox: newInbox()}, multicast: multicast}
	t.send(list)
	return l.sent
}

var logged = []rpc.Entry{{Index: 8, Term: 2}, {Index: 9, Term: 2}, {Index: 10, Term: 2}}

// add is the AppendLog of a peer at a place of the log, with so many entries.
func add(to rpc.NodeID, prev rpc.Index, count int) rpc.Message {
	from := prev - 7
	return rpc.Message{To: to, Term: 2, Body: &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 2, Index: prev}, Commit: 7, Entries: logged[from : int(from)+count]}}
}

func tell(to rpc.NodeID, commit rpc.Index) rpc.Message {
	return rpc.Message{To: to, Term: 2, Body: &rpc.CommitLogCommand{Commit: commit}}
}

func beat(to rpc.NodeID) rpc.Message {
	return rpc.Message{To: to, Term: 2, Body: &rpc.HeartbeatCommand{}}
}

func TestWhatIsAlikeLeavesTogether(t *testing.T) {
	elsewhere := add("n3", 7, 2)
	elsewhere.Body.(*rpc.AppendLogCommand).Entries = slices.Clone(logged[:2])
	otherCommit := add("n3", 7, 2)
	otherCommit.Body.(*rpc.AppendLogCommand).Commit = 6
	otherTerm := add("n3", 7, 2)
	otherTerm.Term = 3
	for _, c := range []struct {
		name string
		list []rpc.Message
		want []string
	}{
		{"nothing", nil, nil},
		{"one peer", []rpc.Message{add("n2", 7, 2)}, []string{"n2 append 7+2"}},
		{"peers at one place", []rpc.Message{add("n2", 7, 2), add("n3", 7, 2), add("n4", 7, 2)}, []string{"[n2 n3 n4] append 7+2"}},
		{"heartbeats go alone", []rpc.Message{beat("n2"), beat("n3"), add("n2", 7, 1), add("n3", 7, 1)},
			[]string{"n2 heartbeat", "n3 heartbeat", "[n2 n3] append 7+1"}},
		{"several messages each", []rpc.Message{add("n2", 7, 2), add("n2", 9, 1), add("n3", 7, 2), add("n3", 9, 1)}, []string{"[n2 n3] append 7+2", "[n2 n3] append 9+1"}},
		{"one is elsewhere", []rpc.Message{add("n2", 8, 2), add("n3", 7, 3), add("n4", 8, 2)}, []string{"[n2 n4] append 8+2", "n3 append 7+3"}},
		{"one is behind: nothing overtakes", []rpc.Message{add("n2", 9, 1), add("n3", 7, 2), add("n3", 9, 1)},
			[]string{"n2 append 9+1", "n3 append 7+2", "n3 append 9+1"}},
		{"an order before: nothing overtakes", []rpc.Message{add("n2", 9, 1), beat("n3"), add("n3", 9, 1)}, []string{"n2 append 9+1", "n3 heartbeat", "n3 append 9+1"}},
		{"commits", []rpc.Message{tell("n2", 9), add("n3", 9, 1), tell("n4", 9), tell("n5", 8)}, []string{"[n2 n4] commit 9", "n3 append 9+1", "n5 commit 8"}},
		{"an append is no commit", []rpc.Message{add("n2", 7, 1), tell("n3", 7)}, []string{"n2 append 7+1", "n3 commit 7"}},
		{"probes without entries", []rpc.Message{add("n2", 7, 0), add("n3", 7, 0)}, []string{"[n2 n3] append 7+0"}},
		{"the same entries elsewhere in memory", []rpc.Message{add("n2", 7, 2), elsewhere}, []string{"n2 append 7+2", "n3 append 7+2"}},
		{"another commit index", []rpc.Message{add("n2", 7, 2), otherCommit}, []string{"n2 append 7+2", "n3 append 7+2"}},
		{"another term", []rpc.Message{add("n2", 7, 2), otherTerm}, []string{"n2 append 7+2", "n3 append 7+2"}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, (&lines{}).leaves(true, c.list...)) })
	}
}

func TestWhoIsLeftGetsItAlone(t *testing.T) {
	l := &lines{away: []rpc.NodeID{"n3"}}
	require.Equal(t, []string{"[n2 n4] append 7+2", "n3 append 7+2", "[n2 n4] commit 7", "n3 commit 7"},
		l.leaves(true, add("n2", 7, 2), add("n3", 7, 2), add("n4", 7, 2), tell("n2", 7), tell("n3", 7), tell("n4", 7)))
}

func TestWithoutMulticastEachMessageGoesByItself(t *testing.T) {
	require.Equal(t, []string{"n2 append 7+2", "n3 append 7+2"}, (&lines{}).leaves(false, add("n2", 7, 2), add("n3", 7, 2)))
}
