package auth_test

// The configurations that auth init makes, on a real NATS server: everybody tries everything that is not theirs, and a cluster and its
// clients do what is.

import (
	"flag"
	"fmt"
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
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/logtest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "3") // they mostly wait, for elections and the disk; -parallel says otherwise
	leaktest.Main(m)
}

var nodes = []string{"n1", "n2", "n3"}

// layouts are the ways to lay a deployment out.
var layouts = []struct {
	name   string
	change func(*auth.Options)
}{
	{"two accounts", func(o *auth.Options) {
		o.Anonymous, o.Tenants, o.Guests = true, []string{"team-a", "team-b"}, []string{"visitors"}
	}},
	{"one account", func(o *auth.Options) { o.OneAccount, o.Anonymous, o.Guests = true, true, []string{"visitors"} }},
	{"jwt", func(o *auth.Options) {
		o.JWT, o.Tenants, o.Guests = true, []string{"team-a", "team-b"}, []string{"visitors"}
	}},
}

func options(t testing.TB, change func(*auth.Options)) auth.Options {
	o := auth.Options{
		Dir: t.TempDir(), Nodes: nodes, Prefix: "raftbus", DefaultAPI: true, Republish: []string{"news.>"},
		Listen: "127.0.0.1:4222", ListenLeaf: "127.0.0.1:7422", URL: "nats://127.0.0.1:4222", Owner: -1,
	}
	change(&o)
	return o
}

// realm is a server with what auth init made.
type realm struct {
	t      testing.TB
	dir    string
	server *embedded.Server
	// servers are those of a NATS cluster, one a node; nil: server is all nodes'.
	servers []*embedded.Server
	// options are the nodes', besides their credentials.
	options []nats.Option
	bounds  replica.Bounds
	wires   map[string]*wire                     // of each node
	more    func(*auth.Folder) []replica.Account // served beside those of the folder
}

func begin(t testing.TB, change func(*auth.Options)) *realm {
	o := options(t, change)
	require.NoError(t, auth.Init(&o))
	return &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
}

func serve(t testing.TB, dir string) *embedded.Server {
	return natstest.Run(t, embedded.Options{ConfigFile: filepath.Join(dir, "nats", "server.conf"), Host: "127.0.0.1", Port: embedded.Random, LeafPort: embedded.Random})
}

// credentials lists all that there are, and nobody's.
func (r *realm) credentials() map[string]nats.Option {
	list := map[string]nats.Option{}
	for _, pattern := range []string{"nodes/*/*", "nodes/*/tenants/*/*", "users/*"} {
		files, err := filepath.Glob(filepath.Join(r.dir, pattern))
		require.NoError(r.t, err)
		for _, file := range files {
			name, err := filepath.Rel(r.dir, strings.TrimSuffix(strings.TrimSuffix(file, ".nk"), ".creds"))
			require.NoError(r.t, err)
			switch filepath.Ext(file) {
			case ".nk":
				list[name], err = nats.NkeyOptionFromSeed(file)
				require.NoError(r.t, err)
			case ".creds":
				list[name] = nats.UserCredentials(file)
			}
		}
	}
	if list["users/anonymous"] != nil {
		list["nobody"] = auth.NoCredentials
	}
	return list
}

// party is a connection, and what NATS refused it.
type party struct {
	*nats.Conn
	t       testing.TB
	mu      sync.Mutex
	refused []string
}

func (r *realm) connect(who nats.Option, more ...nats.Option) *party {
	p := &party{t: r.t}
	var err error
	p.Conn, err = nats.Connect(r.server.URL(), append(more, who, nats.Timeout(patience), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refused = append(p.refused, err.Error())
	}))...)
	require.NoError(r.t, err)
	r.t.Cleanup(p.Close)
	return p
}

// requireRefused waits until NATS has refused the subject.
func (p *party) requireRefused(who, subject string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, text := range p.refused {
			if strings.Contains(strings.ToLower(text), strings.ToLower(`"`+subject+`"`)) {
				return true
			}
		}
		return false
	}, patience, time.Millisecond, "%s may use %s", who, subject)
}

