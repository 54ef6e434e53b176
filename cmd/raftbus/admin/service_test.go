package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fakeNode is a node that says what a test wants.
type fakeNode struct {
	mu      sync.Mutex
	status  node.Status
	change  raft.Change
	answer  error // of Reconfigure's done
	refused error // of Reconfigure itself
	mute    bool  // done is never called
	read    error // of ReadIndex
	meant   func()
	changed func(bool)
	to      string
}

func (n *fakeNode) Reconfigure(c raft.Change, done func(rpc.EntryID, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.meant != nil {
		n.meant()
	}
	if n.change = c; n.refused == nil && !n.mute {
		go done(rpc.EntryID{Term: 3, Index: 12}, n.answer)
	}
	return n.refused
}

func (n *fakeNode) ReadIndex(done func(error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	go done(n.read)
	return nil
}

func (n *fakeNode) Leadership(changed func(bool)) { n.changed = changed }

func (n *fakeNode) Status() node.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

func (n *fakeNode) handOver(_ context.Context, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
	return n.answer
}

func (n *fakeNode) raise(context.Context) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return 3, n.answer
}

// bench is a service on a bus, with a fake node.
type bench struct {
	t    *testing.T
	node *fakeNode
	s    *Service
	nc   *nats.Conn
}

func newBench(t *testing.T) *bench {
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	var err error
	b := &bench{t: t, node: &fakeNode{}, nc: natstest.Connect(t, server)}
	b.s, err = New(Options{Conn: natstest.Connect(t, server), Prefix: "raftbus", Node: b.node, HandOver: b.node.handOver, Raise: b.node.raise})
	require.NoError(t, err)
	t.Cleanup(b.s.Close)
	return b
}

// lead makes the node lead, and waits until the service listens.
func (b *bench) lead() {
	b.node.changed(true)
	b.eventually(func() bool {
		_, err := b.nc.Request(Subject("raftbus", OpMembers), nil, time.Second)
		return err == nil
	})
}

func (b *bench) eventually(f func() bool) {
	b.t.Helper()
	require.Eventually(b.t, f, 10*time.Second, time.Millisecond)
}

// ask asks once, and wants an answer.
func (b *bench) ask(op, body string, into any) *Failure {
	b.t.Helper()
	m, err := b.nc.Request(Subject("raftbus", op), []byte(body), 10*time.Second)
	require.NoError(b.t, err)
	var failed struct {
		Type  string
		Error *Failure
	}
	require.NoError(b.t, json.Unmarshal(m.Data, &failed))
	if failed.Error != nil {
		require.Equal(b.t, "io.raftbus.admin.v1."+op+"_response", failed.Type)
		require.Equal(b.t, fmt.Sprint(failed.Error.Code), m.Header.Get("Nats-Service-Error-Code"))
		require.Equal(b.t, strings.Map(printable, failed.Error.Description), m.Header.Get("Nats-Service-Error"))
		return failed.Error
	}
	require.NoError(b.t, json.Unmarshal(m.Data, into))
	return nil
}

func instance(b byte) (i rpc.InstanceID) { i[0] = b; return i }

// It listens while its node leads, and not else: 'no responders' means that nobody leads.
func TestOnlyALeaderListens(t *testing.T) {
	b := newBench(t)
	nobody := func() bool {
		_, err := b.nc.Request(Subject("raftbus", OpMembers), nil, time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	}
	require.True(t, nobody())
	b.lead()
	b.node.changed(false)
	b.eventually(nobody)
	b.lead()
	b.s.Close()
	b.eventually(nobody)
}

func TestMembersAreToldAsTheLeaderKnowsThem(t *testing.T) {
	b := newBench(t)
	b.lead()
	b.node.mu.Lock()
	s := &b.node.status
	s.ID, s.Leader, s.Term, s.Last, s.Synced, s.Commit = "n1", "n1", 4, 20, 19, 18
	s.Configuration = rpc.Configuration{
		Index: 9, Voters: []rpc.Member{{ID: "n1", Instance: instance(1)}, {ID: "n2", Instance: instance(2)}},
		Outgoing: []rpc.Member{{ID: "n1", Instance: instance(1)}, {ID: "n3", Instance: instance(3)}},
		Learners: []rpc.Member{{ID: "n4", Instance: instance(4)}},
	}
	s.Peers = []raft.PeerStatus{
		{ID: "n2", Match: 15, State: "replicate", Connected: true, Lacks: true}, {ID: "n3", Match: 20, State: "replicate"}, {ID: "n4", State: "snapshot", Connected: true},
	}
	b.node.mu.Unlock()
	var m Members
	require.Nil(t, b.ask(OpMembers, "", &m))
	require.Equal(t, Members{
		Cluster: rpc.ClusterID{}.String(), Leader: "n1", Term: 4, Index: 9, Joint: true, Last: 20, Commit: 18,
		Members: []Member{
			{"n1", instance(1).String(), RoleVoter, "leader", 19, 1, false},
			{"n2", instance(2).String(), RoleVoter, "replicate", 15, 5, true},
			{"n3", instance(3).String(), RoleOutgoing, "unreachable", 20, 0, false},
			{"n4", instance(4).String(), RoleLearner, "snapshot", 0, 20, false},
		},
	}, m)
	require.False(t, m.Settled())
}

func TestAChangeIsAnsweredWhenItIsCommitted(t *testing.T) {
	b := newBench(t)
	b.lead()
	var done Changed
	require.Nil(t, b.ask(OpReconfigure, fmt.Sprintf(`{"add":[{"id":"n4","instance":%q}],"remove":["n2"],"if":7}`, instance(4)), &done))
	require.Equal(t, Changed{Index: 12, Term: 3}, done)
	require.Equal(t, raft.Change{Add: []rpc.Member{{ID: "n4", Instance: instance(4)}}, Remove: []rpc.NodeID{"n2"}, If: new(rpc.Index(7))}, b.node.change)
	require.Nil(t, b.ask(OpReconfigure, `{"remove":["n2"],"if":0}`, &done))
	require.Equal(t, raft.Change{Remove: []rpc.NodeID{"n2"}, If: new(rpc.Index(0))}, b.node.change, "that of the table is one too: it is held against the one in force where that changes")
}

// Whatever the core or the node refuses has its code; what may have been done is never called refused.
func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.lead()
	for _, c := range []struct {
		err  error
		kind ErrorKind
	}{
		{raft.ErrChangeUnderWay, UnderWay}, {raft.ErrStale, Stale}, {raft.ErrNoChange, NoChange}, {raft.ErrUnsafe, Unsafe},
		{raft.ErrBadChange, BadRequest}, {node.ErrBusy, Busy}, {node.ErrNotTransferred, NotTransferred},
		{raft.ErrNotLeader, OutcomeUnknown}, {node.ErrNotLeader, OutcomeUnknown}, {node.ErrUnknown, OutcomeUnknown}, {node.ErrStopped, OutcomeUnknown},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			b.node.answer, b.node.refused = fmt.Errorf("%w: because", c.err), nil
			f := b.ask(OpReconfigure, `{"remove":["n2"]}`, nil)
			require.Equal(t, c.kind.ErrCode, f.ErrCode)
			require.Contains(t, f.Description, "because")
			b.node.answer, b.node.refused = nil, c.err
			require.Equal(t, c.kind.ErrCode, b.ask(OpReconfigure, `{"remove":["n2"]}`, nil).ErrCode)
		})
	}
}

