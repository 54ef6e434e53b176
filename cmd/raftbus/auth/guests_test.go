package auth_test

// Guests: accounts that nodes do not serve, and whose native requests NATS brings to the account of the cluster's clients, and nothing else.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/raft/logtest"
)

// forms are the ways to say who may do what; each has both layouts of accounts, tenants that are served and guests that import.
var forms = map[string]func(*auth.Options){
	"nkeys": func(o *auth.Options) { withGuests(o) },
	"jwt":   func(o *auth.Options) { withGuests(o); o.JWT = true },
}

func withGuests(o *auth.Options) {
	o.Tenants, o.Guests = []string{"team-a"}, []string{"visitors", "others"}
}

func (r *realm) user(name string) *party {
	return r.connect(r.credentials()["users/"+name], nats.CustomInboxPrefix(busclient.InboxPrefix(name)))
}

func requireNobody(t testing.TB, p *party) {
	t.Helper()
	_, err := p.Request("raftbus.kv.get.app.k", nil, patience)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

func TestGuestsAreServedByImport(t *testing.T) {
	t.Parallel()
	for name, change := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, change)
			guest := r.user("visitors")
			requireNobody(t, guest)
			var out logtest.Buffer
			running := r.start(&out)
			app := bucketOf(t, r.user("client"), "app")
			w, err := app.WatchAll(t.Context())
			require.NoError(t, err)
			for n := 1; n <= 8; n++ { // once each, and no more
				require.Contains(t, request(t, guest, "raftbus.kv.put.app.k", fmt.Sprint(n)), fmt.Sprintf(`"revision":%d,`, n))
			}
			require.Equal(t, []string{"k=1", "k=2", "k=3", "k=4", "k=5", "k=6", "k=7", "k=8"}, events(t, w, 8))
			e, err := app.Get(within(t), "k")
			require.NoError(t, err)
			require.Equal(t, "8", string(e.Value()))
			tenant := r.user("team-a")
			require.Contains(t, request(t, tenant, "raftbus.kv.get.app.k", ""), `"value":"8"`)
			require.Contains(t, request(t, tenant, "raftbus.kv.put.app.theirs", "x"), `"revision":9,`, "an account that is served has its own done once too")
			require.Contains(t, request(t, r.user("others"), "raftbus.kv.get.app.theirs", ""), `"value":"x"`)
			useEveryRequest(t, guest)
			requireNothingElse(t, guest)
			require.NotContains(t, strings.ToLower(out.String()), "permission", "nodes were refused nothing")
			for _, n := range running {
				require.NoError(t, n.Stop(context.WithoutCancel(t.Context())))
			}
			requireNobody(t, guest)
		})
	}
}

// useEveryRequest has each of a guest's requests answered.
func useEveryRequest(t testing.TB, guest *party) {
	for _, r := range []struct{ subject, body, want string }{
		{"bucket.add.own", `{"history":3}`, `"bucket":"own"`},
		{"bucket.update.own", `{"description":"of guests"}`, `"bucket":"own"`},
		{"bucket.info.own", "", `"description":"of guests"`},
		{"bucket.ls", "", `"own"`},
		{"kv.create.own.a.b", "1", `"revision":1,`},
		{"kv.create.own.a.b", "1", `"err_code":`},
		{"kv.update.own.a.b", "2", `"err_code":`}, // of no revision
		{"kv.put.own.a.b", "3", `"revision":2,`},
		{"kv.history.own.a.b", "", `"value":"3"`},
		{"kv.keys.own", "", `"keys":["a.b"]`},
		{"kv.delete.own.a.b", "", `"revision":3,`},
		{"kv.purge.own.a.b", "", `"revision":4,`},
		{"bucket.rm.own", "", `"bucket":"own"`},
	} {
		require.Contains(t, request(t, guest, "raftbus."+r.subject, r.body), r.want, r.subject)
	}
	m, err := guest.RequestMsg(&nats.Msg{Subject: "raftbus.kv.get.app.k", Header: nats.Header{"Rb-Reply": {"raw"}}}, patience)
	require.NoError(t, err)
	require.Equal(t, "8", string(m.Data))
	require.NotEmpty(t, m.Header.Get("Rb-Revision"))
}

