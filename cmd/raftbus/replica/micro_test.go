package replica

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
)

// A cluster shows as one NATS service with an instance for each node, and says what its clients were answered.
func TestNodesAreANATSService(t *testing.T) {
	nodes, leads, nc := three(t)
	leader := nodes[leads].o.ID
	request(t, nc, "raftbus.bucket.add.app", "")
	request(t, nc, "raftbus.kv.put.app.color", "blue")
	request(t, nc, "raftbus.kv.get.app.none", "")

	pings := askAll(t, nc, "$SRV.PING", 3, func(p micro.Ping) string { return p.ID })
	require.Equal(t, "raftbus", pings["n2"].Name)
	require.Equal(t, micro.PingResponseType, pings["n2"].Type)
	require.Regexp(t, semver, pings["n2"].Version)

	infos := askAll(t, nc, "$SRV.INFO.raftbus", 3, func(i micro.Info) string { return i.ID })
	subjects := map[string]string{}
	for _, e := range infos["n3"].Endpoints {
		subjects[e.Name] = e.Subject
	}
	require.Equal(t, map[string]string{
		"status": "raftbus.node.n3.status", "stats": "raftbus.node.n3.stats", "health": "raftbus.node.n3.health", "metrics": "raftbus.node.n3.metrics",
		"kv": "raftbus.kv.>", "bucket": "raftbus.bucket.>", "jetstream": "$JS.raftbus.API.>",
	}, subjects)

	request(t, nc, busclient.StatusSubject("raftbus", leader), "")
	require.Eventually(t, func() bool {
		stats := askAll(t, nc, "$SRV.STATS.raftbus."+leader, 1, func(s micro.Stats) string { return s.ID })[leader]
		byName := map[string]*micro.EndpointStats{}
		for _, e := range stats.Endpoints {
			byName[e.Name] = e
		}
		kv := byName["kv"]
		return kv.NumRequests == 2 && kv.NumErrors == 1 && kv.ProcessingTime > 0 && kv.AverageProcessingTime == kv.ProcessingTime/2 &&
			byName["bucket"].NumRequests >= 1 && byName["status"].NumRequests >= 1
	}, patience, 20*time.Millisecond)
}

const semver = `^[0-9]+\.[0-9]+\.[0-9]+([-+].*)?$`