func (p *party) refusals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.refused)
}

// listener takes what reaches the subjects of a node, with that node's own credentials.
type listener struct {
	party *party
	mu    sync.Mutex
	heard []string
}

func (l *listener) on(p *party, subjects ...string) *listener {
	l.party = p
	for _, subject := range subjects {
		_, err := p.Subscribe(subject, func(m *nats.Msg) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, m.Subject+" "+string(m.Data))
		})
		require.NoError(p.t, err)
	}
	require.NoError(p.t, p.Flush())
	return l
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.heard...)
}

// Q1, Q2, Q5, Q9: forged votes, acks, replies and orders, with every credential that is not the right one.
func TestForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, layout.change)
			all := r.credentials()
			peers := (&listener{}).on(r.connect(all["nodes/n2/peers"]), "raftbus.rpc.n2.>", "raftbus.rpc._all.>")
			leader := (&listener{}).on(r.connect(all["nodes/n2/clients"]), "raftbus.admin.>", "raftbus.node.n2.>", "raftbus.node._all.>")
			requireOneAnswer(t, r.connect(all["nodes/n1/clients"]), r.connect(all["users/client"]))
			for who, credential := range all {
				p := r.connect(credential)
				for _, subject := range []string{
					"raftbus.rpc.n2.n1.RequestVote", "raftbus.rpc.n2.n1.AppendLog", "raftbus.rpc.n2.n1.InstallSnapshot", "raftbus.rpc.n2.n1.TimeoutNow",
					"raftbus.rpc.n2.n1.Return.x.1", "raftbus.rpc.n2._all.Return.x.1", "raftbus.rpc._all.n1.CommitLog",
					"raftbus.admin.reconfigure", "raftbus.admin.transfer", "raftbus.node._all.consumers.n1", "raftbus.node.n2._inbox.x",
					"_INBOX.x", "_INBOX_admin.x", "$SYS.REQ.SERVER.PING", "$SRV.PING", "$KV.app.k", "$JS.API.STREAM.MSG.DELETE.KV_app",
				} {
					if mayPublish(who, subject, all["nobody"] != nil) {
						continue
					}
					require.NoError(t, p.Publish(subject, []byte(who)))
					require.NoError(t, p.Flush())
					p.requireRefused(who, subject)
				}
				for _, subject := range []string{
					">", "raftbus.>", "raftbus.rpc.>", "raftbus.rpc.n2.>", "raftbus.rpc.*.n1.>", "raftbus.admin.>", "raftbus.kv.>", "raftbus.node.n2.>",
					"_INBOX_admin.>", "_INBOX.>", "$KV.>", "$JS.API.>", "$SYS.>",
				} {
					if maySubscribe(who, subject) {
						continue
					}
					_, err := p.Subscribe(subject, func(*nats.Msg) {})
					require.NoError(t, err)
					require.NoError(t, p.Flush())
					p.requireRefused(who, subject)
				}
			}
			require.Empty(t, peers.all())
			require.Empty(t, leader.all())
		})
	}
}

// mayPublish says who is right where all others are wrong.
func mayPublish(who, subject string, anonymous bool) bool {
	switch {
	case strings.HasPrefix(subject, "raftbus.rpc.") && strings.Contains(subject, ".n1."):
		return who == "nodes/n1/peers"
	case subject == "raftbus.node._all.consumers.n1":
		return who == "nodes/n1/clients"
	case strings.HasPrefix(subject, "raftbus.admin."):
		return who == "users/admin"
	case strings.HasPrefix(subject, "_INBOX"):
		return strings.HasSuffix(who, "/leaf") || answersFirst(who) && (anonymous || subject != "_INBOX.x") // watchers name the subject; users have the inbox
	case subject == "$SRV.PING":
		return slices.Contains([]string{"users/admin", "users/monitor", "users/client", "users/read-only"}, who)
	case strings.HasPrefix(subject, "$KV."), strings.HasPrefix(subject, "$JS."): // who writes keys
		return who == "nobody" || strings.HasPrefix(who, "users/") && !slices.Contains([]string{"users/monitor", "users/read-only", "users/visitors"}, who)
	}
	return false
}