// requireNothingElse holds NATS to say so where a guest asks for more.
func requireNothingElse(t testing.TB, guest *party) {
	for _, subject := range []string{
		"raftbus.kv.watch.app", "raftbus.kv.unwatch.app", "raftbus.bucket.import_begin.app", "raftbus.kv.none.app.k",
		"raftbus.admin.members", "raftbus.admin.transfer", "raftbus.node._all.status", "raftbus.node.n1.backup", "raftbus.rpc.n1.n2.RequestVote", "raftbus.event.leader",
		"$JS.API.INFO", "$JS.raftbus.API.STREAM.LIST", "$KV.app.k", "$SRV.PING", "_INBOX_others.x", "_INBOX_client.x",
	} {
		require.NoError(t, guest.PublishRequest(subject, "_INBOX_visitors.x", nil))
		guest.requireRefused("visitors", subject)
	}
	for _, subject := range []string{">", "raftbus.>", "raftbus.kv.>", "raftbus.event.>", "_INBOX_others.>", "_INBOX_client.>", "_INBOX.>", "_R_.>", "news.>"} {
		_, err := guest.Subscribe(subject, func(*nats.Msg) {})
		require.NoError(t, err)
		guest.requireRefused("visitors", subject)
	}
	for _, to := range []string{"raftbus.admin.transfer", "raftbus.kv.put.app.stolen", "_INBOX_client.x", "$KV.app.stolen"} { // stays in the guest's account
		require.NoError(t, guest.PublishMsg(&nats.Msg{Subject: "raftbus.kv.get.app.k", Reply: to, Header: nats.Header{"Rb-Reply": {"raw"}}}))
	}
	for range 2 {
		require.Contains(t, request(t, guest, "raftbus.kv.keys.app", ""), `"keys":["k","theirs"]`)
	}
}

// A guest is at one server, and the leader at another.
func TestGuestsOnSeveralServers(t *testing.T) {
	t.Parallel()
	o := options(t, withGuests)
	require.NoError(t, auth.Init(&o))
	servers, err := embedded.StartCluster(3, embedded.Options{ConfigFile: filepath.Join(o.Dir, "nats", "server.conf"), Host: "127.0.0.1", LeafPort: embedded.Random})
	require.NoError(t, err)
	r := &realm{t: t, dir: o.Dir, servers: servers}
	var guests []*party
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
		r.server = s
		guests = append(guests, r.user("visitors"))
		requireNobody(t, guests[len(guests)-1])
	}
	var out logtest.Buffer
	r.start(&out)
	request(t, guests[0], "raftbus.bucket.add.app", "")
	for n, guest := range guests {
		for turn := range 3 {
			require.Contains(t, request(t, guest, "raftbus.kv.put.app.k", "x"), fmt.Sprintf(`"revision":%d,`, 3*n+turn+1))
		}
	}
	require.NotContains(t, strings.ToLower(out.String()), "permission", "nodes were refused nothing")
}

// A NATS server that runs takes what is new of guests: in the configuration's own form the second time that it reads it, see docs/operating.md.
func TestGuestsComeAndGoWhileNATSRuns(t *testing.T) {
	t.Parallel()
	for name, change := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, func(o *auth.Options) { change(o); o.Guests = nil })
			var out logtest.Buffer
			r.start(&out)
			request(t, r.user("client"), "raftbus.bucket.add.app", "")
			for n, name := range []string{"visitors", "others"} {
				again(t, r.dir, func(o *auth.Options) { o.Guests = []string{name} })
				require.NoError(t, r.server.Reload())
				require.NoError(t, r.server.Reload())
				require.Contains(t, request(t, r.user(name), "raftbus.kv.put.app.k", "x"), fmt.Sprintf(`"revision":%d,`, 2*n+1))
				require.Contains(t, request(t, r.user("visitors"), "raftbus.kv.put.app.k", "x"), fmt.Sprintf(`"revision":%d,`, 2*n+2))
			}
			visitors, others := r.user("visitors"), r.user("others")
			again(t, r.dir, func(o *auth.Options) { o.Remove = []string{"others"} })
			require.NoError(t, r.server.Reload())
			require.Eventually(t, func() bool { return !others.IsConnected() }, patience, time.Millisecond)
			require.Contains(t, request(t, visitors, "raftbus.kv.put.app.k", "x"), `"revision":5,`)
			again(t, r.dir, func(o *auth.Options) { o.Tenants = []string{"visitors"} })
			require.NoError(t, r.server.Reload())
			requireNobody(t, r.user("visitors"))
			require.Contains(t, request(t, r.user("client"), "raftbus.kv.put.app.k", "x"), `"revision":6,`)
		})
	}
}

// Of what one client of the first account may have in flight: all guests at one NATS server have that together.
func TestGuestsAreOneClientOfTheFirstAccount(t *testing.T) {
	t.Parallel()
	r := begin(t, withGuests)
	taken := r.connect(r.credentials()["nodes/n2/clients"])
	sub, err := taken.SubscribeSync("raftbus.kv.>")
	require.NoError(t, err)
	require.NoError(t, taken.Flush())
	inboxes := map[string]bool{}
	for _, who := range []string{"visitors", "others", "visitors"} {
		guest := r.user(who)
		require.NoError(t, guest.PublishRequest("raftbus.kv.get.app.k", guest.NewInbox(), nil))
		m, err := sub.NextMsg(patience)
		require.NoError(t, err)
		inboxes[m.Reply[:strings.LastIndexByte(m.Reply, '.')]] = true
	}
	require.Len(t, inboxes, 1)
}

