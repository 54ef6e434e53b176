package members

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/raft/config"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they mostly wait; -parallel says otherwise
	m.Run()
}

// patience bounds every wait: it is long because it only passes when a test fails.
const patience = 20 * time.Second

// puppet answers as a leader would: the members as they are set, and each change as the test wants.
type puppet struct {
	t      *testing.T
	server *embedded.Server
	nc     *nats.Conn
	a      *Administrator
	subs   []*nats.Subscription

	mu      sync.Mutex
	members *admin.Members
	changes int
	first   []byte   // the first change, as it was asked for
	ops     []string // of the changes
	// change answers the n-th change, from 1 on; nil: no answer.
	change func(n int) any
}

func newPuppet(t *testing.T, m *admin.Members, change func(n int) any) *puppet {
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	connect := func() *nats.Conn {
		return natstest.Connect(t, server, native.Options)
	}
	p := &puppet{t: t, server: server, nc: connect(), members: m, change: change}
	p.a = NewAdministrator(connect(), "raftbus", time.Second)
	p.listen()
	return p
}

// patient has answers waited for that a slow machine gives late, if all that is asked for next is answered: only what is not is to end soon.
func (p *puppet) patient(answers ...any) {
	if !slices.Contains(answers, nil) {
		p.a.Timeout = patience
	}
}

func (p *puppet) listen() {
	change := func(op string) func([]byte) any {
		return func(asked []byte) any {
			if p.changes++; p.changes == 1 {
				p.first = asked
			}
			p.ops = append(p.ops, op)
			return p.change(p.changes)
		}
	}
	for op, answer := range map[string]func(asked []byte) any{
		admin.OpMembers: func([]byte) any { return p.members }, admin.OpReconfigure: change(admin.OpReconfigure), admin.OpTransfer: change(admin.OpTransfer),
	} {
		sub, err := p.nc.Subscribe(admin.Subject("raftbus", op), func(m *nats.Msg) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if body := answer(m.Data); body != nil {
				data, _ := json.Marshal(body)
				_ = m.Respond(data)
			}
		})
		require.NoError(p.t, err)
		p.subs = append(p.subs, sub)
	}
	require.NoError(p.t, p.nc.Flush())
}

// kindOf is the kind of an error, none where it has none.
func kindOf(err error) Kind {
	var of *Error
	if !errors.As(err, &of) {
		return none
	}
	return of.Kind
}

const none Kind = 0

func refusal(k admin.ErrorKind) any {
	return map[string]any{"error": admin.Failure{Code: k.Code, ErrCode: k.ErrCode, Description: k.Name}}
}

// add pursues the addition of n4.
func (p *puppet) add(ctx context.Context, wait time.Duration) error {
	_, err := p.a.reach(ctx, &membersGoal{want: newsOf("n4")}, untold(wait))
	return err
}

func untold(wait time.Duration) Waiting { return Waiting{For: wait, Tell: func(string) {}} }

// done makes the change be made, whatever is answered.
func (p *puppet) done() { p.members = view(nil, "n1", "n2", "n4") }

