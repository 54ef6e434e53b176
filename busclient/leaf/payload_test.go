package leaf

// max_payload as a reload changes it, of which a server's leafnode port does not tell (F11).

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/internal/regain"
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

// A connection is ended for what was sent over it, and not for what one before took: that would be sent again and again (F11).
func TestWhatIsRefusedWasSentOverThisConnection(t *testing.T) {
	o := newOutbound(1 << 20)
	for _, size := range []int{1000, 10} {
		o.begin()
		o.admit()
		o.limit(func(l *limits) { l.payloadMax = 1000 })
		require.NoError(t, o.publish("x", "", nil, make([]byte, size)))
		o.limit(func(*limits) { o.payload.refuse(time.Now()) })
		require.Equal(t, size, o.payload.refused)
		o.end()
	}
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
		require.Equal(t, c.max, (&payload{said: c.said, clients: c.clients, refused: c.refused}).max(), c.why)
	}
}

// A refusal holds until there is news by which it may be over.
func TestARefusalOfAPayloadEnds(t *testing.T) {
	p := payload{said: 100, clients: 100, largest: 80}
	now := time.Unix(1000, 0)
	require.True(t, p.refuse(now))
	p.hear(100)
	p.hearOfClients(50, now)
	require.Equal(t, 50, p.max())
	p.hearOfClients(50, now.Add(time.Hour))
	require.Equal(t, 50, p.max(), "so clients are told")
	p.hearOfClients(90, now)
	require.Equal(t, 100, p.max(), "raised")
	p.largest = 95
	require.False(t, p.refuse(now), "as a client would be")
	p.hear(99)
	require.Equal(t, 99, p.max(), "another server")
}

// F11, W2: the servers are reloaded one after the other. The leaf's was not yet, refused what the client's takes, and is by and by: it tells nobody.
func TestARefusalAgainstTheWordToClientsIsTriedAgainEverMoreSeldom(t *testing.T) {
	p := payload{said: 100, clients: 800, largest: 400}
	now := time.Unix(1000, 0)
	for _, wait := range []time.Duration{regain.WaitMin, time.Minute, 2 * time.Minute, 4 * time.Minute, regain.WaitMax, regain.WaitMax} {
		require.Equal(t, wait == regain.WaitMin, p.refuse(now), "a client need not be asked what it is told each time")
		now = now.Add(wait)
		p.hearOfClients(800, now)
		require.Equal(t, 100, p.max(), wait)
		now = now.Add(1)
		p.hearOfClients(800, now)
		require.Equal(t, 800, p.max(), wait)
	}
	now = now.Add(2 * regain.WaitMax)
	require.True(t, p.refuse(now))
	p.hearOfClients(800, now.Add(regain.WaitMin+1))
	require.Equal(t, 800, p.max(), "none was refused for long")
}

// F11, W2: a client that is asked may reach a server that was not reloaded yet either. It is asked again, some times.
func TestAClientThatIsToldLessIsAskedAgain(t *testing.T) {
	p := payload{said: 100, clients: 800, largest: 400}
	now := time.Unix(1000, 0)
	require.True(t, p.refuse(now))
	for _, wait := range []time.Duration{regain.WaitMin, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		now = now.Add(wait)
		require.False(t, p.hearOfClients(100, now), wait)
		now = now.Add(1)
		require.True(t, p.hearOfClients(100, now), wait)
	}
	require.False(t, p.hearOfClients(100, now.Add(time.Hour)), "they have it otherwise for good")
	require.False(t, p.hearOfClients(800, now))
	require.Equal(t, 800, p.max())
	require.False(t, p.refuse(now.Add(time.Minute)), "again")
	lowered := payload{said: 100, clients: 100, largest: 400}
	require.False(t, lowered.refuse(now))
	require.False(t, lowered.hearOfClients(50, now.Add(time.Hour)), "it was known")
}

// F11: a server has refused something, and the leaf is back before a client hears how much it is to be.
func TestMaxPayloadAfterARefusalIsWhatClientsAreTold(t *testing.T) {
	c := &Conn{out: openOutbound(8 << 20)}
	c.out.limit(func(l *limits) {
		p := &c.out.payload
		*p = payload{said: 256 << 10, clients: 256 << 10, largest: 200 << 10}
		p.refuse(time.Now())
		l.payloadMax = p.max()
	})
	require.Equal(t, 200<<10-1, c.MaxPayload())
	c.ClientsMaySend(64 << 10)
	require.Equal(t, 64<<10, c.MaxPayload())
}