// answersFirst: the clients of the first account.
func answersFirst(who string) bool {
	return strings.HasSuffix(who, "/clients") && !strings.Contains(who, "/tenants/")
}

func maySubscribe(who, subject string) bool {
	switch subject {
	case "raftbus.rpc.n2.>":
		return who == "nodes/n2/peers"
	case "raftbus.node.n2.>":
		return who == "nodes/n2/clients"
	case "raftbus.admin.>":
		return answersFirst(who)
	case "raftbus.kv.>", "$KV.>", "$JS.API.>": // requests reach every node that listens; only the leader does
		return strings.HasSuffix(who, "/clients")
	case "_INBOX_admin.>":
		return who == "users/admin"
	case "_INBOX.>":
		return who == "users/anonymous" || who == "nobody"
	}
	return false
}

func TestAClusterAndItsClients(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, layout.change)
			var out logtest.Buffer
			running := r.start(&out)
			all := r.credentials()
			client := r.connect(all["users/client"], nats.CustomInboxPrefix(busclient.InboxPrefix("client")))
			useKeys(t, client, "app")
			hearRepublished(t, client)
			putTraced(t, client)
			if layout.name == "two accounts" {
				connectAsDocumented(t, r)
			}
			reader := r.connect(all["users/read-only"], nats.CustomInboxPrefix(busclient.InboxPrefix("read-only")))
			require.Equal(t, "v", read(t, reader, "app"))
			askTwice(t, reader, "app")
			getMany(t, reader, "app")
			for _, subject := range []string{"raftbus.kv.put.app.k", "raftbus.bucket.add.x", "raftbus.bucket.rm.app", "$KV.app.k", "$JS.API.STREAM.DELETE.KV_app", "$JS.raftbus.API.$KV.app.k"} {
				require.NoError(t, reader.Publish(subject, nil))
				reader.requireRefused("read-only", subject)
			}
			monitor := r.connect(all["users/monitor"], nats.CustomInboxPrefix(busclient.InboxPrefix("monitor")))
			request(t, monitor, busclient.StatusSubject("raftbus", "n1"), "")
			require.NoError(t, monitor.Publish("raftbus.kv.get.app.k", nil))
			monitor.requireRefused("monitor", "raftbus.kv.get.app.k")
			admin := r.connect(all["users/admin"], nats.CustomInboxPrefix(busclient.InboxPrefix("admin")))
			require.Contains(t, request(t, admin, "raftbus.admin.members", ""), `"n3"`)
			if all["nobody"] != nil {
				useKeys(t, r.connect(all["nobody"]), "open") // with the inbox that clients have
			}
			if tenant := all["users/team-a"]; tenant != nil {
				other := r.connect(tenant, nats.CustomInboxPrefix(busclient.InboxPrefix("team-a")))
				require.Contains(t, request(t, other, "raftbus.kv.put.app.theirs", "x"), `"revision":2`)
				require.Contains(t, request(t, other, "raftbus.kv.get.app.theirs", ""), `"value":"x"`)
				askTwice(t, other, "app")
				require.NoError(t, other.Publish("raftbus.node._all.status", nil))
				other.requireRefused("team-a", "raftbus.node._all.status")
			}
			askTwice(t, r.user("visitors"), "app")
			require.NotContains(t, strings.ToLower(out.String()), "permission", "nodes were refused nothing")
			for _, node := range running {
				for _, c := range node.Stats().NATS {
					require.Zero(t, c.PermissionErrors, c.Role)
				}
			}
		})
	}
}

func request(t testing.TB, p *party, subject, body string) string {
	t.Helper()
	m, err := p.Request(subject, []byte(body), patience)
	require.NoError(t, err, subject)
	return string(m.Data)
}