// Answers that are lost, and refusals that pass, are survived; what is done already is not asked for again.
func TestAChangeIsPursued(t *testing.T) {
	t.Parallel() // it waits
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
			t.Parallel()
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

// A refusal that stays ends the command with an error of its kind, and so does an end of patience, or of the operator's.
func TestAChangeIsGivenUp(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		answer any
		kind   Kind
		text   string
	}{
		"unsafe":                {refusal(admin.Unsafe), Refused, "unsafe"},
		"impossible":            {refusal(admin.BadRequest), Refused, "bad request"},
		"under way for ever":    {refusal(admin.UnderWay), Timeout, "after 3s still waiting for an end of: change under way: nothing was begun: give the command again"},
		"unknown for ever":      {refusal(admin.OutcomeUnknown), Timeout, "still waiting for an end of: outcome unknown: what was begun goes on by itself"},
		"no answer, not a word": {nil, Timeout, "still waiting for word of what became of it: what was begun goes on by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, view(nil, "n1", "n2"), func(int) any { return c.answer })
			err := p.add(t.Context(), 3*time.Second)
			require.Equal(t, c.kind, kindOf(err), "%v", err)
			require.ErrorContains(t, err, c.text)
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		p := newPuppet(t, view([]string{"n4"}, "n1", "n2"), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := p.add(ctx, patience)
		require.Equal(t, none, kindOf(err))
		require.ErrorContains(t, err, "interrupted while waiting for n4, a learner 2 entries behind: what was begun goes on by itself")
	})
}

// A removal that is given again waits until it is through: until then what is in force may come to nothing, and who left is there again.
func TestARemovalGivenAgainIsAwaited(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		through *admin.Members
		wait    time.Duration
		kind    Kind
		changes int
	}{
		"it is through":       {view(nil, "n1", "n3"), 0, NotFound, 0},
		"it came to nothing":  {view(nil, "n1", "n2", "n3"), 0, none, 1},
		"it is never through": {nil, 2 * time.Second, Timeout, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
			_, err := p.a.Remove(t.Context(), []string{"n2"}, untold(c.wait))
			require.Equal(t, c.kind, kindOf(err), "%v", err)
			p.mu.Lock()
			defer p.mu.Unlock()
			require.Equal(t, c.changes, p.changes)
			require.Equal(t, c.through != nil, p.members.Committed, "it waited")
		})
	}
}

// Nobody leads for a while: certainly nothing is done, so the command waits for a leader.
func TestAChangeWaitsForALeader(t *testing.T) {
	t.Parallel() // it waits
	p := newPuppet(t, view(nil, "n1", "n2"), nil)
	p.change = func(int) any { p.done(); return admin.Changed{Index: 8} }
	for _, sub := range p.subs {
		require.NoError(t, sub.Unsubscribe())
	}
	require.NoError(t, p.nc.Flush())
	_, err := p.a.Members(t.Context(), 250*time.Millisecond)
	require.Equal(t, NoLeader, kindOf(err))
	time.AfterFunc(300*time.Millisecond, p.listen)
	require.NoError(t, p.add(t.Context(), patience))
	require.Equal(t, 1, p.changes)
}

// Who waits hears what for, once that has lasted, and each thing once.
func TestWhatIsAwaitedIsTold(t *testing.T) {
	t.Parallel() // it waits
	p := newPuppet(t, view(nil, "n1", "n3"), nil)
	p.members.Committed = false
	var told []string
	_, err := p.a.Remove(t.Context(), []string{"n2"}, Waiting{For: progressPause * 3 / 2, Tell: func(awaited string) { told = append(told, awaited) }})
	require.Equal(t, Timeout, kindOf(err), "%v", err)
	require.Equal(t, []string{"the change to be through"}, told)
}

// How long nobody has led counts from the last look that found somebody: elections apart from each other do not end a command.
func TestALeaderThatIsFoundEndsTheTimeWithoutOne(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), func(int) any { return refusal(admin.UnderWay) })
	following := &pursuit{admin: p.a, goal: &membersGoal{want: newsOf("n4")}, alone: time.Now().Add(-2 * AloneMax)}
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

// How long a leader refuses for want of voters counts from its last other answer: a command is not ended by two refusals that both pass.
func TestAnAnswerEndsTheTimeOfRefusals(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		first any
		err   Kind
	}{
		"done":            {admin.Changed{Index: 8}, none},
		"another refusal": {refusal(admin.UnderWay), none},
		"no answer":       {nil, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, view(nil, "n1"), func(n int) any {
				if n == 1 {
					return c.first
				}
				return refusal(admin.Unsafe)
			})
			following := &pursuit{admin: p.a, goal: &membersGoal{}, unsafe: time.Now().Add(-2 * unsafeMax)}
			p.patient(c.first)
			_, err := following.ask(t.Context(), reconfigure(p.members, newsOf("n4"), nil))
			require.NoError(t, err)
			p.patient()
			_, err = following.ask(t.Context(), reconfigure(p.members, nil, []string{"n1"}))
			require.Equal(t, c.err, kindOf(err), "%v", err)
		})
	}
}

