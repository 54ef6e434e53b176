package auth_test

// auth init given again takes back nothing that was set up: neither the operator's own settings, nor who was named before, nor earlier flags.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// again gives it again with what is not its zero value after change, as a command line with those flags alone; the defaults are other ones
// than were said first.
func again(t testing.TB, dir string, change func(*auth.Options)) *auth.Options {
	o, err := tryAgain(dir, change)
	require.NoError(t, err)
	return o
}

func tryAgain(dir string, change func(*auth.Options)) (*auth.Options, error) {
	said := auth.Options{}
	change(&said)
	content, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	flags := map[string]any{}
	if err := json.Unmarshal(content, &flags); err != nil {
		return nil, err
	}
	o := auth.Options{Prefix: "other", Listen: "0.0.0.0:1", ListenLeaf: "0.0.0.0:2", URL: "nats://other:1", Owner: 1 << 20}
	change(&o)
	o.Dir = dir
	o.Given = func(name string) bool {
		switch v := flags[name].(type) {
		case string:
			return v != ""
		case bool:
			return v
		case float64:
			return v != 0
		}
		return flags[name] != nil
	}
	return &o, auth.Init(&o)
}

func content(t testing.TB, dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(b)
}

// Nothing said: nothing changed, but JWTs are signed anew. And one node named: it is added.
func TestInitAgainTakesNothingBack(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, layout.change)
			o.Domain = "keys"
			require.NoError(t, auth.Init(&o))
			before := files(t, o.Dir)
			require.Empty(t, again(t, o.Dir, func(*auth.Options) {}).Made)
			if !o.JWT {
				require.Equal(t, before, files(t, o.Dir))
			}
			for range 2 {
				more := again(t, o.Dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
				require.Equal(t, []string{"n1", "n2", "n3", "n4"}, more.Nodes)
			}
			more := again(t, o.Dir, func(o *auth.Options) { o.Tenants, o.DefaultAPI = []string{"team-z"}, true })
			require.Equal(t, append(o.Tenants, "team-z"), more.Tenants)
			require.Equal(t, []string{"nodes/n1", "nodes/n2", "nodes/n3", "nodes/n4", "users/team-z"}, more.Made, "nodes have credentials for it")
			require.Equal(t, o.Anonymous, more.Anonymous)
			r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
			for _, credential := range r.credentials() {
				r.connect(credential)
			}
			require.FileExists(t, filepath.Join(o.Dir, "nodes", "n4", "cluster.key"))
		})
	}
}

// A NATS server that runs takes what is new when it reads its configuration anew.
func TestARunningNATSTakesWhatIsNew(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, layout.change)
			stays := r.connect(r.credentials()["nodes/n1/peers"])
			again(t, r.dir, func(o *auth.Options) { o.Nodes, o.Tenants = []string{"n4"}, []string{"team-z"} })
			require.NoError(t, r.server.Reload())
			for _, credential := range r.credentials() {
				r.connect(credential)
			}
			require.NoError(t, stays.Flush())
			require.Zero(t, stays.Statistics.Reconnects)
		})
	}
}

// A folder without settings.json: who has credentials there stays.
func TestInitAgainKeepsNodesThatAreThere(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[1].change)
	require.NoError(t, auth.Init(&o))
	require.NoError(t, os.Remove(filepath.Join(o.Dir, "settings.json")))
	o.Nodes = []string{"n4"}
	require.NoError(t, auth.Init(&o))
	require.Equal(t, []string{"n1", "n2", "n3", "n4"}, o.Nodes)
	require.Contains(t, content(t, o.Dir, "nats/nats.conf"), "nodes/n1/peers")
}

