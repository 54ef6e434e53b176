package observe

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// However many ask, and however much they say, no more wait than may: what is over that is dropped, and who comes when there is room is answered (Q12).
func TestQuestionsThatWaitAreBounded(t *testing.T) {
	for name, of := range map[string]struct{ sent, most, bytes int }{
		"many":  {20 * askedMax, 2 * askedMax, 0},
		"large": {askedMax, askedMax / 4, 1 << 20}, // one is in hand, and one waits
	} {
		t.Run(name, func(t *testing.T) { waitsBounded(t, of.sent, of.most, make([]byte, of.bytes)) })
	}
}

func waitsBounded(t *testing.T, sent, most int, body []byte) {
	server := natstest.Run(t, embedded.Options{})
	conn := natstest.Connect(t, server, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	crowd := natstest.Connect(t, server)
	var heard atomic.Int64
	hold := make(chan struct{})
	require.NoError(t, Answer(conn, "asked", func(m *nats.Msg) {
		<-hold
		heard.Add(1)
		_ = m.Respond([]byte("x"))
	}))
	require.NoError(t, conn.Flush())
	for range sent {
		require.NoError(t, crowd.PublishRequest("asked", strings.Repeat("a", 3000), body))
	}
	require.NoError(t, crowd.Flush())
	require.NoError(t, conn.Flush()) // all of them have come
	close(hold)
	require.Eventually(t, func() bool {
		_, err := crowd.Request("asked", nil, time.Second)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	require.Less(t, heard.Load(), int64(most))
}