// Who lives counts until the one in its place is a voter. Who is lost, or whose name another data folder has, counts for nothing, and leaves at once.
func TestWhoLivesLeavesAfterWhoComes(t *testing.T) {
	instance := strings.Repeat("ab", 16)
	for name, c := range map[string]struct {
		state, status string
		remove        []string
	}{
		"the leader reaches it":         {"replicate", "", nil},
		"only this client reaches it":   {"unreachable", `{"id":"n3","instance":"n3"}`, nil},
		"nobody reaches it":             {"unreachable", "", []string{"n3"}},
		"another data folder says that": {"unreachable", `{"id":"n3","instance":"n9"}`, []string{"n3"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuppet(t, view(nil, "n1", "n2", "n3"), func(int) any { return refusal(admin.BadRequest) })
			p.members.Members[2].State = c.state
			if c.status != "" {
				_, err := p.nc.Subscribe(busclient.StatusSubject("raftbus", "n3"), func(m *nats.Msg) { _ = m.Respond([]byte(c.status)) })
				require.NoError(t, err)
				require.NoError(t, p.nc.Flush())
			}
			for took := lookTime; took >= lookTime; { // else the machine may have kept n3 from answering in time
				p.mu.Lock()
				p.changes = 0
				p.mu.Unlock()
				asked := time.Now()
				_, err := p.a.Replace(t.Context(), "n3", "n4", instance, untold(patience))
				require.Equal(t, Refused, kindOf(err), "%v", err)
				took = time.Since(asked)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			var first admin.Change
			require.NoError(t, json.Unmarshal(p.first, &first))
			require.Equal(t, []admin.NewMember{{ID: "n4", Instance: instance}}, first.Add)
			require.Equal(t, c.remove, first.Remove)
		})
	}
}

// In a full cluster nobody comes before another leaves: who lives leaves in the same change. If the new one is there already it is waited for, as else.
func TestWhoLivesInAFullClusterLeavesAtOnce(t *testing.T) {
	instance := strings.Repeat("ab", 16)
	for name, c := range map[string]struct {
		members int
		there   bool
		remove  []string
	}{
		"full":                       {config.MaxMembers, false, []string{"n3"}},
		"room for one":               {config.MaxMembers - 1, false, nil},
		"full, the new one is there": {config.MaxMembers, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			voters := []string{"n1", "n2", "n3", "m9"}
			if c.there {
				voters[3] = "n4:" + instance
			}
			for i := len(voters); i < c.members; i++ {
				voters = append(voters, "p"+string(rune('a'+i)))
			}
			p := newPuppet(t, view(nil, voters...), func(int) any { return refusal(admin.BadRequest) })
			m := p.members
			g, err := p.a.replacement(t.Context(), m, "n3", "n4", instance)
			require.NoError(t, err)
			s, err := g.next(m)
			require.NoError(t, err)
			change := s.body.(admin.Change)
			if c.there {
				require.Empty(t, change.Add)
				require.Equal(t, []string{"n3"}, change.Remove)
				require.True(t, g.after)
				return
			}
			require.Equal(t, newsOf("n4:"+instance), change.Add)
			require.Equal(t, c.remove, change.Remove)
		})
	}
}

// Who belongs to another cluster is not let in: its folder is that one's.
func TestAnotherClustersNodeIsNotLetIn(t *testing.T) {
	p := newPuppet(t, &admin.Members{Cluster: "0c0d", Leader: "n1", Members: []admin.Member{}}, func(int) any { return refusal(admin.BadRequest) })
	_, err := p.nc.Subscribe(busclient.StatusSubject("raftbus", "n4"), func(m *nats.Msg) { _ = m.Respond([]byte(`{"id":"n4","cluster":"0a0b"}`)) })
	require.NoError(t, err)
	require.NoError(t, p.nc.Flush())
	_, err = p.a.Add(t.Context(), []string{"n4"}, "", untold(time.Second))
	require.Equal(t, Conflict, kindOf(err), "%v", err)
	require.ErrorContains(t, err, "n4 belongs to another cluster (0a0b, this one is 0c0d)")
}