// useKeys makes a bucket, writes, reads and watches, as an official client does, and as nats req does.
func useKeys(t testing.TB, p *party, bucket string) {
	js, err := jetstream.New(p.Conn)
	require.NoError(t, err)
	kv, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: bucket})
	require.NoError(t, err)
	_, err = kv.Put(within(t), "k", []byte("v"))
	require.NoError(t, err)
	require.Equal(t, "v", read(t, p, bucket))
	require.Contains(t, request(t, p, "raftbus.kv.get."+bucket+".k", ""), `"value":"v"`)
	askTwice(t, p, bucket)
	require.Empty(t, p.refusals())
}

// hearRepublished has an entry published again, where that was allowed.
func hearRepublished(t testing.TB, p *party) {
	js, err := jetstream.New(p.Conn)
	require.NoError(t, err)
	kv, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "told", RePublish: &jetstream.RePublish{Source: "$KV.told.>", Destination: "news.>"}})
	require.NoError(t, err)
	sub, err := p.SubscribeSync("news.>")
	require.NoError(t, err)
	_, err = kv.Put(within(t), "k", []byte("again"))
	require.NoError(t, err)
	m, err := sub.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, "again", string(m.Data))
}

// putTraced puts with headers that would have NATS refuse to deliver the entry where nodes send it, or have clients not see it.
func putTraced(t *testing.T, p *party) { // W2, L9
	js, err := jetstream.New(p.Conn)
	require.NoError(t, err)
	kv, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "traced", RePublish: &jetstream.RePublish{Source: "$KV.traced.>", Destination: "news.traced.>"}})
	require.NoError(t, err)
	sub, err := p.SubscribeSync("news.traced.>")
	require.NoError(t, err)
	for _, put := range []nats.Msg{{Header: nats.Header{"Nats-Trace-Dest": {"$JS.ACK.x"}}}, {Header: nats.Header{"Status": {"100"}}}, {Header: nats.Header{"Status": {"100"}}, Data: []byte("v")}} {
		put.Subject = "$KV.traced.k"
		m, err := p.RequestMsg(&put, patience)
		require.NoError(t, err)
		require.Contains(t, string(m.Data), `"seq"`)
		e, err := kv.Get(within(t), "k")
		require.NoError(t, err)
		require.Equal(t, string(put.Data), string(e.Value()))
		keys, err := kv.Keys(within(t))
		require.NoError(t, err)
		require.Equal(t, []string{"k"}, keys)
		w, err := kv.WatchAll(within(t))
		require.NoError(t, err)
		require.Equal(t, []string{"k=" + string(put.Data)}, events(t, w, 1))
		require.NoError(t, w.Stop())
		_, err = sub.NextMsg(patience)
		require.NoError(t, err)
	}
}

// read gets and watches.
func read(t testing.TB, p *party, bucket string) string {
	js, err := jetstream.New(p.Conn)
	require.NoError(t, err)
	kv, err := js.KeyValue(within(t), bucket)
	require.NoError(t, err)
	e, err := kv.Get(within(t), "k")
	require.NoError(t, err)
	w, err := kv.WatchAll(t.Context())
	require.NoError(t, err)
	require.Equal(t, "v", string((<-w.Updates()).Value()))
	require.Nil(t, <-w.Updates())
	require.NoError(t, w.Stop())
	return string(e.Value())
}

// The same configuration on each server of a NATS cluster.
func TestOnSeveralServers(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	servers, err := embedded.StartCluster(3, embedded.Options{ConfigFile: filepath.Join(o.Dir, "nats", "server.conf"), Host: "127.0.0.1", LeafPort: embedded.Random})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	r := &realm{t: t, dir: o.Dir, server: servers[0], servers: servers}
	var out logtest.Buffer
	r.start(&out)
	for _, server := range servers {
		r.server = server
		useKeys(t, r.connect(auth.NoCredentials), "on-"+server.Name())
	}
	require.NotContains(t, strings.ToLower(out.String()), "permission", "nodes were refused nothing")
}

