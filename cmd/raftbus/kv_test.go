package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// What became of a request that brought no answer is said with its exit code: what was not done for sure is never called unknown, nor the other way round.
func TestExitCodesWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{native.ErrNoLeader, exitNoLeader, "nothing was done"},
		{native.ErrDenied, exitError, "nothing was done: use credentials that may do it"},
		{native.ErrUnheard, exitError, "nothing was done: give the --inbox-prefix of this user"},
		{native.ErrUnknown, exitTimeout, "may have been done or may yet be"},
	} {
		err := clientFailure(fmt.Errorf("%w: nats says so", c.err), "raftbus")
		require.Equal(t, c.code, exitCode(err))
		require.ErrorContains(t, err, c.text)
	}
}

// A signal ends a watch, which is no error; of what is there it ends only a part.
func TestASignalEndsAWatch(t *testing.T) {
	conn := onBus(t)
	_, err := conn.Subscribe("raftbus.kv.watch.app", func(m *nats.Msg) {
		var request struct{ Deliver string }
		_ = json.Unmarshal(m.Data, &request)
		_ = m.Respond([]byte(`{"watch":"w","pending":2}`))
		_ = conn.PublishMsg(&nats.Msg{Subject: request.Deliver, Header: nats.Header{
			"Rb-Watch": {"w"}, "Rb-Sequence": {"1"}, "Rb-Key": {"color"}, "Rb-Revision": {"1"}, "Rb-Operation": {"put"}, "Rb-Pending": {"1"},
		}})
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for args, want := range map[string]error{"--no-values": nil, "--current": context.Canceled} {
		ctx, cancel := context.WithCancel(t.Context())
		err := execute(t, ctx, &endAt{word: "color", end: cancel}, "kv", "watch", "app", args, "--nats", conn.ConnectedUrl())
		require.ErrorIs(t, err, want, args)
	}
}
