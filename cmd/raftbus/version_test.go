package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// What a release was named when it was built, its nodes say wherever they say what they are: else nobody sees that two releases run side by side.
func TestNodesSayTheVersionOfTheBinary(t *testing.T) {
	release = "v9.8.7"
	defer func() { release = "" }()
	traces := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut off lacks the version
		traces <- string(body)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := map[string]string{}
	out := &endAt{word: "ready"}
	out.end = func() {
		defer cancel()
		nc, err := nats.Connect(regexp.MustCompile(`nats://[0-9.:]+`).FindString(out.String()))
		if err != nil {
			return
		}
		defer nc.Close()
		for _, subject := range []string{"raftbus.node.n1.stats", "$SRV.PING.raftbus.n1", "raftbus.bucket.add.app", "raftbus.kv.put.app.color"} {
			sampled := nats.Header{"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
			if answer, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: sampled}, 5*time.Second); err == nil {
				said[subject] = string(answer.Data)
			}
		}
	}
	require.NoError(t, execute(t, ctx, out, "dev", "--port", "0", "--nodes", "1", "--dir", t.TempDir(), "--traces", collector.URL))
	collector.Close()
	close(traces)
	require.Contains(t, said["raftbus.node.n1.stats"], `"version":"v9.8.7"`)
	require.Contains(t, said["$SRV.PING.raftbus.n1"], `"version":"9.8.7"`)
	require.Contains(t, <-traces, "9.8.7")
}