// What the operator set up stays, or is refused, and never goes without a word.
func TestInitAgainLeavesTheOperatorsOwn(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	own := filepath.Join(o.Dir, "nats", "server.conf")
	require.NoError(t, os.WriteFile(own, []byte("include \"nats.conf\"\nserver_name: \"mine\"\ncluster { name: \"routes\", listen: \"127.0.0.1:-1\" }\nmax_connections: 77\n"), 0o644))
	context := filepath.Join(o.Dir, "users", "client.json")
	require.NoError(t, os.WriteFile(context, []byte(`{"url":"tls://bus:4222","ca":"ca.pem"}`), 0o600))
	again(t, o.Dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
	require.Contains(t, content(t, o.Dir, "nats/server.conf"), "max_connections: 77")
	require.Equal(t, "mine", serve(t, o.Dir).Name())
	for _, kept := range []string{`"tls://bus:4222"`, `"ca.pem"`, `"jetstream_domain": "raftbus"`, "client.nk"} {
		require.Contains(t, content(t, o.Dir, "users/client.json"), kept)
	}
	again(t, o.Dir, func(o *auth.Options) { o.URL = "nats://new:4222" })
	require.Contains(t, content(t, o.Dir, "users/client.json"), `"nats://new:4222"`)
	require.Contains(t, content(t, o.Dir, "users/team-a.json"), `"jetstream_domain": "raftbus"`)

	made := filepath.Join(o.Dir, "nats", "nats.conf")
	edited := content(t, o.Dir, "nats/nats.conf") + "tls { cert_file: \"mine.pem\" }\n"
	require.NoError(t, os.WriteFile(made, []byte(edited), 0o644))
	before := files(t, o.Dir)
	_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Nodes = []string{"n5"} })
	require.ErrorContains(t, err, "is not as this command wrote it, and what was changed would be lost: move what is yours into server.conf")
	require.Equal(t, before, files(t, o.Dir))
}

// Who is to go is named, and gone.
func TestRemove(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, layout.change)
			require.NoError(t, auth.Init(&o))
			leaving := []string{"n3", "visitors"}
			if len(o.Tenants) > 0 {
				leaving = append(leaving, "team-a")
			}
			somebodys := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(somebodys, "nodes", "n3"), os.DirFS(filepath.Join(o.Dir, "nodes", "n3"))))
			copied := (&realm{t: t, dir: somebodys}).credentials()
			require.Len(t, copied, 3+2*len(o.Tenants))
			again(t, o.Dir, func(o *auth.Options) { o.Remove = leaving })
			for name := range files(t, o.Dir) {
				require.NotContains(t, name, "n3")
				require.NotContains(t, name, "team-a")
				require.NotContains(t, name, "visitors")
			}
			require.NoDirExists(t, filepath.Join(o.Dir, "nodes", "n3"))
			if o.JWT {
				require.FileExists(t, filepath.Join(o.Dir, "issuer", "team-b.nk"), "the account stays, with its key")
			}
			r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
			for name, credential := range copied {
				_, err := nats.Connect(r.server.URL(), credential)
				require.ErrorIs(t, err, nats.ErrAuthorization, name)
			}
			for _, credential := range r.credentials() {
				r.connect(credential)
			}
			_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Remove = []string{"n3"} })
			require.ErrorContains(t, err, `no node, tenant or guest "n3" is there`)
			_, err = tryAgain(o.Dir, func(o *auth.Options) { o.Nodes, o.Remove = []string{"n3"}, []string{"n3"} })
			require.ErrorContains(t, err, "leave one of the two out")
			back := again(t, o.Dir, func(o *auth.Options) { o.Nodes = []string{"n3"} })
			require.Equal(t, []string{"nodes/n3"}, back.Made)
			_, err = nats.Connect(serve(t, o.Dir).URL(), copied["nodes/n3/peers"])
			require.ErrorIs(t, err, nats.ErrAuthorization, "the key that it had")
		})
	}
}

// A node may have been called as an issuer of JWTs is: when it goes, that one's seed stays. No new one is called so.
func TestRemoveLeavesTheIssuers(t *testing.T) {
	t.Parallel()
	o := options(t, func(o *auth.Options) { o.JWT = true })
	require.NoError(t, auth.Init(&o))
	names := []string{"operator", "APP", "RAFTBUS"}
	for _, name := range names {
		_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Nodes = []string{name} })
		require.ErrorContains(t, err, "that name is taken")
		require.NoError(t, os.CopyFS(filepath.Join(o.Dir, "nodes", name), os.DirFS(filepath.Join(o.Dir, "nodes", "n3"))))
	}
	again(t, o.Dir, func(o *auth.Options) { o.Remove = names })
	for _, name := range names {
		require.NoDirExists(t, filepath.Join(o.Dir, "nodes", name))
		require.FileExists(t, filepath.Join(o.Dir, "issuer", name+".nk"))
	}
}

