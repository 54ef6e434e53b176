package auth_test

// Served accounts: official KV clients with watches work in each, on the same buckets, and no account hears or touches what is another's.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/logtest"
)

const patience = 20 * time.Second

// tenants starts a cluster that serves APP and two more accounts, and returns a client of each.
func tenants(t *testing.T, change func(*auth.Options), bounds ...replica.Bounds) (r *realm, running []*replica.Replica, clients map[string]*party) {
	r = begin(t, func(o *auth.Options) { o.Tenants = []string{"team-a", "team-b"}; change(o) })
	for _, b := range bounds {
		r.bounds = b
	}
	var out logtest.Buffer
	running = r.start(&out)
	t.Cleanup(func() {
		require.NotContains(t, strings.ToLower(out.String()), "permission", "nodes were refused nothing")
	})
	for _, n := range running {
		require.Eventually(t, func() bool { return hostsEverywhere(n.Status()) }, patience, 5*time.Millisecond)
	}
	clients = map[string]*party{}
	for _, name := range []string{"client", "team-a", "team-b"} {
		clients[name] = r.connect(r.credentials()["users/"+name], nats.CustomInboxPrefix(busclient.InboxPrefix(name)))
	}
	return r, running, clients
}

func hostsEverywhere(s replica.Status) bool {
	there := s.Watches.Hosts == len(nodes) && len(s.Accounts) == 2
	for _, a := range s.Accounts {
		there = there && a.Connected && a.Refused == "" && a.Watches.Hosts == len(nodes)
	}
	return there
}

// within is as long as an answer may take: nats.go's own time is short for a busy machine.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func bucketOf(t *testing.T, p *party, name string, options ...jetstream.JetStreamOpt) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(p.Conn, options...)
	require.NoError(t, err)
	kv, err := js.CreateOrUpdateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: name, History: 64})
	require.NoError(t, err)
	return kv
}

// events takes values from a watcher, each with its key, until there are as many as wanted.
func events(t *testing.T, w jetstream.KeyWatcher, want int) (list []string) {
	t.Helper()
	for deadline := time.After(patience); len(list) < want; {
		select {
		case e := <-w.Updates():
			if e != nil {
				list = append(list, e.Key()+"="+string(e.Value()))
			}
		case <-deadline:
			require.Fail(t, "events are missing", "have %v", list)
		}
	}
	return list
}

// nothingMore holds a watcher to have no other event: those to come go to it after any that there was.
func nothingMore(t *testing.T, w jetstream.KeyWatcher, put func()) {
	t.Helper()
	put()
	require.Equal(t, []string{"last=1"}, events(t, w, 1))
}

func TestOfficialClientsWorkInEachAccount(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*auth.Options){"nkeys": func(*auth.Options) {}, "jwt": func(o *auth.Options) { o.JWT = true }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, running, clients := tenants(t, change)
			watchers := map[string]jetstream.KeyWatcher{}
			for who, p := range clients {
				w, err := bucketOf(t, p, "app").WatchAll(t.Context())
				require.NoError(t, err, who)
				watchers[who] = w
			}
			kv := bucketOf(t, clients["team-a"], "app")
			revision, err := kv.Put(within(t), "k", []byte("1"))
			require.NoError(t, err)
			revision, err = kv.Update(within(t), "k", []byte("2"), revision)
			require.NoError(t, err)
			_, err = kv.Update(within(t), "k", []byte("3"), revision-1)
			require.Error(t, err, "the revision is another")
			_, err = kv.Create(within(t), "other", []byte("x"))
			require.NoError(t, err)
			for who, p := range clients { // one namespace
				e, err := bucketOf(t, p, "app").Get(within(t), "k")
				require.NoError(t, err, who)
				require.Equal(t, "2", string(e.Value()), who)
				keys, err := bucketOf(t, p, "app").Keys(within(t))
				require.NoError(t, err, who)
				require.ElementsMatch(t, []string{"k", "other"}, keys, who)
				require.Equal(t, []string{"k=1", "k=2", "other=x"}, events(t, watchers[who], 3), who)
			}
			require.NoError(t, kv.Delete(within(t), "other"))
			put := func() { _, _ = bucketOf(t, clients["team-b"], "app").Put(within(t), "last", []byte("1")) }
			for who, w := range watchers {
				require.Equal(t, []string{"other="}, events(t, w, 1), who)
			}
			nothingMore(t, watchers["client"], put)
			for _, who := range []string{"team-a", "team-b"} {
				nothingMore(t, watchers[who], func() {})
			}
			requireServedApart(t, running)
		})
	}
}

