package doctor

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// What NATS refuses the doctor is said, and not taken for silence; nor is a bus called open that refuses to carry a forged message.
func TestTheDoctorKnowsWhatItMayNotAsk(t *testing.T) {
	t.Parallel()
	status := busclient.StatusSubject("raftbus", busclient.AllNodes)
	server := natstest.Run(t, embedded.Options{Users: []embedded.User{
		{Name: "node", Password: "x", Publish: []string{">"}, Subscribe: []string{">"}},
		{Name: "client", Password: "x", Publish: []string{status}, Subscribe: []string{"_INBOX.>"}},
		{Name: "nobody", Password: "x", Publish: []string{"x"}, Subscribe: []string{"_INBOX.>"}},
	}})
	node := natstest.Connect(t, server, nats.UserInfo("node", "x"))
	_, err := node.Subscribe(status, func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"id":"n1","role":"leader","term":2,"leader":"n1","ready":true,"members":["n1"],"watches":{"leaf":true}}`))
	})
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	asks := func(user string) (codes []string, verdict Verdict) {
		conn := natstest.Connect(t, server, nats.UserInfo(user, "x"))
		d, err := Examine(t.Context(), conn, "raftbus")
		require.NoError(t, err)
		for _, f := range d.Findings {
			codes = append(codes, f.Code)
		}
		return codes, d.Verdict()
	}
	codes, verdict := asks("client")
	require.Equal(t, []string{"figures-denied"}, codes)
	require.Equal(t, Healthy, verdict)
	codes, verdict = asks("nobody")
	require.Equal(t, []string{codeDenied}, codes)
	require.Equal(t, Unreached, verdict)
	codes, _ = asks("node")
	require.Equal(t, []string{"figures-missing", "bus-open"}, codes, "the node says nothing of its figures")
}

// A NATS that is slow leaves nodes as long to answer as another: the time that it takes to let answers be heard is not theirs.
func TestTheTimeOfNodesBeginsWhenTheyAreAsked(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t, embedded.Options{})
	node := natstest.Connect(t, server)
	_, err := node.Subscribe(busclient.StatsSubject("raftbus", busclient.AllNodes), func(m *nats.Msg) { _ = m.Respond([]byte(`{"node":"n1"}`)) })
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	const way = silenceTime * 3 / 10 // to NATS and back it is twice that, and a question and its answer take as long
	conn, err := nats.Connect(slow(t, server.URL(), way))
	require.NoError(t, err)
	defer conn.Close()
	for range 10 { // this machine may be too busy for one
		if looks, err := (&facts{}).lookAll(t.Context(), conn, "raftbus"); err == nil && len(looks) == 1 {
			return
		}
	}
	require.Fail(t, "the node is not heard")
}

// slow is a way to a server on which all takes so long.
func slow(t *testing.T, url string, takes time.Duration) string {
	address := strings.TrimPrefix(url, "nats://")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		go late(client, server, takes)
		go late(server, client, takes)
	}()
	return "nats://" + listener.Addr().String()
}

// late copies what comes, each piece so long after it came.
func late(to io.WriteCloser, from io.Reader, takes time.Duration) {
	defer to.Close()
	type piece struct {
		due  time.Time
		data []byte
	}
	way := make(chan piece, 1000)
	go func() {
		defer close(way)
		for {
			data := make([]byte, 1<<16)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			way <- piece{time.Now().Add(takes), data[:n]}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}

// Whoever may answer on the bus does not fill the time of who asks for figures, and a question leaves nothing behind.
func TestWhoAnswersAgainAndAgainIsNotListenedToForEver(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t, embedded.Options{})
	loud := natstest.Connect(t, server)
	_, err := loud.Subscribe(busclient.StatsSubject("raftbus", busclient.AllNodes), func(m *nats.Msg) {
		for t.Context().Err() == nil {
			if loud.Publish(m.Reply, []byte(`{"node":"n1"}`)) != nil || loud.Flush() != nil {
				return
			}
		}
	})
	require.NoError(t, err)
	require.NoError(t, loud.Flush())
	conn := natstest.Connect(t, server)
	looks, err := (&facts{}).lookAll(t.Context(), conn, "raftbus")
	require.NoError(t, err)
	require.Len(t, looks, 1)
	require.Zero(t, conn.NumSubscriptions())
	conn.Close()
	_, err = (&facts{}).lookAll(t.Context(), conn, "raftbus")
	require.ErrorIs(t, err, nats.ErrConnectionClosed, "nobody was asked")
}

// Nobody leads for a moment where a vote is under way: who asks waits for its end.
func TestAnElectionIsNoFinding(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t, embedded.Options{})
	node := natstest.Connect(t, server)
	const voting = `{"id":"n1","role":"candidate","term":2,"members":["n1"],"configuration":{"index":1,"committed":true,"voters":[{"id":"n1"}]},"watches":{"leaf":true}}`
	elected := strings.Replace(voting, `"candidate"`, `"leader","leader":"n1","ready":true`, 1)
	var asked atomic.Int64
	_, err := node.Subscribe(busclient.StatusSubject("raftbus", busclient.AllNodes), func(m *nats.Msg) {
		answer := elected
		if asked.Add(1) == 1 {
			answer = voting
		}
		_ = m.Respond([]byte(answer))
	})
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	conn := natstest.Connect(t, server)
	for range 10 {
		asked.Store(0)
		began := time.Now()
		found, err := askSettled(t.Context(), conn, "raftbus")
		require.NoError(t, err)
		// A busy machine may keep the node from answering in time, or who asks from asking twice: then nothing is told.
		if len(found.Nodes) > 0 && time.Since(began) < electionTime {
			require.NotNil(t, found.Leader())
			return
		}
	}
	require.Fail(t, "this machine is too busy to tell")
}