// A refusal is told only by who led since the request came: another may have carried out a copy (design section 4).
func TestADeposedLeaderRefusesNothing(t *testing.T) {
	b := newBench(t)
	b.lead()
	b.node.answer = raft.ErrUnsafe
	b.node.meant = func() { b.node.changed(false); b.node.changed(true) } // it leads again, but another led meanwhile
	require.Equal(t, OutcomeUnknown.ErrCode, b.ask(OpReconfigure, `{"remove":["n2"]}`, nil).ErrCode)
	b.node.meant = nil
	b.lead()
	b.node.mu.Lock()
	b.node.read = node.ErrNotLeader // no majority confirms it
	b.node.mu.Unlock()
	require.Equal(t, OutcomeUnknown.ErrCode, b.ask(OpReconfigure, `{"remove":["n2"]}`, nil).ErrCode)
	require.Equal(t, Unavailable.ErrCode, b.ask(OpMembers, "", nil).ErrCode)
}

func TestBadRequests(t *testing.T) {
	b := newBench(t)
	b.lead()
	for name, c := range map[string]struct {
		op, body string
		kind     ErrorKind
	}{
		"no JSON":       {OpReconfigure, "n4", BadRequest},
		"unknown field": {OpReconfigure, `{"ad":[]}`, BadRequest},
		"two objects":   {OpReconfigure, `{}{}`, BadRequest},
		"no instance":   {OpReconfigure, `{"add":[{"id":"n4"}]}`, BadRequest},
		"zero instance": {OpReconfigure, `{"add":[{"id":"n4","instance":"00000000000000000000000000000000"}]}`, BadRequest},
		"too long":      {OpTransfer, `{"to":"` + strings.Repeat("n", bodyBytesMax) + `"}`, BadRequest},
		"no operation":  {"promote", "", UnknownOp},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.kind.ErrCode, b.ask(c.op, c.body, nil).ErrCode) })
	}
	require.Empty(t, b.node.change.Remove, "a bad request was carried out")
}