// What a guest's account may reach does not hang on its users: whoever holds its key can sign one that may do anything there.
func TestAnAccountImportsRequestsOnly(t *testing.T) {
	t.Parallel()
	r := begin(t, forms["jwt"])
	serving := (&listener{}).on(r.connect(r.credentials()["nodes/n2/clients"]), "raftbus.kv.>", "raftbus.bucket.>", "raftbus.admin.>", "raftbus.node.n2.>", "raftbus.node._all.>", "$JS.API.>", "$KV.>", "$SRV.>")
	peers := (&listener{}).on(r.connect(r.credentials()["nodes/n2/peers"]), "raftbus.rpc.n2.>")
	client := (&listener{}).on(r.user("client"), "_INBOX_client.>", "raftbus.event.>")
	anything := r.connect(signedBy(t, r.dir, "visitors"))
	for _, subject := range []string{
		"raftbus.kv.watch.app", "raftbus.kv.unwatch.app", "raftbus.bucket.import_begin.app", "raftbus.admin.transfer", "raftbus.node._all.status", "raftbus.node.n2.backup",
		"raftbus.rpc.n2.n1.RequestVote", "raftbus.event.leader", "$JS.API.INFO", "$KV.app.k", "$SRV.PING", "_INBOX_client.x",
	} {
		_, err := anything.Request(subject, nil, patience)
		require.ErrorIs(t, err, nats.ErrNoResponders, subject)
	}
	all := (&listener{}).on(anything, "raftbus.>", "_R_.>", "_INBOX_client.>", "_INBOX_others.>")
	require.NoError(t, r.user("others").PublishRequest("raftbus.kv.put.app.last", "_INBOX_others.x", []byte("secret")))
	require.Eventually(t, func() bool { return len(serving.all()) > 0 }, patience, time.Millisecond)
	require.Equal(t, []string{"raftbus.kv.put.app.last secret"}, serving.all())
	require.NoError(t, anything.Flush())
	for _, l := range []*listener{peers, client, all} {
		require.Empty(t, l.all())
	}
}

// signedBy makes a user without bounds of an account.
func signedBy(t testing.TB, dir, account string) nats.Option {
	issuer, err := nkeys.ParseDecoratedNKey([]byte(content(t, dir, "issuer/"+account+".nk")))
	require.NoError(t, err)
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	text, err := jwt.NewUserClaims(public).Encode(issuer)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	return nats.UserJWTAndSeed(text, string(seed))
}

// edit signs an account's JWT anew, as another tool would, and returns it.
func edit(t testing.TB, dir, account string, change func(*jwt.AccountClaims)) {
	operator, err := nkeys.ParseDecoratedNKey([]byte(content(t, dir, "issuer/operator.nk")))
	require.NoError(t, err)
	lines := strings.Split(content(t, dir, "nats/nats.conf"), "\n")
	for i, line := range lines {
		if line != "  # "+account {
			continue
		}
		key, text, _ := strings.Cut(strings.TrimSpace(lines[i+1]), ": ")
		claims, err := jwt.DecodeAccountClaims(text)
		require.NoError(t, err)
		change(claims)
		text, err = claims.Encode(operator)
		require.NoError(t, err)
		lines[i+1] = "  " + key + ": " + text
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nats", "nats.conf"), []byte(strings.Join(lines, "\n")), 0o644))
}

// Another account of the operator, without the token that the exporting account signs; and what was added to exports and imports elsewhere stays.
func TestOnlyNamedAccountsImport(t *testing.T) {
	t.Parallel()
	o := options(t, forms["jwt"])
	require.NoError(t, auth.Init(&o))
	edit(t, o.Dir, "visitors", func(c *jwt.AccountClaims) {
		for _, i := range c.Imports {
			i.Token = ""
		}
		c.Imports[0].Share = true
	})
	edit(t, o.Dir, "APP", func(c *jwt.AccountClaims) { c.Exports[0].Description, c.Exports[1].TokenReq = "mine", false })
	r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
	(&listener{}).on(r.connect(r.credentials()["nodes/n2/clients"]), "raftbus.kv.>")
	requireNobody(t, r.user("visitors"))
	again(t, o.Dir, func(o *auth.Options) {})
	edit(t, o.Dir, "visitors", func(c *jwt.AccountClaims) {
		require.True(t, c.Imports[0].Share)
		require.NotEmpty(t, c.Imports[0].Token)
	})
	edit(t, o.Dir, "APP", func(c *jwt.AccountClaims) {
		require.Equal(t, "mine", c.Exports[0].Description)
		for _, e := range c.Exports {
			require.True(t, e.TokenReq, e.Name)
		}
	})
}

// The same without JWTs: NATS does not take a configuration in which an account imports that is not named.
func TestOnlyNamedAccountsImportWithoutJWTs(t *testing.T) {
	t.Parallel()
	o := options(t, forms["nkeys"])
	require.NoError(t, auth.Init(&o))
	config := content(t, o.Dir, "nats/nats.conf")
	changed := strings.Replace(config, "\"team-a\": {", "\"team-a\": {\n imports: [ {service: {account: APP, subject: \"raftbus.kv.get.*.>\"}} ]", 1)
	require.NotEqual(t, config, changed)
	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "nats", "nats.conf"), []byte(changed), 0o644))
	server, err := embedded.Start(embedded.Options{ConfigFile: filepath.Join(o.Dir, "nats", "server.conf"), Host: "127.0.0.1", Port: embedded.Random, LeafPort: embedded.Random})
	if err == nil {
		server.Shutdown()
	}
	require.ErrorContains(t, err, "not authorized")
}

