package page

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// Rates are of the time since the last look, and none are told where that was so long ago that nobody looked meanwhile.
func TestRatesAreOfTheTimeWhenSomebodyLooked(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	conn := natstest.Connect(t, server)
	began := time.Now().UTC()
	now := began
	_, err := conn.Subscribe("stats", func(m *nats.Msg) {
		now = now.Add(time.Second)
		figures, _ := json.Marshal(observe.Stats{Node: "n1", Members: []string{"n1"}, Started: began, Time: now, Disk: observe.Disk{Bytes: uint64(now.Sub(began))}})
		_ = m.Respond(figures)
	})
	require.NoError(t, err)
	p := &page{o: Options{Conn: conn, Stats: "stats"}}
	written := func(pause time.Duration) float64 {
		p.last.Time = p.last.Time.Add(-pause)
		view := p.look(t.Context())
		require.Len(t, view.Nodes, 1)
		require.True(t, view.Nodes[0].Answers)
		return view.Nodes[0].Written
	}
	require.Zero(t, written(0), "nobody has looked before")
	require.Positive(t, written(viewFor))
	require.Zero(t, written(2*pauseMax))
	require.Positive(t, written(viewFor))
}
