package leaf

// On real servers: what arrives at clients and what they listen on, before and after the connection, across a cluster and a restart.

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// ack is the reply by which a server makes the subject of a delivery.
func ack(revision int, subject string) string {
	return fmt.Sprintf("$JS.ACK.KV_app.c1.1.%d.%d.1795415661628117949.0@%s", revision, revision, subject)
}

func requireDelivery(t testing.TB, sub *nats.Subscription, revision int, subject, value string) *nats.Msg {
	t.Helper()
	m := next(t, sub)
	require.Equal(t, subject, m.Subject)
	require.Equal(t, fmt.Sprintf("$JS.ACK.KV_app.c1.1.%d.%d.1795415661628117949.0", revision, revision), m.Reply)
	require.Equal(t, value, string(m.Data))
	return m
}

// The reason for this package: the client sees the key as the subject, and the reply without it.
func TestADeliveryHasTheSubjectOfItsKey(t *testing.T) {
	s := startNATS(t)
	c := dial(t, s.LeafURL())
	sub := subscribe(t, client(t, s.URL()), "_INBOX.x")
	awaitInterest(t, c, "_INBOX.x", true)

	require.NoError(t, c.Publish("_INBOX.x", ack(5, "$KV.app.the.key"), nil, []byte("value")))
	require.NoError(t, c.Publish("_INBOX.x", ack(6, "$KV.app.a@b"), []byte("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"), nil))
	require.NoError(t, c.Publish("_INBOX.x", "", []byte("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 6\r\n\r\n"), nil))

	requireDelivery(t, sub, 5, "$KV.app.the.key", "value")
	require.Equal(t, "DEL", requireDelivery(t, sub, 6, "$KV.app.a@b", "").Header.Get("KV-Operation"))
	heartbeat := next(t, sub)
	require.Equal(t, "_INBOX.x", heartbeat.Subject, "what is no delivery keeps its subject")
	require.Equal(t, "100", heartbeat.Header.Get("Status"))
	require.Equal(t, "6", heartbeat.Header.Get("Nats-Last-Consumer"))
}