// requireServedApart waits until the nodes serve one watcher in each account.
func requireServedApart(t *testing.T, running []*replica.Replica) {
	t.Helper()
	require.Eventually(t, func() bool {
		served := map[string]int{}
		for _, n := range running {
			s := n.Status()
			served[""] += s.Watches.Consumers
			for _, a := range s.Accounts {
				served[a.Name] += a.Watches.Consumers
			}
		}
		return served[""] == 1 && served["team-a"] == 1 && served["team-b"] == 1
	}, patience, 5*time.Millisecond)
}

// A tenant names another's inbox, and the subjects and names of another's watches: it hears nothing, lists nothing, and ends nothing.
func TestNoAccountReachesAnother(t *testing.T) {
	t.Parallel()
	r, _, clients := tenants(t, func(o *auth.Options) { o.Anonymous = true })
	a, b, app := clients["team-a"], clients["team-b"], clients["client"]
	kv := bucketOf(t, a, "app")
	heard := (&listener{}).on(b, "_INBOX_team-b.>")
	spy := (&listener{}).on(r.connect(auth.NoCredentials), "_INBOX.>") // of APP
	for _, subject := range []string{"_INBOX_team-a.>", "_INBOX_client.>", "raftbus.kv.>", ">"} {
		_, err := b.Subscribe(subject, func(*nats.Msg) {})
		require.NoError(t, err)
		require.NoError(t, b.Flush())
		b.requireRefused("team-b", subject)
	}
	mine, err := a.SubscribeSync("_INBOX_team-a.w")
	require.NoError(t, err)
	for _, deliver := range []string{"_INBOX_team-b.w", "_INBOX_client.w", "_INBOX.w", mine.Subject} {
		require.NoError(t, a.Publish("raftbus.kv.watch.app", fmt.Appendf(nil, `{"deliver":%q}`, deliver)))
	}
	create := func(p *party, deliver string) string {
		return request(t, p, "$JS.API.CONSUMER.CREATE.KV_app.w.$KV.app.>",
			fmt.Sprintf(`{"stream_name":"KV_app","config":{"name":"w","ack_policy":"none","deliver_policy":"new","filter_subject":"$KV.app.>","deliver_subject":%q,"inactive_threshold":60000000000}}`, deliver))
	}
	require.Contains(t, create(a, mine.Subject), `"name":"w"`)
	_, err = b.SubscribeSync("_INBOX_team-b.own")
	require.NoError(t, err)
	require.Contains(t, create(b, "_INBOX_team-b.own"), `"name":"w"`, "the name is not taken: it is another account's")
	require.Contains(t, request(t, b, "$JS.API.CONSUMER.NAMES.KV_app", ""), `"consumers":["w"]`)
	require.Contains(t, request(t, b, "$JS.API.CONSUMER.LIST.KV_app", ""), `_INBOX_team-b.own`)
	require.NotContains(t, request(t, b, "$JS.API.CONSUMER.LIST.KV_app", ""), `team-a`)
	require.Contains(t, request(t, b, "$JS.API.CONSUMER.INFO.KV_app.w", ""), `_INBOX_team-b.own`)
	require.Contains(t, request(t, app, "$JS.API.CONSUMER.NAMES.KV_app", ""), `"total":0`)
	for _, p := range []*party{b, app} {
		for _, name := range []string{"w@team-a", "w@"} {
			require.Contains(t, request(t, p, "$JS.API.CONSUMER.DELETE.KV_app."+name, ""), `"err_code":10014`, "there is none of that name")
			require.Contains(t, request(t, p, "$JS.API.CONSUMER.INFO.KV_app."+name, ""), `"err_code":10014`)
			require.Contains(t, request(t, p, "raftbus.kv.unwatch.app", fmt.Sprintf(`{"watch":%q}`, name)), "no watch")
		}
	}
	require.Contains(t, request(t, b, "$JS.API.CONSUMER.DELETE.KV_app.w", ""), `"success":true`)
	require.Contains(t, request(t, a, "$JS.API.CONSUMER.INFO.KV_app.w", ""), mine.Subject, "its own is there still")
	_, err = kv.Put(within(t), "k", []byte("secret"))
	require.NoError(t, err)
	for { // deliveries of a's watch, and so what went before them, have arrived
		m, err := mine.NextMsg(patience)
		require.NoError(t, err)
		if m.Subject == "$KV.app.k" {
			require.Contains(t, m.Reply, ".w.", "the name that its client gave it")
			break
		}
	}
	var begun struct{ Watch string }
	require.NoError(t, json.Unmarshal([]byte(request(t, a, "raftbus.kv.watch.app", `{"deliver":"_INBOX_team-a.w"}`)), &begun))
	require.Contains(t, request(t, b, "raftbus.kv.unwatch.app", fmt.Sprintf(`{"watch":%q}`, begun.Watch)), "no watch")
	require.Contains(t, request(t, a, "raftbus.kv.unwatch.app", fmt.Sprintf(`{"watch":%q}`, begun.Watch)), begun.Watch)
	for _, l := range []*listener{heard, spy} {
		require.NoError(t, l.party.Flush())
		require.False(t, slices.ContainsFunc(l.all(), func(text string) bool { return strings.Contains(text, "secret") }), "%v", l.all())
	}
}

