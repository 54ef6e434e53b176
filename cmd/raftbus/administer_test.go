package main

// What an administrator's command does where NATS refuses it something, or is lost.

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// guarded is a NATS server on which guests may publish and subscribe to these only. asked counts what comes to a leader, which does not answer.
func guarded(t *testing.T, publish, subscribe string) (url string, asked *atomic.Int32) {
	t.Helper()
	server := natstest.Run(t, embedded.Options{Users: []embedded.User{
		{Name: "leader", Password: "leader"},
		{Name: "guest", Password: "guest", Publish: []string{publish}, Subscribe: []string{subscribe}},
	}})
	leader := natstest.Connect(t, server, nats.UserInfo("leader", "leader"))
	asked = &atomic.Int32{}
	for _, subject := range []string{admin.Subject("raftbus", ">"), busclient.StatusSubject("raftbus", busclient.AllNodes)} {
		_, err := leader.Subscribe(subject, func(*nats.Msg) { asked.Add(1) })
		require.NoError(t, err)
	}
	require.NoError(t, leader.Flush())
	return server.URL(), asked
}

// answering answers alike whoever asks.
func answering(t *testing.T, conn *nats.Conn, subject string, body any) {
	t.Helper()
	answer, err := json.Marshal(body)
	require.NoError(t, err)
	_, err = conn.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(answer) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
}

func asGuest(url string, args ...string) (string, int) {
	return said(append(args, "--nats", url, "--user", "guest", "--password", "guest")...)
}

// What cannot be taken back is not done for somebody who cannot hear that it was (C5).
func TestAnAdministratorWhoCannotHearAsksNothing(t *testing.T) {
	url, asked := guarded(t, "raftbus.>", "_INBOX_guest.>")
	for _, args := range [][]string{{"upgrade", "finish"}, {"member", "remove", "n3"}, {"leader", "transfer"}, {"status"}, {"upgrade", "status"}} {
		text, code := asGuest(url, args...)
		require.Equal(t, exitError, code, text)
		require.Contains(t, text, native.ErrUnheard.Error(), args)
		require.Contains(t, text, "so nothing was sent and nothing was done: "+natsopt.InboxRemedy, args)
	}
	text, code := asGuest(url, "doctor")
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, "(nats-denied)")
	require.Contains(t, text, "remedy:   "+natsopt.InboxRemedy)
	require.Zero(t, asked.Load(), "something was sent")
}

// It is heard for each request of a command, also after a node was asked.
func TestAnAdministratorWhomNATSRefusesTheChange(t *testing.T) {
	server := natstest.Run(t, embedded.Options{Users: []embedded.User{
		{Name: "leader", Password: "leader"},
		{Name: "guest", Password: "guest", DenyPublish: []string{admin.Subject("raftbus", admin.OpReconfigure)}},
	}})
	leader := natstest.Connect(t, server, nats.UserInfo("leader", "leader"))
	answering(t, leader, admin.Subject("raftbus", admin.OpMembers), admin.Members{Leader: "n1", Members: []admin.Member{}})
	answering(t, leader, busclient.StatusSubject("raftbus", "n4"), replica.Status{ID: "n4", Instance: "n4"})
	text, code := asGuest(server.URL(), "member", "add", "n4", "--wait", "2s", "--timeout", "1s")
	require.Equal(t, exitError, code, text)
	require.Contains(t, text, native.ErrDenied.Error()+": ")
}

// That NATS refuses the request itself is said at once: it is neither a cluster without a leader nor an unknown outcome.
func TestAnAdministratorWhomNATSRefuses(t *testing.T) {
	url, asked := guarded(t, "raftbus.kv.>", "_INBOX.>")
	for _, args := range [][]string{{"upgrade", "finish"}, {"member", "remove", "n3"}, {"leader", "transfer"}} {
		text, code := asGuest(url, args...)
		require.Equal(t, exitError, code, text)
		require.Contains(t, text, native.ErrDenied.Error()+": ", args)
		require.Contains(t, text, "so nothing was done: use credentials that may do it", args)
	}
	require.Zero(t, asked.Load())
}

// Scripts branch on what kind of error it was.
func TestEachKindOfErrorHasAnExitCode(t *testing.T) {
	for kind := members.Usage; kind <= members.Refused; kind++ {
		require.Greater(t, exitCode(&members.Error{Kind: kind}), exitError, kind)
	}
}

// The NATS server dies with the request, and another comes in its place: the command goes on, and sees that what it asked for is done.
func TestAChangeOutlivesItsNATSServer(t *testing.T) {
	t.Parallel() // it mostly waits
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	leader := natstest.Connect(t, server, native.Options)
	var asked atomic.Int32
	again := make(chan *embedded.Server, 1)
	_, err := leader.Subscribe(admin.Subject("raftbus", admin.OpMembers), func(m *nats.Msg) {
		_ = m.Respond(fmt.Appendf(nil, `{"leader":"n%d","committed":true,"members":[{"id":"n2","role":"voter"}]}`, 1+asked.Load()))
	})
	require.NoError(t, err)
	_, err = leader.Subscribe(admin.Subject("raftbus", admin.OpTransfer), func(*nats.Msg) {
		asked.Add(1)
		go func() {
			server.Shutdown()
			another, err := embedded.StartAgain(embedded.Options{Host: "127.0.0.1", Port: server.Port()})
			assert.NoError(t, err)
			again <- another
		}()
	})
	require.NoError(t, err)
	require.NoError(t, leader.Flush())
	text, code := said("leader", "transfer", "--to", "n2", "--nats", server.URL(), "--timeout", "500ms")
	t.Cleanup((<-again).Shutdown)
	require.Equal(t, exitOK, code, text)
	require.Contains(t, text, "n2 leads")
	require.EqualValues(t, 1, asked.Load())
}
