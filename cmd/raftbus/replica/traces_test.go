package replica

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// span is one as a collector is sent it.
type span struct {
	TraceID  string `json:"traceId"`
	ID       string `json:"spanId"`
	ParentID string `json:"parentSpanId"`
	Name     string
	Start    uint64 `json:"startTimeUnixNano,string"`
	End      uint64 `json:"endTimeUnixNano,string"`
	Kind     int
}

// taken are the spans that a collector was sent.
type taken struct {
	mu   sync.Mutex
	list []span
}

func (c *taken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "not spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.list = append(c.list, scope.Spans...)
		}
	}
}

// of are the spans of a trace, by name.
func (c *taken) of(trace string) map[string]span {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := map[string]span{}
	for _, s := range c.list {
		if s.TraceID == trace {
			list[s.Name] = s
		}
	}
	return list
}

// A client that asks for a trace of its request gets one, from the request's arrival over the disk to the answer; others cost nothing.
func TestTracesFromTheClientToTheDiskAndBack(t *testing.T) {
	t.Parallel() // it mostly waits
	var got taken
	server := httptest.NewServer(&got)
	defer server.Close()
	traces, err := observe.NewTraces(server.URL, "v1.2.3", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	o := alone(t, nil)
	o.Traces = traces
	r := ready(t, o)
	nc, err := nats.Connect(o.NATS.URLs[0])
	require.NoError(t, err)
	defer nc.Close()
	request(t, nc, "raftbus.bucket.add.app", "")
	const put, get, unsampled = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c", "2af7651916cd43dd8448eb211c80319c"
	ask := func(subject, body, parent string) {
		t.Helper()
		_, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{"traceparent": {parent}}}, patience)
		require.NoError(t, err)
	}
	ask("raftbus.kv.put.app.color", "blue", "00-"+put+"-b7ad6b7169203331-01")
	ask("raftbus.kv.get.app.color", "", "00-"+get+"-b7ad6b7169203331-01")
	ask("raftbus.kv.put.app.color", "red", "00-"+unsampled+"-b7ad6b7169203331-00")
	ask("raftbus.kv.put.app.color", "red", "00-00000000000000000000000000000000-0000000000000000-01")
	ask("raftbus.kv.put.app.color", "red", "nonsense")
	stop(t, r)
	traces.Close() // sends what it has

	written := got.of(put)
	require.Len(t, written, 4)
	whole := written["raftbus kv put"]
	require.Equal(t, 2, whole.Kind, "a server's")
	require.Equal(t, "b7ad6b7169203331", whole.ParentID, "the client's span is above")
	for _, name := range []string{"replicate", "sync", "apply"} {
		part := written[name]
		require.NotEmpty(t, part.ID, name)
		require.Equal(t, whole.ID, part.ParentID)
		require.LessOrEqual(t, whole.Start, part.Start)
		require.LessOrEqual(t, part.Start, part.End)
		require.LessOrEqual(t, part.End, whole.End)
	}
	require.LessOrEqual(t, written["sync"].End, written["replicate"].End, "what is committed is on the disk")
	read := got.of(get)
	require.Len(t, read, 3)
	require.Contains(t, read, "raftbus kv get")
	require.LessOrEqual(t, read["confirm"].End, read["read"].Start)
	require.Empty(t, got.of(unsampled))
	require.Len(t, got.list, len(written)+len(read))
}