// An ordinary connection cannot: when it can, this package is not needed.
func TestAClientConnectionCannotDeliver(t *testing.T) {
	s := startNATS(t)
	refused := make(chan error, 1)
	nc := client(t, s.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	require.NoError(t, nc.PublishRequest("_INBOX.x", ack(5, "$KV.app.the.key"), []byte("value")))
	require.ErrorContains(t, await(t, "refused", refused), "Permissions Violation for Publish with Reply")
}

func TestADeliveryCrossesACluster(t *testing.T) {
	servers, err := embedded.StartCluster(2, embedded.Options{LeafPort: embedded.Random})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	sub := subscribe(t, client(t, servers[1].URL()), "_INBOX.far.*")
	c := dial(t, servers[0].LeafURL())
	awaitInterest(t, c, "_INBOX.far.1", true)
	require.NoError(t, c.Publish("_INBOX.far.1", ack(7, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 7, "$KV.app.k", "v")
	require.NoError(t, sub.Unsubscribe())
	awaitInterest(t, c, "_INBOX.far.1", false)
}

// A server of a cluster says who else belongs to it: the connection moves when its server goes.
func TestTheConnectionMovesToAnotherServerOfTheCluster(t *testing.T) {
	servers, err := embedded.StartCluster(2, embedded.Options{LeafPort: embedded.Random})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	sub := subscribe(t, client(t, servers[1].URL()), "_INBOX.x")
	c := dial(t, servers[0].LeafURL())
	awaitInterest(t, c, "_INBOX.x", true)
	servers[0].Shutdown()
	eventually(t, "moved", func() bool { return isUp(c) && c.now.Load().link.greeting.Name == "s2" })
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(1, "$KV.app.k"), nil, nil))
	requireDelivery(t, sub, 1, "$KV.app.k", "")
}

func TestInterestIsThatOfClientsBeforeAndAfterTheConnection(t *testing.T) {
	s := startNATS(t)
	nc := client(t, s.URL())
	before := subscribe(t, nc, "_INBOX.before")
	subscribe(t, nc, "_INBOX.mux.*")
	subscribe(t, nc, "all.of.>")
	_, err := nc.QueueSubscribeSync("_INBOX.group", "g")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	var e events
	c := dial(t, s.LeafURL(), e.into)
	require.True(t, c.interest.interested("_INBOX.before"), "when it is up all is known")
	require.True(t, c.interest.interested("_INBOX.mux.17"))
	require.False(t, c.interest.interested("_INBOX.mux.17.1"))
	require.False(t, c.interest.interested("_INBOX.mux"))
	require.True(t, c.interest.interested("all.of.them.and.more"))
	require.False(t, c.interest.interested("_INBOX.group"), "what a leaf publishes does not reach a queue group")
	require.False(t, c.interest.interested("_INBOX.after"))
	eventually(t, "up", func() bool { return len(e.take()) == 1 })

	require.True(t, c.Watch("_INBOX.before"))
	require.False(t, c.Watch("_INBOX.after"))
	require.False(t, c.Watch("_INBOX.later.1"))
	after := subscribe(t, nc, "_INBOX.after")
	later := subscribe(t, nc, "_INBOX.later.*")
	require.NoError(t, before.Unsubscribe())
	require.NoError(t, nc.Flush())
	var heard []string
	eventually(t, "three changes", func() bool { heard = append(heard, e.take()...); return len(heard) >= 3 })
	require.ElementsMatch(t, []string{"_INBOX.after true", "_INBOX.later.1 true", "_INBOX.before false"}, heard)

	c.Unwatch("_INBOX.after")
	require.NoError(t, after.Unsubscribe())
	require.NoError(t, later.Unsubscribe())
	require.NoError(t, nc.Flush())
	awaitInterest(t, c, "_INBOX.after", false)
	awaitInterest(t, c, "_INBOX.later.1", false)
	heard = nil
	eventually(t, "one change", func() bool { heard = append(heard, e.take()...); return len(heard) > 0 })
	require.Equal(t, []string{"_INBOX.later.1 false"}, heard, "nobody watches the other any more")
}

// F5: the server restarts. What it said before is replaced by what it says now, and told as a difference.
func TestInterestIsReplacedWhenTheServerIsBack(t *testing.T) {
	s := startNATS(t)
	stays, goes := client(t, s.URL()), client(t, s.URL())
	sub := subscribe(t, stays, "_INBOX.stays")
	subscribe(t, goes, "_INBOX.goes")
	var e events
	got := make(chan string, 1)
	c := dial(t, s.LeafURL(), e.into, hears("$JS.FC.>", got, subjectOfMessage))
	require.True(t, c.Watch("_INBOX.stays"))
	require.True(t, c.Watch("_INBOX.goes"))
	require.False(t, c.Watch("_INBOX.comes"))
	e.take()

	leafPort := portOf(t, s.LeafURL())
	s.Shutdown()
	eventually(t, "down", func() bool { return !isUp(c) })
	require.False(t, c.interest.interested("_INBOX.stays"))
	require.ErrorIs(t, c.Publish("_INBOX.stays", "", nil, []byte("lost")), ErrDisconnected)
	require.True(t, c.Watch("_INBOX.stays"), "what was told stands until there is news")
	goes.Close()

	startNATS(t, func(o *embedded.Options) { o.Port, o.LeafPort = s.Port(), leafPort })
	var list []string
	eventually(t, "told of it", func() bool { list = append(list, e.take()...); return slices.Contains(list, "up true") })
	awaitUp(t, c)
	awaitInterest(t, c, "_INBOX.stays", true)
	require.False(t, c.interest.interested("_INBOX.goes"))
	subscribe(t, client(t, s.URL()), "_INBOX.comes")
	awaitInterest(t, c, "_INBOX.comes", true)
	require.Equal(t, 1, disconnectsOf(c))
	require.Zero(t, c.LastError())

	last := map[string]bool{}
	list = append(list, e.take()...)
	require.Equal(t, "up false", list[0])
	require.Contains(t, list, "up true")
	require.Less(t, slices.Index(list, "_INBOX.goes false"), slices.Index(list, "up true"), "who listens no more is known before anything is sent: %v", list)
	for _, event := range list {
		var subject string
		var interested bool
		_, err := fmt.Sscanf(event, "%s %t", &subject, &interested)
		require.NoError(t, err)
		require.False(t, last[subject] == interested && subject == "_INBOX.comes", "no news is not told: %v", list)
		last[subject] = interested
	}
	require.False(t, last["_INBOX.goes"])
	require.True(t, last["_INBOX.comes"])

	require.NoError(t, c.Publish("_INBOX.stays", ack(9, "$KV.app.k"), nil, []byte("new")))
	requireDelivery(t, sub, 9, "$KV.app.k", "new") // and not what was published in between
	require.NoError(t, stays.Publish("$JS.FC.KV_app.c1.t1", nil))
	require.Equal(t, "$JS.FC.KV_app.c1.t1", await(t, "the subscription was said anew", got))
}

func portOf(t testing.TB, s string) int {
	u, err := url.Parse(s)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	return port
}

// A client answers a flow-control request by its reply: that is what a leaf must hear.
func TestFlowControlIsAnswered(t *testing.T) {
	s := startNATS(t)
	answers := make(chan string, 1)
	c := dial(t, s.LeafURL(), hears("$JS.FC.>", answers, subjectOfMessage))
	nc := client(t, s.URL())
	_, err := nc.Subscribe("_INBOX.x", func(m *nats.Msg) { _ = m.Respond(nil) })
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", "$JS.FC.KV_app.c1.t7", []byte("NATS/1.0 100 FlowControl Request\r\n\r\n"), nil))
	require.Equal(t, "$JS.FC.KV_app.c1.t7", await(t, "an answer", answers))
}

// All the forms in which a message arrives: plain, with a reply, with headers.
func TestMessagesArrive(t *testing.T) {
	s := startNATS(t)
	got := make(chan string, 16)
	dial(t, s.LeafURL(), hears("plain.*", got, func(m Message) string {
		return fmt.Sprintf("%s %s %q %s", m.Subject, m.Reply, m.Header, m.Data)
	}))
	nc := client(t, s.URL())
	header := nats.Header{"A": {"b"}}
	expect := func(want string) {
		t.Helper()
		require.Equal(t, want, await(t, want, got))
	}
	require.NoError(t, nc.Publish("plain.1", []byte("x")))
	expect(`plain.1  "" x`)
	require.NoError(t, nc.PublishRequest("plain.1", "_INBOX.r", nil))
	expect(`plain.1 _INBOX.r "" `)
	require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: "plain.1", Header: header, Data: []byte("x")}))
	expect(`plain.1  "NATS/1.0\r\nA: b\r\n\r\n" x`)
	require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: "plain.1", Reply: "_INBOX.r", Header: header}))
	expect(`plain.1 _INBOX.r "NATS/1.0\r\nA: b\r\n\r\n" `)
	for _, other := range []string{"plain", "plain.1.2", "other"} {
		require.NoError(t, nc.Publish(other, []byte("x")))
	}
	require.NoError(t, nc.Publish("plain.2", []byte("y")))
	expect(`plain.2  "" y`) // and nothing before it
}

