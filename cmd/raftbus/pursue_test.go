package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// puppet answers as a leader would: the members as they are set, and each change as the test wants.
type puppet struct {
	t      *testing.T
	server *embedded.Server
	nc     *nats.Conn
	a      *administrator
	subs   []*nats.Subscription

	mu      sync.Mutex
	members *admin.Members
	changes int
	// change answers the n-th change, from 1 on; nil: no answer.
	change func(n int) any
}

func newPuppet(t *testing.T, m *admin.Members, change func(n int) any) *puppet {
	server, err := embedded.Start(embedded.Options{Host: "127.0.0.1", Port: -1})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	connect := func() *nats.Conn {
		nc, err := nats.Connect(server.URL(), native.Options)
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	p := &puppet{t: t, server: server, nc: connect(), members: m, change: change}
	p.a = newAdministrator(connect(), "raftbus", 200*time.Millisecond)
	p.listen()
	return p
}

func (p *puppet) listen() {
	change := func() any {
		p.changes++
		return p.change(p.changes)
	}
	for op, answer := range map[string]func() any{admin.OpMembers: func() any { return p.members }, admin.OpReconfigure: change, admin.OpTransfer: change} {
		sub, err := p.nc.Subscribe(admin.Subject("raftbus", op), func(m *nats.Msg) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if body := answer(); body != nil {
				data, _ := json.Marshal(body)
				_ = m.Respond(data)
			}
		})
		require.NoError(p.t, err)
		p.subs = append(p.subs, sub)
	}
	require.NoError(p.t, p.nc.Flush())
}

func refusal(k admin.ErrorKind) any {
	return map[string]any{"error": admin.Failure{Code: k.Code, ErrCode: k.ErrCode, Description: k.Name}}
}

// add pursues the addition of n4.
func (p *puppet) add(ctx context.Context, wait time.Duration) error {
	_, err := (&pursuit{admin: p.a, goal: &membersGoal{want: newsOf("n4")}, progress: io.Discard}).run(ctx, wait)
	return err
}

// done makes the change be made, whatever is answered.
func (p *puppet) done() { p.members = view(nil, "n1", "n2", "n4") }

// Answers that are lost, and refusals that pass, are survived; what is done already is not asked for again.
func TestAChangeIsPursued(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(p *puppet, n int) any
		changes int
	}{
		"done":                                       {func(p *puppet, _ int) any { p.done(); return admin.Changed{Index: 8} }, 1},
		"the answer is lost, the change is made":     {func(p *puppet, _ int) any { p.done(); return nil }, 1},
		"the request is lost, and made again":        {func(p *puppet, n int) any { return p.doneAt(n, 2, nil) }, 2},
		"the outcome is unknown, and it is not made": {func(p *puppet, n int) any { return p.doneAt(n, 2, refusal(admin.OutcomeUnknown)) }, 2},
		"stale, and decided again":                   {func(p *puppet, n int) any { return p.doneAt(n, 2, refusal(admin.Stale)) }, 2},
		"another change is under way":                {func(p *puppet, n int) any { return p.doneAt(n, 4, refusal(admin.UnderWay)) }, 4},
		"the leader does not know its voters yet":    {func(p *puppet, n int) any { return p.doneAt(n, 3, refusal(admin.Unsafe)) }, 3},
		"somebody else did it":                       {func(p *puppet, _ int) any { p.done(); return refusal(admin.NoChange) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuppet(t, view(nil, "n1", "n2"), nil)
			p.change = func(n int) any { return c.change(p, n) }
			require.NoError(t, p.add(t.Context(), patience))
			require.Equal(t, c.changes, p.changes)
		})
	}
}

// doneAt makes the change at the n-th request, and answers those before.
func (p *puppet) doneAt(n, at int, before any) any {
	if n < at {
		return before
	}
	p.done()
	return admin.Changed{Index: 8}
}

// A refusal that stays ends the command with its code, and so does an end of patience, or of the operator's.
func TestAChangeIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		answer any
		code   int
		text   string
	}{
		"unsafe":                {refusal(admin.Unsafe), exitRefused, "unsafe"},
		"impossible":            {refusal(admin.BadRequest), exitRefused, "bad request"},
		"under way for ever":    {refusal(admin.UnderWay), exitTimeout, "after 3s still waiting for an end of: change under way"},
		"no answer, not a word": {nil, exitTimeout, "still waiting for word of what became of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, view(nil, "n1", "n2"), func(int) any { return c.answer })
			err := p.add(t.Context(), 3*time.Second)
			require.Equal(t, c.code, exitCode(err), "%v", err)
			require.ErrorContains(t, err, c.text)
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		p := newPuppet(t, view([]string{"n4"}, "n1", "n2"), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := p.add(ctx, patience)
		require.Equal(t, exitError, exitCode(err))
		require.ErrorContains(t, err, "interrupted while waiting for n4, a learner 2 entries behind: what was begun goes on by itself")
	})
}