// While NATS is away certainly nothing is done; of a connection that is closed nobody knows.
func TestALostConnectionIsNoRefusal(t *testing.T) {
	t.Parallel() // it waits
	p := newPuppet(t, view(nil, "n1", "n2"), nil)
	p.server.Shutdown()
	require.Eventually(t, p.a.Conn.IsReconnecting, 5*time.Second, time.Millisecond)
	_, err := p.a.look(t.Context())
	require.ErrorIs(t, err, errNobodyLeads)
	_, err = p.a.Members(t.Context(), 250*time.Millisecond)
	require.Equal(t, Unavailable, kindOf(err), "%v", err)
	_, err = p.a.newMember(t.Context(), p.members, "n4")
	require.ErrorIs(t, err, native.ErrNoLeader, "nobody knows whether n4 runs")
	require.Zero(t, kindOf(err), "what NATS is to blame for")
	p.a.Conn.Close()
	_, err = p.a.look(t.Context())
	require.ErrorIs(t, err, errUnanswered)
}

// A leader that is to leave is asked to hand over until it has, or will not: else it is removed while requests are under way (L2).
func TestALeaderLeavesOnceItHasHandedOver(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		before []any // it hands over
		ops    []string
	}{
		"at once":             {nil, []string{admin.OpTransfer, admin.OpReconfigure}},
		"it is busy at first": {[]any{refusal(admin.Busy), refusal(admin.Busy)}, []string{admin.OpTransfer, admin.OpTransfer, admin.OpTransfer, admin.OpReconfigure}},
		"no word of it":       {[]any{nil}, []string{admin.OpTransfer, admin.OpTransfer, admin.OpReconfigure}},
		"it does not know":    {[]any{refusal(admin.OutcomeUnknown)}, []string{admin.OpTransfer, admin.OpTransfer, admin.OpReconfigure}},
		"it will not":         {[]any{refusal(admin.NotTransferred)}, []string{admin.OpTransfer, admin.OpReconfigure}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, view(nil, "n1", "n2", "n3"), nil)
			p.change = func(n int) any {
				switch {
				case n <= len(c.before):
					return c.before[n-1]
				case p.ops[n-1] == admin.OpTransfer:
					p.members.Leader = "n2"
				default:
					p.members = view(nil, "n2", "n3")
				}
				return map[string]any{"leader": "n2", "index": 7}
			}
			p.patient(c.before...)
			_, err := p.a.Remove(t.Context(), []string{"n1"}, untold(patience))
			require.NoError(t, err)
			p.mu.Lock()
			defer p.mu.Unlock()
			require.Equal(t, c.ops, p.ops)
		})
	}
}

func TestALeaderIsNotAskedToHandOverForEver(t *testing.T) {
	p := newPuppet(t, view(nil, "n1", "n2"), func(int) any { return refusal(admin.Busy) })
	g := &membersGoal{gone: newsOf("n1")}
	following := &pursuit{admin: p.a, goal: g, wished: time.Now().Add(-2 * wishedMax)}
	_, _, err := following.turn(t.Context())
	require.NoError(t, err)
	require.True(t, g.handed)
}

// Who answers something else where the leader is asked is none: there is no cluster without members, and whether a change was made is not known.
func TestAStrangerLeadsNothing(t *testing.T) { // C5
	t.Parallel()
	for _, word := range []any{struct{}{}, []string{}, "ok", map[string]any{"leader": nil, "index": nil}} {
		p := newPuppet(t, view(nil, "n1", "n2", "n3"), func(int) any { return word })
		_, err := p.a.Remove(t.Context(), []string{"n2"}, untold(patience))
		require.ErrorIs(t, err, native.ErrStranger)
		require.ErrorIs(t, err, native.ErrUnknown)
		require.Len(t, p.ops, 1, "it is not asked again")
		conn, err := nats.Connect(p.nc.ConnectedUrl())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Subscribe(admin.Subject("other", admin.OpMembers), func(m *nats.Msg) {
			body, _ := json.Marshal(word)
			_ = m.Respond(body)
		})
		require.NoError(t, err)
		require.NoError(t, conn.Flush())
		_, err = NewAdministrator(p.a.Conn, "other", patience).Members(t.Context(), patience)
		require.ErrorIs(t, err, native.ErrStranger)
		require.NotErrorIs(t, err, native.ErrUnknown)
	}
}