// What an account's JWT was given elsewhere stays when it is signed anew.
func TestRevocationsStay(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[2].change)
	require.NoError(t, auth.Init(&o))
	operator, err := nkeys.ParseDecoratedNKey([]byte(content(t, o.Dir, "issuer/operator.nk")))
	require.NoError(t, err)
	user, err := nkeys.ParseDecoratedNKey([]byte(content(t, o.Dir, "users/client.creds")))
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	lines := strings.Split(content(t, o.Dir, "nats/nats.conf"), "\n")
	for i, line := range lines {
		if key, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(key, "A") && lines[i-1] == "  # APP" {
			claims, err := jwt.DecodeAccountClaims(text)
			require.NoError(t, err)
			claims.Revoke(public)
			claims.Limits.Conn = 55
			text, err := claims.Encode(operator)
			require.NoError(t, err)
			lines[i] = "  " + key + ": " + text
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "nats", "nats.conf"), []byte(strings.Join(lines, "\n")), 0o644))
	again(t, o.Dir, func(o *auth.Options) { o.Nodes, o.Tenants = []string{"n4"}, []string{"team-c"} })
	serve(t, o.Dir)
	found := false
	for _, line := range strings.Split(content(t, o.Dir, "nats/nats.conf"), "\n") {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(text, "eyJ") {
			if claims, err := jwt.DecodeAccountClaims(text); err == nil && claims.Name == "APP" {
				require.Contains(t, claims.Revocations, public)
				require.EqualValues(t, 55, claims.Limits.Conn)
				require.Len(t, claims.Exports, 13, "what guests import, and no more")
				found = true
			}
		}
	}
	require.True(t, found)
}

// Credentials that nodes have are not replaced by others without a word.
func TestNodesAreNotLockedOut(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, "nodes", "n2")))
	_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
	require.ErrorContains(t, err, "node n2 would be locked out by new keys")
	again(t, o.Dir, func(o *auth.Options) { o.Remove = []string{"n2"} })
	require.Equal(t, []string{"nodes/n2"}, again(t, o.Dir, func(o *auth.Options) { o.Nodes = []string{"n2"} }).Made)
	_, err = tryAgain(o.Dir, func(o *auth.Options) { o.JWT, o.Tenants = true, []string{"n1"} })
	require.ErrorContains(t, err, "holds nkeys, not JWTs")
}

// A node whose key is replaced in place by another offers the one that it began with: each of its connections says what to do about it.
func TestAnotherKeyInPlaceIsToldToTheNode(t *testing.T) {
	r := begin(t, layouts[0].change)
	own := filepath.Join(t.TempDir(), "n1")
	given := func() { require.NoError(t, os.CopyFS(own, os.DirFS(filepath.Join(r.dir, "nodes", "n1")))) }
	given()
	folder, err := auth.Open(own)
	require.NoError(t, err)
	control, err := busclient.Dial(t.Context(), busclient.ConnOptions{URLs: []string{r.server.URL()}, Prefix: "raftbus", Node: "n1", Role: busclient.RoleControl, Options: folder.Peers})
	require.NoError(t, err)
	t.Cleanup(control.Close)
	stands := func() bool { up, _ := control.Up(); return up }
	require.Eventually(t, stands, 10*time.Second, time.Millisecond)

	again(t, r.dir, func(o *auth.Options) { o.Remove = []string{"n1"} })
	again(t, r.dir, func(o *auth.Options) { o.Nodes = []string{"n1"} })
	require.NoError(t, os.RemoveAll(own))
	given()
	require.NoError(t, r.server.Reload())
	watches, err := leaf.Dial(leaf.Options{URLs: []string{r.server.LeafURL()}, Prefix: "raftbus", Node: "n1", NATS: folder.Leaf})
	require.NoError(t, err)
	t.Cleanup(watches.Close)
	for name, says := range map[string]func() string{"control": func() string { return control.Stats().LastError }, "leaf": watches.LastError} {
		require.Eventually(t, func() bool {
			return strings.Contains(says(), "another key than at this node's start: start the node again")
		}, 10*time.Second, time.Millisecond, name)
	}
	require.False(t, stands())

	folder, err = auth.Open(own)
	require.NoError(t, err)
	r.connect(folder.Peers[1])
}