// A node has rights that its clients have not: none of them may have it speak where it must not itself, neither by the subject of an
// answer, nor of a watch, nor of what a bucket publishes again (Q2, Q9).
func TestNoClientHasANodeGiveOrders(t *testing.T) {
	t.Parallel()
	r := begin(t, func(o *auth.Options) { o.OneAccount, o.Anonymous = true, true })
	var out logtest.Buffer
	r.start(&out)
	all := r.credentials()
	anybody := r.connect(all["nobody"])
	orders := (&listener{}).on(r.connect(all["nodes/n2/clients"]), "raftbus.admin.>", "raftbus.node._all.consumers.*")
	votes := (&listener{}).on(r.connect(all["nodes/n2/peers"]), "raftbus.rpc.n2.>")
	js, err := jetstream.New(anybody.Conn)
	require.NoError(t, err)
	_, err = js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "app", RePublish: &jetstream.RePublish{Source: ">", Destination: "raftbus.node._all.consumers.{{wildcard(3)}}"}})
	require.Error(t, err, "of no bucket")
	_, err = js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "app", RePublish: &jetstream.RePublish{Source: "$KV.app.*", Destination: "{{wildcard(1)}}.node._all.consumers.n1"}})
	require.NoError(t, err, "what it is, keys say")
	request(t, anybody, "raftbus.kv.put.app.raftbus", "forged")
	request(t, anybody, "raftbus.kv.put.app.n1", "forged")
	for _, to := range []string{"raftbus.admin.transfer", "raftbus.kv.put.app.stolen", "raftbus.rpc.n2.n1.RequestVote", "$JS.API.STREAM.DELETE.KV_app"} {
		require.NoError(t, anybody.PublishMsg(&nats.Msg{Subject: "raftbus.kv.get.app.n1", Reply: to, Header: nats.Header{"Rb-Reply": {"raw"}}}))
		require.Contains(t, request(t, anybody, "raftbus.kv.watch.app", fmt.Sprintf(`{"deliver":%q}`, to)), "would be orders")
		require.Contains(t, request(t, anybody, "$JS.API.CONSUMER.CREATE.KV_app.x.$KV.app.n1",
			fmt.Sprintf(`{"stream_name":"KV_app","config":{"name":"x","ack_policy":"none","deliver_policy":"all","filter_subject":"$KV.app.n1","deliver_subject":%q}}`, to)), "cycle")
	}
	require.NoError(t, anybody.PublishMsg(&nats.Msg{Subject: "$JS.API.DIRECT.GET.KV_app.$KV.app.n1", Reply: "raftbus.kv.put.app.direct"}))
	monitor := r.connect(all["users/monitor"], nats.CustomInboxPrefix(busclient.InboxPrefix("monitor")))
	for what, subject := range map[string]string{
		"status": "raftbus.node._all.status", "stats": "raftbus.node.n1.stats", "health": "raftbus.node.n1.health", "metrics": "raftbus.node.n1.metrics", "micro": "$SRV.PING",
	} {
		require.NoError(t, monitor.PublishRequest(subject, "raftbus.kv.put.app."+what, nil))
	}
	admin := r.connect(all["users/admin"], nats.CustomInboxPrefix(busclient.InboxPrefix("admin")))
	require.NoError(t, admin.PublishRequest("raftbus.node.n1.backup", "raftbus.kv.put.app.backup", []byte("{")))
	request(t, admin, "raftbus.node.n1.backup", "{")
	require.NoError(t, admin.PublishRequest("raftbus.admin.members", "raftbus.kv.put.app.members", nil))
	request(t, admin, "raftbus.admin.members", "")
	request(t, monitor, busclient.StatusSubject("raftbus", "n1"), "")
	for range 3 { // whatever the leader said, and to whom, has arrived and been done
		request(t, anybody, "raftbus.kv.get.app.n1", "")
		request(t, anybody, "raftbus.kv.put.app.after", "x")
		require.NoError(t, orders.party.Flush())
		require.NoError(t, votes.party.Flush())
	}
	require.Equal(t, `{"bucket":"app","keys":["after","n1","raftbus"]}`, request(t, anybody, "raftbus.kv.keys.app", ""))
	for _, text := range append(orders.all(), votes.all()...) {
		require.False(t, strings.HasSuffix(text, " forged"), text)
	}
}