// leaderOf waits until one leads: leadership may be moving.
func leaderOf(t *testing.T, running []*replica.Replica) (at int) {
	t.Helper()
	require.Eventually(t, func() bool {
		at = slices.IndexFunc(running, func(n *replica.Replica) bool { return n.Status().Role == "leader" })
		return at >= 0
	}, patience, time.Millisecond)
	return at
}

// The leader is gone from one moment to the next, and comes back: clients and watchers of all accounts go on, and miss nothing.
func TestAccountsOutliveTheLeader(t *testing.T) {
	t.Parallel()
	r, running, clients := tenants(t, func(*auth.Options) {})
	watchers := map[string]jetstream.KeyWatcher{}
	for who, p := range clients {
		w, err := bucketOf(t, p, "app").WatchAll(t.Context())
		require.NoError(t, err)
		watchers[who] = w
	}
	putSurely(t, clients["team-a"], "before")
	for who, w := range watchers {
		require.Equal(t, []string{"before=1"}, events(t, w, 1), who)
	}
	at := leaderOf(t, running)
	r.wire(nodes[at]).cut()
	for _, who := range []string{"client", "team-a", "team-b"} {
		putSurely(t, clients[who], "by-"+who)
	}
	r.wire(nodes[at]).heal()
	for who, w := range watchers {
		require.Equal(t, []string{"by-client=1", "by-team-a=1", "by-team-b=1"}, events(t, w, 3), who)
	}
}

// The leader stops as it should: no client of any account loses a request.
func TestAPlannedStopLosesNoRequestOfAnyAccount(t *testing.T) { // alone: an election that a crowded machine causes would lose some
	_, running, clients := tenants(t, func(*auth.Options) {})
	kv := bucketOf(t, clients["client"], "app")
	stopped, done := make(chan struct{}), make(chan error, len(clients))
	for who, p := range clients {
		go func() { done <- keepPutting(p, who, stopped) }()
	}
	for who := range clients {
		require.Eventually(t, func() bool { _, err := kv.Get(within(t), who); return err == nil }, patience, time.Millisecond, "it has begun")
	}
	at := leaderOf(t, running)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, running[at].Stop(ctx))
	close(stopped)
	for range clients {
		require.NoError(t, <-done)
	}
}

// keepPutting puts one value after the other until it is told to stop, and then once more. 'No responders' is asked again; what is not answered
// is an error.
func keepPutting(p *party, key string, stop <-chan struct{}) error {
	for last := false; ; {
		m, err := p.Request("raftbus.kv.put.app."+key, []byte("1"), 10*time.Second)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			time.Sleep(time.Millisecond)
			continue
		case err != nil:
			return err
		case !strings.Contains(string(m.Data), `"revision"`):
			return errors.New(string(m.Data))
		case last:
			return nil
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}

// wire is how a node reaches NATS.
type wire struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

// wire is that of a node.
func (r *realm) wire(id string) *wire {
	if r.wires == nil {
		r.wires = map[string]*wire{}
	}
	if r.wires[id] == nil {
		r.wires[id] = &wire{}
	}
	return r.wires[id]
}

// Dial implements nats.CustomDialer.
func (w *wire) Dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return nil, errors.New("the wire is cut")
	}
	conn, err := net.Dial(network, address)
	if err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, conn := range w.conns {
		_ = conn.Close() // its user may have closed it
	}
	w.conns = nil
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// putSurely creates a key, and asks again until somebody has.
func putSurely(t *testing.T, p *party, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		m, err := p.Request("raftbus.kv.create.app."+key, []byte("1"), time.Second)
		return err == nil && strings.Contains(string(m.Data), `revision":`)
	}, patience, 10*time.Millisecond)
}