// From a guest to an account that is served: it imports nothing any more, from the same call on.
func TestAGuestBecomesATenant(t *testing.T) {
	t.Parallel()
	for name, change := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, change)
			require.NoError(t, auth.Init(&o))
			require.Empty(t, o.Served)
			copied := (&realm{t: t, dir: o.Dir}).credentials()["users/visitors"]
			more := again(t, o.Dir, func(o *auth.Options) { o.Tenants = []string{"visitors"} })
			require.Equal(t, []string{"visitors"}, more.Served)
			require.Equal(t, []string{"others"}, more.Guests)
			require.Equal(t, []string{"team-a", "visitors"}, more.Tenants)
			require.Empty(t, again(t, o.Dir, func(*auth.Options) {}).Served, "said once")
			r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
			served := r.connect(copied, nats.CustomInboxPrefix("_INBOX_visitors"))
			requireNobody(t, served)
			var out logtest.Buffer
			r.start(&out)
			useKeys(t, r.user("visitors"), "app")
			require.Contains(t, request(t, served, "raftbus.kv.put.app.k", "x"), `"revision":2,`)
			require.Contains(t, request(t, served, "raftbus.kv.put.app.k", "x"), `"revision":3,`)
			require.Contains(t, request(t, r.user("others"), "raftbus.kv.put.app.k", "x"), `"revision":4,`)
		})
	}
}

// No account is both, whoever says so, and the error names the way out.
func TestNoTenantIsAGuest(t *testing.T) {
	t.Parallel()
	for name, change := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, change)
			require.NoError(t, auth.Init(&o))
			before := files(t, o.Dir)
			for _, wrong := range []func(*auth.Options){
				func(o *auth.Options) { o.Guests = []string{"team-a"} },
				func(o *auth.Options) { o.Guests, o.Tenants = []string{"new"}, []string{"new"} },
			} {
				_, err := tryAgain(o.Dir, wrong)
				require.ErrorContains(t, err, "would do each of its requests twice: choose another name, or give --remove")
				require.ErrorAs(t, err, &auth.OptionsError{})
			}
			for _, taken := range []string{"n1", "APP", "RAFTBUS", "operator", "client", "anonymous", "_x", "a.b"} {
				_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Guests = []string{taken} })
				require.ErrorAs(t, err, &auth.OptionsError{}, taken)
			}
			_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Nodes = []string{"visitors"} })
			require.ErrorContains(t, err, `guest "visitors": that name is taken`)
			require.Equal(t, before, files(t, o.Dir))

			bothInSettings(t, o.Dir, "visitors")
			_, err = tryAgain(o.Dir, func(*auth.Options) {})
			require.ErrorContains(t, err, "give --remove visitors")
			gone := again(t, o.Dir, func(o *auth.Options) { o.Remove = []string{"visitors"} })
			require.Equal(t, []string{"others"}, gone.Guests)
			require.Equal(t, []string{"team-a"}, gone.Tenants)
			again(t, o.Dir, func(o *auth.Options) { o.Remove = []string{"team-a"} })
			require.Equal(t, []string{"users/team-a"}, again(t, o.Dir, func(o *auth.Options) { o.Guests = []string{"team-a"} }).Made)
			again(t, o.Dir, func(o *auth.Options) { o.Remove = []string{"team-a", "others"} })
			require.NotContains(t, content(t, o.Dir, "nats/nats.conf"), "exports")
		})
	}
}

func bothInSettings(t testing.TB, dir, name string) {
	settings := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(content(t, dir, "settings.json")), &settings))
	settings["tenants"] = append(settings["tenants"].([]any), name)
	text, err := json.Marshal(settings)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "settings.json"), text, 0o600))
}
