package leaf

// max_payload as a reload changes it, of which a server's leafnode port does not tell (F11).

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// limited is a server that takes messages of so many bytes, until a reload.
func limited(t *testing.T, bytes int) (s *embedded.Server, reload func(bytes int)) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	write := func(bytes int) {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "max_payload: %d\n", bytes), 0o600))
	}
	write(bytes)
	s = startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	return s, func(bytes int) { write(bytes); require.NoError(t, s.Reload()) }
}

func TestMaxPayloadIsRaisedByReload(t *testing.T) { // W2
	s, reload := limited(t, 64<<10)
	c := dial(t, s.LeafURL())
	c.ClientsMaySend(client(t, s.URL()).MaxPayload())
	require.Equal(t, 64<<10, c.MaxPayload())
	require.Zero(t, disconnectsOf(c))
	reload(256 << 10)
	nc := client(t, s.URL())
	sub := subscribe(t, nc, "_INBOX.x")
	c.ClientsMaySend(nc.MaxPayload())
	eventually(t, "connected anew", func() bool { return c.MaxPayload() == 256<<10 })
	awaitInterest(t, c, "_INBOX.x", true)
	eventually(t, "sent", func() bool { return c.Publish("_INBOX.x", "", nil, make([]byte, 200<<10)) == nil })
	require.Len(t, next(t, sub).Data, 200<<10)
	require.Equal(t, 1, disconnectsOf(c))
}

func TestMaxPayloadIsLoweredByReload(t *testing.T) {
	s, reload := limited(t, 256<<10)
	var asked atomic.Int64
	c := dial(t, s.LeafURL(), func(o *Options) { o.OnPayloadRefused = func() { asked.Add(1) } })
	c.ClientsMaySend(client(t, s.URL()).MaxPayload())
	reload(64 << 10)
	c.renew() // until then the server holds it to what was
	eventually(t, "connected anew", func() bool { return disconnectsOf(c) == 1 && isUp(c) })
	require.NoError(t, c.Publish("_INBOX.x", "", nil, make([]byte, 200<<10)))
	eventually(t, "refused", func() bool { return disconnectsOf(c) == 2 && isUp(c) })
	require.ErrorIs(t, c.Publish("_INBOX.x", "", nil, make([]byte, 200<<10)), ErrTooLarge, "not again")
	require.Equal(t, int64(1), asked.Load())
	nc := client(t, s.URL(), nats.Timeout(soon))
	c.ClientsMaySend(nc.MaxPayload())
	c.renew()
	eventually(t, "known", func() bool { return c.MaxPayload() == 64<<10 })
}

// Servers are to have it alike. Where they have not, what the one of the moment takes is sent.
func TestMaxPayloadOfSeveralSources(t *testing.T) {
	for _, c := range []struct {
		why                    string
		said, clients, refused int
		max                    int
	}{
		{"nobody else told", 100, 0, 0, 100},
		{"it was raised, or the client is at another server", 100, 400, 0, 400},
		{"it was lowered, or the client is at another server", 100, 50, 0, 100},
		{"the client is at another server", 100, 400, 200, 100},
		{"it was lowered", 100, 50, 80, 50},
		{"it was lowered, and the client does not know yet", 100, 100, 80, 79},
		{"it was raised, and then lowered", 100, 200, 300, 200},
	} {
		require.Equal(t, c.max, (&payload{c.said, c.clients, c.refused, 0}).max(), c.why)
	}
}

// A refusal holds until there is news by which it may be over.
func TestARefusalOfAPayloadEnds(t *testing.T) {
	p := payload{said: 100, clients: 100, largest: 80}
	require.True(t, p.refuse())
	p.hear(100)
	p.hearOfClients(50)
	require.Equal(t, 50, p.max())
	p.hearOfClients(90)
	require.Equal(t, 100, p.max(), "raised")
	p.largest = 95
	require.False(t, p.refuse(), "as a client would be")
	p.hear(99)
	require.Equal(t, 99, p.max(), "another server")
}
