package kvclients

// What docs/nats-kv.md says of clients that ask elsewhere than others, or for what a JetStream does by chance.

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// Who names no domain where only that is served finds nobody: so do the reads of nats-key-value (Python), whatever domain it is given.
func TestADirectGetWithoutTheDomainFindsNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := connected(t, 1)
	kv, err := client(t, nc, "raftbus").CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	require.EqualValues(t, 1, revision(t)(kv.Put(within(t), "k", []byte("v"))))
	_, err = nc.Request("$JS.API.DIRECT.GET.KV_app.$KV.app.k", nil, 10*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	m, err := nc.Request("$JS.raftbus.API.DIRECT.GET.KV_app.$KV.app.k", nil, 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "v", string(m.Data))
}

// A star that is not all of a token is a letter of it, here as in a JetStream.
func TestAStarInsideATokenIsALetter(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, nc := range []*nats.Conn{connected(t, 1), realJetStream(t)} {
		kv, err := client(t, nc, "raftbus").CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "app"})
		require.NoError(t, err)
		require.EqualValues(t, 1, revision(t)(kv.Put(within(t), "ab", []byte("v"))))
		for pattern, want := range map[string]bool{"a*": false, "*": true} {
			w, err := kv.Watch(within(t), pattern)
			require.NoError(t, err)
			require.Equal(t, want, <-w.Updates() != nil, pattern) // nil: all that is there was told
			require.NoError(t, w.Stop())
		}
	}
}

// A put to a bucket that is not there is answered also to who did not ask NATS to be told of no responders.
func TestAPutToNoBucketIsAnsweredToAll(t *testing.T) {
	t.Parallel() // it mostly waits
	nc := connected(t, 1, defaultAPI)
	server, err := net.Dial("tcp", strings.TrimPrefix(nc.ConnectedUrl(), "nats://"))
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, server.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = fmt.Fprint(server, `CONNECT {"verbose":false,"headers":true,"no_responders":false}`+"\r\nSUB answers 1\r\nPUB $KV.none.k answers 1\r\nv\r\n")
	require.NoError(t, err)
	for lines := bufio.NewScanner(server); ; {
		require.True(t, lines.Scan(), "no answer")
		if lines.Text() == "PING" {
			_, err = fmt.Fprint(server, "PONG\r\n")
			require.NoError(t, err)
		}
		if strings.HasPrefix(lines.Text(), "NATS/1.0 ") {
			require.Contains(t, lines.Text(), "503")
			return
		}
	}
}