func TestTransfer(t *testing.T) {
	b := newBench(t)
	b.lead()
	b.node.status.Leader = "n2"
	var done Transferred
	require.Nil(t, b.ask(OpTransfer, `{"to":"n2"}`, &done))
	require.Equal(t, "n2", done.Leader)
	require.Equal(t, "n2", b.node.to)
	require.Nil(t, b.ask(OpTransfer, "", &done))
	require.Empty(t, b.node.to)
	b.node.answer = node.ErrNotTransferred
	require.Equal(t, NotTransferred.ErrCode, b.ask(OpTransfer, "", nil).ErrCode)
}

func TestRaise(t *testing.T) {
	b := newBench(t)
	b.lead()
	var done Raised
	require.Nil(t, b.ask(OpRaise, "", &done))
	require.EqualValues(t, 3, done.Open)
	b.node.answer = fmt.Errorf("%w: member n2 does not answer", ErrNotKnown)
	f := b.ask(OpRaise, "", nil)
	require.Equal(t, NotKnown.ErrCode, f.ErrCode)
	require.Contains(t, f.Description, "member n2 does not answer")
	b.node.answer = node.ErrUnknown
	require.Equal(t, OutcomeUnknown.ErrCode, b.ask(OpRaise, "", nil).ErrCode)
	b.node.answer = nil
	require.Equal(t, BadRequest.ErrCode, b.ask(OpRaise, `{"version":9}`, nil).ErrCode)
}

// As many requests wait as may wait; those beyond hear nothing, and the service goes on. A stop ends those that wait.
func TestRequestsAreBounded(t *testing.T) {
	b := newBench(t)
	b.lead()
	b.node.mute = true
	inbox, err := b.nc.SubscribeSync(b.nc.NewInbox())
	require.NoError(t, err)
	for range requestsMax + 5 {
		require.NoError(t, b.nc.PublishRequest(Subject("raftbus", OpReconfigure), inbox.Subject, []byte(`{"remove":["n2"]}`)))
	}
	require.NoError(t, b.nc.Flush(), "NATS has them all: who comes when the service is closed hears 'no responders'")
	b.eventually(func() bool { return b.s.waiting.Load() == requestsMax })
	b.s.Close()
	require.Zero(t, b.s.waiting.Load())
	for range requestsMax {
		m, err := inbox.NextMsg(10 * time.Second)
		require.NoError(t, err)
		require.Contains(t, string(m.Data), `"err_code":31010`)
	}
}

func TestPublishedTableIsTheCodes(t *testing.T) {
	page, err := os.ReadFile("ERRORS.md")
	require.NoError(t, err)
	var rows []string
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "| 3") {
			rows = append(rows, line)
		}
	}
	require.Len(t, rows, len(ErrorTable))
	for i, k := range ErrorTable {
		require.Equal(t, 31001+i, k.ErrCode, "in order, without a gap, none twice")
		require.Contains(t, []string{refused, unknown}, k.Outcome)
		require.Equal(t, fmt.Sprintf("| %d | %d | %s | %s | %s |", k.ErrCode, k.Code, k.Name, k.Outcome, k.Meaning), rows[i])
	}
}