// Q12: an account may have so many watches on all nodes, by either door, and takes none from others.
func TestWatchesOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	_, running, clients := tenants(t, func(*auth.Options) {}, replica.Bounds{Watches: 3})
	a := clients["team-a"]
	kv := bucketOf(t, a, "app")
	var watchers []jetstream.KeyWatcher
	for n := 1; n <= 3; n++ {
		w, err := kv.WatchAll(t.Context())
		require.NoError(t, err)
		watchers = append(watchers, w)
		require.Eventually(t, func() bool { return seenByAll(running, "team-a", n) }, patience, time.Millisecond)
	}
	_, err := kv.WatchAll(t.Context())
	require.ErrorContains(t, err, "maximum consumers limit reached")
	require.Contains(t, request(t, a, "raftbus.kv.watch.app", `{"deliver":"_INBOX_team-a.w"}`), `"err_code":30027`)
	for _, who := range []string{"client", "team-b"} {
		_, err := bucketOf(t, clients[who], "app").WatchAll(t.Context())
		require.NoError(t, err, who)
	}
	require.NoError(t, watchers[0].Stop())
	require.Eventually(t, func() bool { _, err := kv.WatchAll(t.Context()); return err == nil }, patience, 10*time.Millisecond, "there is room again")
}

// seenByAll reports whether each node, and so the leader, knows of so many watches in an account.
func seenByAll(running []*replica.Replica, account string, n int) bool {
	for _, r := range running {
		for _, a := range r.Status().Accounts {
			if a.Name == account && a.Watches.Account != n {
				return false
			}
		}
	}
	return true
}

// Credentials of an account that is served already, under another name: nothing is done twice.
func TestOneAccountIsServedOnce(t *testing.T) {
	t.Parallel()
	r := begin(t, func(*auth.Options) {})
	r.more = func(f *auth.Folder) []replica.Account {
		return []replica.Account{{Name: "again", Clients: f.Clients, Leaf: f.Leaf}}
	}
	var out logtest.Buffer
	running := r.start(&out)
	for _, n := range running {
		require.Eventually(t, func() bool { return strings.Contains(n.Status().Accounts[0].Refused, "one account of NATS") }, patience, time.Millisecond)
	}
	require.Contains(t, out.String(), "an account is not served")
	client := r.connect(r.credentials()["users/client"], nats.CustomInboxPrefix(busclient.InboxPrefix("client")))
	kv := bucketOf(t, client, "app")
	require.Eventually(t, func() bool {
		before, err := kv.Put(within(t), "k", []byte("1"))
		require.NoError(t, err)
		after, err := kv.Put(within(t), "k", []byte("2"))
		require.NoError(t, err)
		return after == before+1
	}, patience, time.Millisecond, "once the second has stopped listening")
}

// A JetStream of an account ends what is served there, and nothing else.
func TestAJetStreamOfOneAccountStopsNoOther(t *testing.T) {
	t.Parallel()
	r := begin(t, func(o *auth.Options) { o.Tenants = []string{"team-a", "team-b"} })
	other := r.connect(r.credentials()["nodes/n2/tenants/team-a/clients"])
	_, err := other.Subscribe("$JS.API.INFO", func(m *nats.Msg) { _ = m.Respond([]byte(`{}`)) })
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	var out logtest.Buffer
	running := r.start(&out)
	for _, n := range running {
		require.Eventually(t, func() bool {
			s := n.Status()
			return strings.Contains(s.Accounts[0].Refused, "a JetStream answers") && s.Accounts[1].Refused == "" && s.Accounts[1].Watches.Hosts == len(nodes)
		}, patience, time.Millisecond)
		require.Contains(t, strings.Join(n.Health().Warnings, "\n"), "account team-a is not served")
	}
	for _, who := range []string{"client", "team-b"} {
		useKeys(t, r.connect(r.credentials()["users/"+who], nats.CustomInboxPrefix(busclient.InboxPrefix(who))), "of-"+who)
	}
	a := r.connect(r.credentials()["users/team-a"], nats.CustomInboxPrefix(busclient.InboxPrefix("team-a")))
	_, err = a.Request("raftbus.kv.get.of-client.k", nil, time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// A node's folder of tenants may be mounted, by Kubernetes with folders of its own beside them.
func TestWhatBeginsWithADotIsNoTenant(t *testing.T) {
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	dir := filepath.Join(o.Dir, "nodes", "n1")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tenants", "..2026_11_29"), 0o700))
	require.NoError(t, os.Symlink("..2026_11_29", filepath.Join(dir, "tenants", "..data")))
	folder, err := auth.Open(dir)
	require.NoError(t, err)
	require.Len(t, folder.Tenants, 2)
}
