package bench

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// A leader that is asked and says nothing is not waited for without end, neither at the start nor for a watch.
func TestASilentLeaderIsNotWaitedForWithoutEnd(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	silent := natstest.Connect(t, server)
	_, err := silent.Subscribe("raftbus.>", func(m *nats.Msg) {
		if m.Subject == "raftbus.bucket.info.there" {
			_ = m.Respond([]byte(`{}`))
		}
	})
	require.NoError(t, err)
	require.NoError(t, silent.Flush())
	connect := func() (*nats.Conn, error) { return nats.Connect(server.URL()) }

	_, err = Native{Connect: connect, Prefix: "raftbus", Bucket: "app", Timeout: time.Second}.Open(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	store, err := Native{Connect: connect, Prefix: "raftbus", Bucket: "there", Timeout: time.Second}.Open(t.Context())
	require.NoError(t, err)
	defer store.Close()
	require.ErrorIs(t, store.Watch(t.Context(), func([]byte) {}), context.DeadlineExceeded)
}

func TestRefusalsAreThePublishedOnes(t *testing.T) {
	page, err := os.ReadFile("../../../kv/ERRORS.md")
	require.NoError(t, err)
	for _, row := range []string{"| 30001 | 404 | no bucket |", "| 30002 | 409 | bucket exists |", "| 30003 | 404 | key not found |", "| 30005 | 409 | wrong revision |"} {
		require.Contains(t, string(page), row)
	}
	require.ErrorIs(t, &Refusal{ErrCode: 30005}, ErrConflict)
	require.NotErrorIs(t, &Refusal{ErrCode: 30012}, ErrConflict)
}

// A JetStream whose stream has the subjects of raftbus among its own acknowledges what is asked: that is no put.
func TestWhatAJetStreamAcknowledgesIsNoPut(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	conn := natstest.Connect(t, server)
	_, err := conn.Subscribe("raftbus.>", func(m *nats.Msg) { _ = m.Respond([]byte(`{"stream":"AUDIT","seq":7}`)) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	store, err := Native{
		Connect: func() (*nats.Conn, error) { return nats.Connect(server.URL()) }, Prefix: "raftbus", Bucket: "app", Timeout: 5 * time.Second,
	}.Open(t.Context())
	require.NoError(t, err)
	defer store.Close()
	_, err = store.Put(t.Context(), "k", []byte("v"))
	require.ErrorContains(t, err, "what answers on raftbus.kv.put.app.k is no raftbus")
	_, err = store.Update(t.Context(), "k", []byte("v"), 1)
	require.ErrorContains(t, err, "no stream of a JetStream captures it")
	_, err = store.Get(t.Context(), "k")
	require.ErrorContains(t, err, "what answers on raftbus.kv.get.app.k is no raftbus")
}
