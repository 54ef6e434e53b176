package bench

import (
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// A bucket is made only if it is known not to be there: it is removed in the end, with all that is in it.
func TestABucketThatMayBeThereIsNotMade(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	connect := func() (*nats.Conn, error) { return nats.Connect(server.URL()) }
	conn, err := connect()
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	answers := func(subject, body string, asked *atomic.Int64) {
		_, err := conn.Subscribe(subject, func(m *nats.Msg) { asked.Add(1); _ = m.Respond([]byte(body)) })
		require.NoError(t, err)
	}
	var looks, makes atomic.Int64
	answers("$JS.d.API.STREAM.INFO.KV_b", `{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":503,"err_code":10008,"description":"busy"}}`, &looks)
	answers("$JS.d.API.STREAM.CREATE.KV_b", `{"type":"io.nats.jetstream.api.v1.stream_create_response","config":{"name":"KV_b","subjects":["$KV.b.>"]}}`, &makes)
	require.NoError(t, conn.Flush())
	err = KV{Connect: connect, Domain: "d", Config: jetstream.KeyValueConfig{Bucket: "b"}}.Create(t.Context())
	require.ErrorContains(t, err, "busy")
	require.NotZero(t, looks.Load())
	require.Zero(t, makes.Load())
}
