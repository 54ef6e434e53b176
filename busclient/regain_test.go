package busclient

// What NATS refuses for a while is there again when it is granted (F12).

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// permitting is a server whose user n1 may hear what is said, until it is told otherwise by a reload.
func permitting(t testing.TB, subjects ...string) (server *embedded.Server, permit func(subjects ...string)) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	write := func(subjects ...string) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `authorization { users: [
			{user: n1, password: n1, permissions: {publish: ">", subscribe: ["%s"]}}, {user: n2, password: n2}]}`, strings.Join(subjects, `", "`)), 0o600))
	}
	write(subjects...)
	server = startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	return server, func(subjects ...string) {
		write(subjects...)
		require.NoError(t, server.Reload())
	}
}

// A reload takes a permission of a node's, and another gives it back: NATS has removed the subscriptions and adds none, so the connections are made anew.
func TestAPermissionIsTakenAndGivenBack(t *testing.T) {
	t.Parallel() // it mostly waits
	server, permit := permitting(t, "raftbus.rpc.n1.>", "raftbus.rpc._all.>")
	soonAgain := func(o *peerOptions) { o.regain = 20 * time.Millisecond }
	n1, n2 := newPeer(t, server.URL(), "n1", asUser("n1"), soonAgain), newPeer(t, server.URL(), "n2", asUser("n2"))
	startAdmitted(n1, n2)
	awaitEachOther(n1, n2)
	permit("raftbus.rpc._all.>")
	n2.awaitLink("n1", "broken")
	eventually(t, "it was in vain, twice", func() bool { return n1.control.NATS().Stats().Reconnects > 1 && n1.bulk.NATS().Stats().Reconnects > 1 })
	require.NotZero(t, n1.control.Stats().PermissionErrors)
	permit("raftbus.rpc.n1.>", "raftbus.rpc._all.>")
	awaitEachOther(n1, n2)
	require.Zero(t, n1.control.Stats().Disconnects, "it was lost to nobody")
}

// So is one that was refused from the beginning.
func TestAPermissionIsGivenLater(t *testing.T) {
	server, permit := permitting(t, "raftbus.node.>")
	c := dialWith(t, ConnOptions{URLs: []string{server.URL()}, Node: "n1", Role: RoleClient, Options: []nats.Option{nats.UserInfo("n1", "n1")}, regainAfter: 20 * time.Millisecond})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	var heard atomic.Bool
	_, err := c.SubscribeMsgs("raftbus.kv.>", func(*nats.Msg) { heard.Store(true) })
	require.NoError(t, err)
	eventually(t, "refused", func() bool { return c.Stats().PermissionErrors > 0 })
	eventually(t, "known for how long", func() bool { return c.RefusedFor("raftbus.kv.>") != 0 }) // it is counted first
	permit("raftbus.node.>", "raftbus.kv.>")
	asker := natstest.Connect(t, server, nats.UserInfo("n2", "n2"))
	eventually(t, "heard", func() bool {
		require.NoError(t, asker.Publish("raftbus.kv.put.app.k", nil))
		return heard.Load()
	})
}

// So is one for which there were too many: which of them NATS refuses is chance, and it does not say.
func TestTheLimitOfSubscriptionsIsRaised(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	limit := func(subscriptions int) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `accounts { app { limits { max_subscriptions: %d }, users: [{user: n1, password: n1}] } }`, subscriptions), 0o600))
	}
	limit(3)
	server := startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	c := dialWith(t, ConnOptions{URLs: []string{server.URL()}, Node: "n1", Role: RoleClient, Options: []nats.Option{nats.UserInfo("n1", "n1")}, regainAfter: 20 * time.Millisecond})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	const wanted = 5
	var heard [wanted]atomic.Bool
	for i := range heard {
		_, err := c.SubscribeMsgs(fmt.Sprintf("$KV.b%d.>", i), func(*nats.Msg) { heard[i].Store(true) })
		require.NoError(t, err)
	}
	eventually(t, "refused", func() bool { return c.Stats().PermissionErrors > 0 })
	limit(20)
	require.NoError(t, server.Reload())
	asker := natstest.Connect(t, server, nats.UserInfo("n1", "n1"))
	for i := range heard {
		eventually(t, "heard", func() bool {
			require.NoError(t, asker.Publish(fmt.Sprintf("$KV.b%d.k", i), nil))
			return heard[i].Load()
		})
	}
}

// Nor is a connection made anew that was closed.
func TestAClosedConnectionAsksForNothingAgain(t *testing.T) {
	c := dialWith(t, ConnOptions{URLs: []string{startNATS(t).URL()}, Node: "n1", Role: RoleClient})
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	c.regain.Refused()
	c.Close()
	require.False(t, c.regain.Lacks())
}

// A message that is refused makes no connection anew: who it is for others say.
func TestARefusedMessageMakesNoConnectionAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anew, c := 0, &Conn{log: testLog(t)}
		c.move = func() { anew++ }
		c.regain.Anew = c.askAgain
		for said, want := range map[string]int{
			`Permissions Violation for Publish to "a.subscription"`:            0,
			`Permissions Violation for Subscription to "a.publish"`:            1,
			`Permissions Violation for Subscription to "a.publish" (sid "17")`: 1,
		} {
			anew = 0
			c.regain.Connected()
			c.failed(nil, nil, fmt.Errorf("%w: %s", nats.ErrPermissionViolation, said))
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Equal(t, want, anew, said)
			require.Equal(t, want == 1, c.Stats().Refused.Equal(time.Now()), "what lacks is refused now")
		}
	})
}