// What is there is kept, and another node gets its own.
func TestInitAgainKeepsTheKeys(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, layout.change)
			require.NoError(t, auth.Init(&o))
			before := files(t, o.Dir)
			again(t, o.Dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
			after := files(t, o.Dir)
			for name, content := range before {
				if strings.HasSuffix(name, ".nk") || strings.HasSuffix(name, ".key") {
					require.Equal(t, content, after[name], name)
				}
			}
			require.Equal(t, before["nodes/n1/cluster.key"], after["nodes/n4/cluster.key"])
			r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
			for _, credential := range r.credentials() {
				r.connect(credential)
			}
		})
	}
}

// Who owns the nodes' files may put there what whoever gives init again, who may be root, must not follow.
func TestNoLinkIsFollowed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nodes/n1/cluster.key", "nodes/n1/other", "nodes/n9", "users/admin.nk", "users/client.json"} {
		o := options(t, layouts[0].change)
		o.Owner = os.Getuid()
		require.NoError(t, auth.Init(&o))
		outside := filepath.Join(t.TempDir(), "outside")
		require.NoError(t, os.WriteFile(outside, []byte("a secret of somebody else, as long as a key is"), 0o600))
		planted := filepath.Join(o.Dir, filepath.FromSlash(name))
		require.NoError(t, os.RemoveAll(planted))
		require.NoError(t, os.Symlink(outside, planted))
		before := files(t, o.Dir)
		require.ErrorContains(t, auth.Init(&o), "is neither a file nor a folder")
		require.Equal(t, before, files(t, o.Dir))
	}
}

// What a power loss left of a key is none.
func TestADamagedClusterKeyIsNoKey(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "short\n", strings.Repeat("k", 31) + "\n"} {
		o := options(t, layouts[0].change)
		require.NoError(t, auth.Init(&o))
		require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "nodes", "n1", "cluster.key"), []byte(content), 0o600))
		require.ErrorContains(t, auth.Init(&o), "or remove the file, and the node gets the key of the others")
		require.NoError(t, os.Remove(filepath.Join(o.Dir, "nodes", "n1", "cluster.key")))
		require.NoError(t, auth.Init(&o))
		all := files(t, o.Dir)
		require.Equal(t, all["nodes/n2/cluster.key"], all["nodes/n1/cluster.key"])
	}
}

func files(t testing.TB, dir string) map[string]string {
	list := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(file string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		name, _ := filepath.Rel(dir, file)
		list[filepath.ToSlash(name)] = string(content)
		return err
	}))
	return list
}

// Q4: a leaf node without credentials is let in no more than it may do as anybody.
func TestALeafNodeNeedsCredentials(t *testing.T) {
	t.Parallel()
	r := begin(t, layouts[0].change)
	leaf := embeddedLeaf(t, r.server.LeafURL())
	nc := natstest.Connect(t, leaf)
	heard := (&listener{}).on(r.connect(r.credentials()["nodes/n2/peers"]), "raftbus.rpc.n2.>")
	admin := (&listener{}).on(r.connect(r.credentials()["nodes/n2/clients"]), "raftbus.admin.>")
	anybody := (&listener{}).on(r.connect(r.credentials()["nodes/n2/clients"]), "raftbus.kv.>")
	require.Eventually(t, func() bool {
		require.NoError(t, nc.Publish("raftbus.rpc.n2.n1.RequestVote", nil))
		require.NoError(t, nc.Publish("raftbus.admin.transfer", nil))
		require.NoError(t, nc.Publish("raftbus.kv.put.app.k", nil))
		return len(anybody.all()) > 20
	}, patience, 10*time.Millisecond, "the leaf node is connected, and may do what anybody may")
	require.Empty(t, heard.all())
	require.Empty(t, admin.all())
}

func embeddedLeaf(t testing.TB, url string) *embedded.Server {
	file := filepath.Join(t.TempDir(), "leaf.conf")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf("leafnodes { remotes [ {url: %q} ], reconnect: 1 }", url)), 0o600))
	return natstest.Run(t, embedded.Options{ConfigFile: file, Host: "127.0.0.1"})
}