// A removal that is given again waits until it is through: until then what is in force may come to nothing, and who left is there again.
func TestARemovalGivenAgainIsAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		through *admin.Members
		wait    string
		code    int
		changes int
	}{
		"it is through":       {view(nil, "n1", "n3"), "0", exitNotFound, 0},
		"it came to nothing":  {view(nil, "n1", "n2", "n3"), "0", exitOK, 1},
		"it is never through": {nil, "200ms", exitTimeout, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuppet(t, view(nil, "n1", "n3"), nil)
			p.change = func(int) any { p.members = view(nil, "n1", "n3"); return admin.Changed{Index: 8} }
			p.members.Committed = false
			if c.through != nil {
				time.AfterFunc(150*time.Millisecond, func() {
					p.mu.Lock()
					defer p.mu.Unlock()
					p.members = c.through
				})
			}
			err := execute(t, t.Context(), io.Discard, "member", "remove", "n2", "--wait", c.wait, "--nats", p.server.URL())
			require.Equal(t, c.code, report(io.Discard, err), "%v", err)
			p.mu.Lock()
			defer p.mu.Unlock()
			require.Equal(t, c.changes, p.changes)
			require.Equal(t, c.through != nil, p.members.Committed, "it waited")
		})
	}
}

// Nobody leads for a while: certainly nothing is done, so the command waits for a leader.
func TestAChangeWaitsForALeader(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), nil)
	p.change = func(int) any { p.done(); return admin.Changed{Index: 8} }
	for _, sub := range p.subs {
		require.NoError(t, sub.Unsubscribe())
	}
	require.NoError(t, p.nc.Flush())
	_, err := p.a.members(t.Context(), 250*time.Millisecond)
	require.Equal(t, exitNoLeader, exitCode(err))
	time.AfterFunc(300*time.Millisecond, p.listen)
	require.NoError(t, p.add(t.Context(), patience))
	require.Equal(t, 1, p.changes)
}

// How long nobody has led counts from the last look that found somebody: elections apart from each other do not end a command.
func TestALeaderThatIsFoundEndsTheTimeWithoutOne(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), func(int) any { return refusal(admin.UnderWay) })
	following := &pursuit{admin: p.a, goal: &membersGoal{want: newsOf("n4")}, progress: io.Discard, alone: time.Now().Add(-2 * aloneMax)}
	_, _, err := following.turn(t.Context())
	require.NoError(t, err)
	for _, sub := range p.subs {
		require.NoError(t, sub.Unsubscribe())
	}
	require.NoError(t, p.nc.Flush())
	_, awaited, err := following.turn(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a leader", awaited)
}

// The NATS server dies with the request, and another comes in its place: the command goes on, and sees that what it asked for is done.
func TestAChangeOutlivesItsNATSServer(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), nil)
	again := make(chan *embedded.Server, 1)
	p.change = func(int) any {
		p.members.Leader = "n2"
		go func() {
			p.server.Shutdown()
			server, err := embedded.Start(embedded.Options{Host: "127.0.0.1", Port: p.server.Port()})
			assert.NoError(t, err)
			again <- server
		}()
		return nil
	}
	var out bytes.Buffer
	err := execute(t, t.Context(), &out, "leader", "transfer", "--to", "n2", "--nats", p.server.URL(), "--timeout", "500ms")
	t.Cleanup((<-again).Shutdown)
	require.NoError(t, err)
	require.Contains(t, out.String(), "n2 leads")
	require.Equal(t, 1, p.changes)
}

// While NATS is away certainly nothing is done; of a connection that is closed nobody knows.
func TestALostConnectionIsNoRefusal(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), nil)
	p.server.Shutdown()
	require.Eventually(t, p.a.conn.IsReconnecting, 5*time.Second, time.Millisecond)
	_, err := p.a.look(t.Context())
	require.ErrorIs(t, err, errNobodyLeads)
	_, err = p.a.members(t.Context(), 250*time.Millisecond)
	require.Equal(t, exitUnavailable, exitCode(err), "%v", err)
	_, err = p.a.newMember(t.Context(), p.members, "n4")
	require.Equal(t, exitUnavailable, exitCode(err), "%v", err)
	require.ErrorContains(t, err, "the connection to NATS was lost", "and nobody knows whether n4 runs")
	p.a.conn.Close()
	_, err = p.a.look(t.Context())
	require.ErrorIs(t, err, errUnanswered)
}