// A reload of NATS ends a leaf connection only where the key of its user is revoked: which go on, and are heard, is told.
func TestLeafConnectionsThatOutliveTheirUsersAreTold(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			r, gone := begin(t, layout.change), []string{"n3"}
			folder, err := auth.Open(filepath.Join(r.dir, "nodes", "n3"))
			require.NoError(t, err)
			connections := map[string]*leaf.Conn{"nodes/n3": r.leaf(folder.Leaf)}
			for _, tenant := range folder.Tenants {
				gone = append(gone, tenant.Name)
				connections["nodes/n3/tenants/"+tenant.Name] = r.leaf(tenant.Leaf)
			}
			listener := r.connect(r.credentials()["users/client"])
			heard, err := listener.SubscribeSync("news.x")
			require.NoError(t, err)
			require.NoError(t, listener.Flush())
			delivers := func() bool {
				_ = connections["nodes/n3"].Publish("news.x", "", nil, nil)
				_, err := heard.NextMsg(100 * time.Millisecond)
				return err == nil
			}
			require.Eventually(t, delivers, 10*time.Second, time.Millisecond)
			o := again(t, r.dir, func(o *auth.Options) { o.Remove = gone })
			require.NoError(t, r.server.Reload())
			for folder, connection := range connections {
				if slices.Contains(o.LeafsLeft(), folder) {
					require.NotZero(t, connection.MaxPayload(), folder)
				} else {
					require.Eventually(t, func() bool { return connection.MaxPayload() == 0 }, 10*time.Second, time.Millisecond, folder)
				}
			}
			require.Equal(t, delivers(), slices.Contains(o.LeafsLeft(), "nodes/n3"))
			require.Equal(t, len(folder.Tenants) > 0, slices.Contains(o.LeafsLeft(), "nodes/n1/tenants/team-a"))
			require.NotContains(t, o.LeafsLeft(), "nodes/n1")

			// One that was broken off before their files were gone is told by the next.
			settings := filepath.Join(r.dir, "settings.json")
			kept := map[string]any{}
			raw, err := os.ReadFile(settings)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(raw, &kept))
			for _, folder := range o.LeafsLeft() {
				leaving, _ := kept["leaving"].([]any)
				kept["leaving"] = append(leaving, folder+"/leaf.nk", folder+"/leaf.creds", folder+"/leaf.json", folder+"/peers.json")
			}
			raw, err = json.Marshal(kept)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(settings, raw, 0o600))
			require.ElementsMatch(t, o.LeafsLeft(), again(t, r.dir, func(*auth.Options) {}).LeafsLeft())
			require.Empty(t, again(t, r.dir, func(*auth.Options) {}).LeafsLeft())
		})
	}
}

// leaf is a connection that is up.
func (r *realm) leaf(who []nats.Option) *leaf.Conn {
	c, err := leaf.Dial(leaf.Options{URLs: []string{r.server.LeafURL()}, Prefix: "raftbus", Node: "n3", NATS: who})
	require.NoError(r.t, err)
	r.t.Cleanup(c.Close)
	require.Eventually(r.t, func() bool { return c.MaxPayload() > 0 }, 10*time.Second, time.Millisecond)
	return c
}

// During a rotation nodes have two keys, in one order or the other; which of them a node that comes is to have only its end says.
func TestNoNodeComesDuringARotation(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	other := strings.Repeat("k", 44) + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "nodes", "n2", "cluster.key"), []byte(content(t, o.Dir, "nodes/n1/cluster.key")+other), 0o600))
	before := files(t, o.Dir)
	_, err := tryAgain(o.Dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
	require.ErrorContains(t, err, "nodes have different cluster keys, or are in the middle of a rotation")
	require.Equal(t, before, files(t, o.Dir))
}
