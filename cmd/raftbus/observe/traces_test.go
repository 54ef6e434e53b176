package observe

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A collector that is not there costs spans, and nobody's time; it is told once.
func TestTracesWithoutACollector(t *testing.T) {
	var said bytes.Buffer
	traces, err := NewTraces("http://127.0.0.1:1", "v1.2.3", slog.New(slog.NewTextHandler(&said, nil)))
	require.NoError(t, err)
	r := Request{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Door: "kv", Operation: "put", Arrived: time.Now(), Answered: time.Now()}
	began := time.Now()
	for range 3 * spansMax {
		traces.Record(r)
	}
	require.Less(t, time.Since(began), exportTimeout, "nobody waits for the collector")
	traces.Close()
	require.Equal(t, 1, strings.Count(said.String(), "traces are lost"))
	none, err := NewTraces("", "v1.2.3", nil)
	require.NoError(t, err)
	none.Close()
}

// Credentials for a collector are for it alone: neither the log nor an error has them, whether it answers or not.
func TestTracesKeepTheirCredentials(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password == "secret" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer collector.Close()
	for address, says := range map[string]string{collector.Listener.Addr().String(): "answers 418", "127.0.0.1:1": "connection refused"} {
		var said bytes.Buffer
		traces, err := NewTraces("http://somebody:secret@"+address, "v1.2.3", slog.New(slog.NewTextHandler(&said, nil)))
		require.NoError(t, err)
		traces.Record(Request{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Arrived: time.Now(), Answered: time.Now()})
		traces.Close()
		require.Contains(t, said.String(), says)
		require.Contains(t, said.String(), address)
		require.NotContains(t, said.String(), "secret")
		require.NotContains(t, said.String(), "somebody")
	}
	_, err := NewTraces("http://somebody:secret@[::1", "v1.2.3", slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "[::1")
	require.NotContains(t, err.Error(), "secret")
}

// More requests than can wait are dropped, which is told once.
func TestTracesOfMoreThanCanWait(t *testing.T) {
	var said bytes.Buffer
	traces := &Traces{waiting: make(chan Request, 2), logger: slog.New(slog.NewTextHandler(&said, nil))} // nobody makes spans
	for i := range uint64(5) {
		traces.Record(Request{Entry: i})
	}
	require.Len(t, traces.waiting, 2)
	require.Zero(t, (<-traces.waiting).Entry)
	require.Equal(t, 1, strings.Count(said.String(), "faster than they can be traced"))
}

// What a traced request costs the goroutine that has answered it.
func BenchmarkRecord(b *testing.B) {
	traces, err := NewTraces("http://127.0.0.1:1", "v1.2.3", slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	now := time.Now()
	r := Request{
		Node: "n1", Prefix: "raftbus", Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Door: "kv", Operation: "put", Entry: 7,
		Arrived: now, Proposed: now, SyncBegan: now, SyncEnded: now, Committed: now, Applied: now, Answered: now,
	}
	for b.Loop() {
		traces.Record(r)
		if len(traces.waiting) < requestsMax/2 {
			continue
		}
		b.StopTimer()
		for len(traces.waiting) > 0 {
			time.Sleep(time.Millisecond)
		}
		b.StartTimer()
	}
	b.StopTimer()
	traces.Close()
}
