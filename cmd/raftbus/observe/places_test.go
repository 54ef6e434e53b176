package observe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func connect(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return conn
}

// get asks on a connection, and leaves it open.
func get(t *testing.T, conn net.Conn, path string) (int, string) {
	t.Helper()
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err) // or a reset, if what it sent was not read
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Who asks whether the node lives is answered, however many connections are silent, and they are no more for it: the one that has been silent for
// longest goes, also one that has begun to ask.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	s := serve(t)
	s.Show(plain{well()})
	var silent []net.Conn
	for range httpConnectionsMax {
		silent = append(silent, connect(t, s))
	}
	_, err := fmt.Fprint(silent[1], "GET /livez HTTP/1.1\r\n")
	require.NoError(t, err)
	code, _ := get(t, silent[0], "/livez")
	require.Equal(t, http.StatusOK, code)

	late := connect(t, s)
	code, text := get(t, late, "/livez")
	require.Equal(t, http.StatusOK, code, text)
	ended(t, silent[1])
	for i, path := range []string{"/readyz", "/healthz"} {
		code, text = s.ask(t, http.MethodGet, path)
		require.Equal(t, http.StatusOK, code, text)
		if i == 0 {
			ended(t, silent[2])
		}
	}
	for _, conn := range silent[4:] {
		code, _ = get(t, conn, "/livez")
		require.Equal(t, http.StatusOK, code)
	}
}

// Whoever is being answered is not cut off by those who come, and is waited for anew then.
func TestWhoIsAnsweredKeepsItsPlace(t *testing.T) {
	s := serve(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	s.ShowPage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = w.Write([]byte("slow"))
	}))
	slow := connect(t, s)
	_, err := fmt.Fprint(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-asked
	first := connect(t, s)
	for range httpConnectionsMax - 1 {
		connect(t, s)
	}
	ended(t, first)
	close(answer)
	got, err := http.ReadResponse(bufio.NewReader(slow), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Equal(t, "slow", string(body))
	code, _ := s.ask(t, http.MethodGet, "/livez")
	require.Equal(t, http.StatusOK, code)
	code, _ = get(t, slow, "/livez")
	require.Equal(t, http.StatusOK, code)
}

// A host displaces its own connections, however many it opens; where each has as many, who was there first goes. A place that was given back is there again.
func TestAHostDisplacesItsOwn(t *testing.T) {
	p := &places{number: 4}
	from := func(host string) *place { return &place{of: p, host: host} }
	prober, other := from("prober"), from("other")
	require.Nil(t, p.take(prober))
	require.Nil(t, p.take(other))
	last := from("many")
	require.Nil(t, p.take(last))
	newest := from("many")
	require.Nil(t, p.take(newest))
	for range 100 {
		next := from("many")
		require.Same(t, last, p.take(next))
		last, newest = newest, next
	}
	require.Same(t, last, p.take(from("second")))
	require.Same(t, prober, p.take(from("third")))
	require.Len(t, p.held, 4)
	p.leave(other)
	p.leave(other)
	require.Nil(t, p.take(from("fourth")))
}