// What a server does not carry over a leaf does not arrive: design section 4 rests on it.
func TestAPIRequestsAreNotCarried(t *testing.T) {
	s := startNATS(t)
	got := make(chan string, 16)
	dial(t, s.LeafURL(), hears(">", got, subjectOfMessage))
	nc := client(t, s.URL())
	for _, subject := range []string{"$KV.app.k", "$JS.API.INFO", "$JS.raftbus.API.INFO"} {
		require.NoError(t, nc.Publish(subject, nil))
	}
	require.Equal(t, "$JS.raftbus.API.INFO", await(t, "only the one with a domain", got))
}

func TestTheOrderOfPublishesIsKept(t *testing.T) {
	s := startNATS(t)
	c := dial(t, s.LeafURL())
	nc := client(t, s.URL())
	sub := subscribe(t, nc, "_INBOX.x")
	require.NoError(t, sub.SetPendingLimits(-1, -1))
	awaitInterest(t, c, "_INBOX.x", true)
	const n = 20000
	for i := range n {
		for {
			err := c.Publish("_INBOX.x", ack(i, "$KV.app.k"), nil, []byte(strconv.Itoa(i)))
			if err == nil {
				break
			}
			require.ErrorIs(t, err, ErrFull)
			eventually(t, "room", func() bool { return waiting(c) == 0 })
		}
	}
	for i := range n {
		require.Equal(t, strconv.Itoa(i), string(next(t, sub).Data))
	}
}

