package kv

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whoever may ask may have requests dropped, as many and with as long a subject for the answer as he likes: the log does not fill with it (Q12).
func TestDroppedOrdersFillNoLog(t *testing.T) {
	var log strings.Builder
	s := &Service{prefix: "raftbus", logger: slog.New(slog.NewTextHandler(&log, nil))}
	take := s.unlessOrder(func(*nats.Msg) { t.Error("it is an order") })
	long := strings.Repeat("x", 5000)
	for range 100 {
		take(&nats.Msg{Subject: "raftbus.kv.get.app." + long, Reply: "raftbus.admin." + long})
	}
	require.EqualValues(t, 100, s.ordersDrops.Load())
	require.Equal(t, 7, strings.Count(log.String(), "requests dropped"), "the first, and whenever they are twice as many")
	require.NotContains(t, log.String(), long[:100])
}
