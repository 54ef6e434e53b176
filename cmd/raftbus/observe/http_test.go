package observe

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/measure"
)

func measured() measure.Durations {
	var h measure.Histogram
	h.Observe(3 * time.Millisecond)
	h.Observe(time.Minute)
	return h.Read()
}

// plain is a node that has the figures it was given.
type plain struct{ stats Stats }

func (p plain) Stats() Stats   { return p.stats }
func (p plain) Health() Health { return p.stats.Health }

func well() Stats {
	s := full()
	s.Health = Health{Node: "n1", Live: true, Ready: true}
	return s
}

func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Listen(":0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// ask returns the code and the body of a page.
func (s *Server) ask(t *testing.T, method, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Address()+path, nil)
	require.NoError(t, err)
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// Alive and ready are two things, and the reasons are told.
func TestHealthPages(t *testing.T) {
	s := serve(t)
	expect := func(path string, code int, body string) {
		t.Helper()
		got, text := s.ask(t, http.MethodGet, path)
		require.Equal(t, code, got, text)
		require.Contains(t, text, body)
	}
	expect("/livez", 200, "ok")
	expect("/readyz", 503, "starting")
	expect("/healthz", 503, `"ready":false`)
	expect("/metrics", 503, "starting")

	good := full()
	good.Health = Health{Node: "n1", Live: true, Ready: true, Reasons: []string{}, Warnings: []string{"the disk is slow"}}
	s.Show(plain{good})
	expect("/livez", 200, "ok")
	expect("/readyz", 200, "ok")
	expect("/healthz", 200, `{"nodes":[{"node":"n1","live":true,"ready":true,"reasons":[],"warnings":["the disk is slow"]}],"ready":true}`)
	expect("/metrics", 200, `raftbus_node_ready{cluster="raftbus",node="n1"} 1`)
	expect("/metrics", 200, "go_goroutines ")
	code, text := s.ask(t, http.MethodGet, "/stats")
	require.Equal(t, 200, code)
	var shown struct{ Nodes []Stats }
	require.NoError(t, json.Unmarshal([]byte(text), &shown))
	require.Equal(t, good.Doors, shown.Nodes[0].Doors)

	lost := good
	lost.Node = "n2"
	lost.Health = Health{Node: "n2", Live: true, Reasons: []string{"n2 knows no leader"}, Warnings: []string{}}
	s.Show(plain{good}, plain{lost})
	expect("/livez", 200, "ok")
	expect("/readyz", 503, "n2 knows no leader\n")
	dead := lost
	dead.Health = Health{Node: "n2", Reasons: []string{"the disk failed"}, Warnings: []string{}}
	s.Show(plain{good}, plain{dead})
	expect("/livez", 503, "the disk failed\n")
}

// Nothing but looking, and not by any number at once.
func TestPagesAreForLookingOnly(t *testing.T) {
	s := serve(t)
	s.Show(plain{well()})
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		code, _ := s.ask(t, method, "/stats")
		require.Equal(t, http.StatusMethodNotAllowed, code)
	}
	code, _ := s.ask(t, http.MethodGet, "/debug/pprof/")
	require.Equal(t, http.StatusNotFound, code)
	s.running.Add(httpRequestsMax)
	for _, path := range []string{"/stats", "/metrics", "/"} {
		code, text := s.ask(t, http.MethodGet, path)
		require.Equal(t, http.StatusServiceUnavailable, code, text)
		require.Equal(t, "too many requests at once\n", text)
	}
	for _, path := range []string{"/livez", "/readyz", "/healthz"} { // who is refused these starts the node again
		code, text := s.ask(t, http.MethodGet, path)
		require.Equal(t, http.StatusOK, code, text)
	}
	s.running.Add(-httpRequestsMax)
}

func TestListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	s := serve(t)
	host, _, err := net.SplitHostPort(s.Address())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	_, err = Listen(s.Address(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "choose another port")
	_, err = Listen("8080", slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "127.0.0.1:8080")
	none, err := Listen("", nil)
	require.NoError(t, err)
	none.Show(plain{full()})
	none.Close()
}

// Who connects and says nothing, or reads nothing, does not hold up a stop.
func TestAStopDoesNotWaitForClients(t *testing.T) {
	s := serve(t)
	conn, err := net.Dial("tcp", s.Address())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X: y\r\n", 3))
	require.NoError(t, err)
	began := time.Now()
	s.Close()
	require.Less(t, time.Since(began), httpCloseWait+5*time.Second)
}

// Nobody keeps a place by saying or reading nothing, nor has the node read what is no head of a request (Q12).
func TestEachRequestIsBounded(t *testing.T) {
	s := serve(t)
	for name, bound := range map[string]time.Duration{
		"head": s.server.ReadHeaderTimeout, "request": s.server.ReadTimeout, "answer": s.server.WriteTimeout, "next request": s.server.IdleTimeout,
	} {
		require.Positive(t, bound, name)
		require.LessOrEqual(t, bound, time.Minute, name)
	}
	conn, err := net.Dial("tcp", s.Address())
	require.NoError(t, err)
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("y", 4*httpHeaderBytes)) // it may be cut off before
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
}