func TestMaxPayloadIsTheServers(t *testing.T) {
	s := startNATS(t, func(o *embedded.Options) { o.MaxPayload = 4096 })
	c := begin(t, s.LeafURL())
	awaitUp(t, c)
	require.Equal(t, 4096, c.MaxPayload())
	sub := subscribe(t, client(t, s.URL()), "a")
	awaitInterest(t, c, "a", true)
	require.NoError(t, c.Publish("a", "", nil, make([]byte, 4096)))
	require.ErrorIs(t, c.Publish("a", "", nil, make([]byte, 4097)), ErrTooLarge)
	require.ErrorIs(t, c.Publish("a", "", []byte("NATS/1.0\r\n\r\n"), make([]byte, 4096)), ErrTooLarge)
	require.Len(t, next(t, sub).Data, 4096)
	require.Zero(t, disconnectsOf(c))
}

func TestWhatIsNoSubjectIsRefused(t *testing.T) {
	s := startNATS(t)
	c := dial(t, s.LeafURL())
	for _, subject := range []string{"", "a b", "who pulls", "a\r\nLS+ x", "a..b", ".a", "a.", "a.*", ">", "$LDS.x", string(make([]byte, 1<<15))} {
		require.ErrorIs(t, c.Publish(subject, "", nil, nil), ErrSubject, "%q", subject)
	}
	for _, reply := range []string{"a b", "a\r\n", "+", "|", strings.Repeat("x", 17<<10)} {
		require.ErrorIs(t, c.Publish("a", reply, nil, nil), ErrSubject, "%q", reply)
	}
	sub := subscribe(t, client(t, s.URL()), "a*b.*")
	awaitInterest(t, c, "a*b.c>", true)
	require.NoError(t, c.Publish("a*b.c>", "", nil, nil), "a wildcard is a token of its own")
	require.Equal(t, "a*b.c>", next(t, sub).Subject)
	require.Zero(t, disconnectsOf(c))
}

// Two leaves of one server hear each other, and are not taken for one.
func TestLeavesOfOneServerHearEachOther(t *testing.T) {
	s := startNATS(t)
	got := make(chan string, 1)
	a := dial(t, s.LeafURL())
	dial(t, s.LeafURL(), hears("to.b", got, dataOf))
	awaitInterest(t, a, "to.b", true)
	require.NoError(t, a.Publish("to.b", "", nil, []byte("hello")))
	require.Equal(t, "hello", await(t, "from a", got))
}

// config writes a server's configuration file.
func config(t testing.TB, text string) func(*embedded.Options) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return func(o *embedded.Options) { o.ConfigFile = file }
}

// A leaf belongs to one account, and hears and speaks to the clients of that one only.
func TestALeafBelongsToOneAccount(t *testing.T) {
	s := startNATS(t, config(t, `
accounts {
  APP { users [{user: app, password: x}, {user: leaf, password: y}] }
  OTHER { users [{user: other, password: x}] }
}`))
	c := dial(t, s.LeafURL(), asUser("leaf", "y"))
	require.False(t, c.Watch("_INBOX.x"))
	other := subscribe(t, client(t, s.URL(), nats.UserInfo("other", "x")), "_INBOX.x")
	ours := client(t, s.URL(), nats.UserInfo("app", "x"))
	subscribe(t, ours, "_INBOX.y")
	awaitInterest(t, c, "_INBOX.y", true)
	require.False(t, c.interest.interested("_INBOX.x"))
	sub := subscribe(t, ours, "_INBOX.x")
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(1, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 1, "$KV.app.k", "v")
	_, err := other.NextMsg(50 * time.Millisecond)
	require.ErrorIs(t, err, nats.ErrTimeout)
}

// A server cuts a leaf for one message that its user may not publish: the message is refused here, and the connection stays.
func TestAForbiddenSubjectIsRefusedAndCutsNothing(t *testing.T) {
	users := config(t, `
authorization { users [
  {user: app, password: x},
  {user: leaf, password: y, permissions: {publish: {allow: ["_INBOX.>"], deny: ["_INBOX.secret"]}, subscribe: ["$JS.FC.>"]}}
]}`)
	s := startNATS(t, users)
	for _, subject := range []string{"forbidden", "$JS.>"} {
		c := dial(t, s.LeafURL(), asUser("leaf", "y"), func(o *Options) { o.Subject = subject })
		require.Contains(t, c.LastError(), fmt.Sprintf("grant it: subscribe %q", subject))
	}
	answers := make(chan string, 1)
	c := dial(t, s.LeafURL(), asUser("leaf", "y"), hears("$JS.*.>", answers, subjectOfMessage))
	require.ErrorIs(t, c.Publish("raftbus.rpc.n1.n2.AppendLog", "", nil, nil), ErrPermission)
	require.ErrorIs(t, c.Publish("_INBOX.secret", "", nil, nil), ErrPermission)
	require.ErrorContains(t, c.Publish("elsewhere", "", nil, nil), `grant it: publish "elsewhere"`)

	nc := client(t, s.URL(), nats.UserInfo("app", "x"))
	sub := subscribe(t, nc, "_INBOX.x")
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(1, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 1, "$KV.app.k", "v")
	require.NoError(t, nc.Publish("$JS.FC.KV_app.c1.t1", nil))
	require.Equal(t, "$JS.FC.KV_app.c1.t1", await(t, "an answer", answers))
	require.Zero(t, disconnectsOf(c))

	leafPort := portOf(t, s.LeafURL())
	s.Shutdown()
	eventually(t, "down", func() bool { return !isUp(c) })
	startNATS(t, users, func(o *embedded.Options) { o.Port, o.LeafPort = s.Port(), leafPort })
	awaitUp(t, c)
	require.Contains(t, c.LastError(), "grant it: subscribe", "said anew")
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(2, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 2, "$KV.app.k", "v")
	require.Equal(t, 1, disconnectsOf(c))
}

// A server that runs JetStream itself is no hindrance, nor are its own streams.
func TestAServerWithJetStreamCarriesTheSame(t *testing.T) {
	s := startNATS(t, func(o *embedded.Options) { o.StoreDir = t.TempDir() })
	got := make(chan string, 2)
	c := dial(t, s.LeafURL(), hears("$JS.*.>", got, subjectOfMessage))
	nc := client(t, s.URL())
	sub := subscribe(t, nc, "_INBOX.x")
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(1, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 1, "$KV.app.k", "v")
	for _, subject := range []string{"$JS.FC.KV_app.c1.t1", "$JS.raftbus.API.INFO"} {
		require.NoError(t, nc.Publish(subject, nil))
		require.Equal(t, subject, await(t, subject, got))
	}
}

// A subscription that there is no room to tell the server of would never be heard on: the connection is given up.
func TestASubscriptionThatFindsNoRoomEndsTheConnection(t *testing.T) {
	o := newOutbound(outboundBytesMin)
	o.begin()
	s := session{Conn: &Conn{out: o, settings: settings{Options: Options{Subject: "late"}}}}
	o.pending = make([]byte, o.bound()+controlBytesMax-len("PING\r\n")) // as if the server had read nothing for long
	require.Equal(t, errStuck, s.welcomed(nil))
}

// L9: a server is asked again within a second, however long it was away.
func TestTheWaitForAServerIsBounded(t *testing.T) {
	var waits []time.Duration
	for wait := time.Duration(0); len(waits) < 5; waits = append(waits, wait) {
		wait = nextWait(wait, 0)
	}
	const ms = time.Millisecond
	require.Equal(t, []time.Duration{100 * ms, 200 * ms, 400 * ms, 500 * ms, 500 * ms}, waits)
	require.Equal(t, 100*ms, nextWait(500*ms, time.Second), "it was there meanwhile")
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		least, most = min(least, spread(500*ms)), max(most, spread(500*ms))
	}
	require.GreaterOrEqual(t, least, 250*ms)
	require.Less(t, most, 750*ms)
	require.Greater(t, most-least, 400*ms, "nodes that lost one server do not all come back at once")
}
