package page_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/page"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

// cluster is one that runs, with a client.
type cluster struct {
	nodes []*replica.Replica
	nc    *nats.Conn
}

func start(t *testing.T, members ...string) *cluster {
	t.Helper()
	return startWith(t, members, func(int, *replica.Options) {})
}

// startWith is start, with options that are changed node by node.
func startWith(t *testing.T, members []string, change func(i int, o *replica.Options)) *cluster {
	t.Helper()
	server := natstest.Run(t, embedded.Options{LeafPort: embedded.Random})
	c := &cluster{nodes: make([]*replica.Replica, len(members))}
	dir, errs := t.TempDir(), make([]error, len(members))
	var all sync.WaitGroup
	for i, id := range members {
		all.Go(func() {
			o := replica.Options{
				ID: id, Members: members, Dir: filepath.Join(dir, id), Logger: slog.New(slog.DiscardHandler),
				NATS: replica.NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}},
			}
			change(i, &o)
			c.nodes[i], errs[i] = replica.Start(t.Context(), o)
		})
	}
	all.Wait()
	for i := range members {
		require.NoError(t, errs[i])
		t.Cleanup(func() { c.stop(t, i) })
	}
	for _, r := range c.nodes {
		_, err := r.WaitReady(t.Context())
		require.NoError(t, err)
	}
	c.nc = natstest.Connect(t, server)
	return c
}

// stop stops a node, once.
func (c *cluster) stop(t *testing.T, i int) {
	t.Helper()
	select {
	case <-c.nodes[i].Done():
	default:
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, c.nodes[i].Stop(ctx))
	}
}

func (c *cluster) request(t *testing.T, subject, body string) string {
	t.Helper()
	m, err := c.nc.Request(subject, []byte(body), 5*time.Second)
	require.NoError(t, err)
	return string(m.Data)
}

// ask asks a page as a browser on this machine does, and returns code and body.
func ask(t *testing.T, handler http.Handler, path string, change ...func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8080"+path, nil)
	r = from(r, "127.0.0.1")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Code, string(body), w.Result().Header
}

// from is a request that came in on an address.
func from(r *http.Request, address string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(address), Port: 8080})))
}

func TestPageShowsClusterAndKeys(t *testing.T) {
	c := start(t, "n1")
	c.request(t, "raftbus.bucket.add.app", "")
	for _, key := range []string{"a.1", "a.2", "a.3", "b.1"} {
		c.request(t, "raftbus.kv.put.app."+key, "<b>"+key)
	}
	handler := c.nodes[0].Page()
	expect := func(path string, code int, parts ...string) {
		t.Helper()
		got, body, _ := ask(t, handler, path)
		require.Equal(t, code, got, body)
		for _, part := range parts {
			require.Contains(t, body, part)
		}
	}
	expect("/", 200, "<title>raftbus</title>")
	expect("/page.js", 200, "textContent")
	expect("/page.css", 200, "color-scheme")
	expect("/static/page.js", 404)
	expect("/page.go", 404)

	_, body, _ := ask(t, handler, "/api/cluster")
	var v top.View
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	require.Equal(t, "n1", v.Leader)
	require.Len(t, v.Nodes, 1)

	expect("/api/buckets", 200, `"buckets":["app"]`)
	expect("/api/keys?bucket=app&prefix=a.&limit=2", 200, `"keys":["a.1","a.2"]`, `"more":true`, `"after":"a.2"`)
	expect("/api/keys?bucket=app&prefix=a.&limit=2&after=a.2", 200, `"keys":["a.3"]`)
	expect("/api/value?bucket=app&key=a.1&read=linearizable", 200, `"revision":1`, `a.1"`)
	expect("/api/value?bucket=app&key=a.1&read=local", 200, `"read":"local"`, `"age_ms"`)
	expect("/api/value?bucket=app&key=none&read=local", 200, "30003", "key not found")

	expect("/api/value?bucket=app&key=a.1", 400, "linearizable or local")
	expect("/api/value?bucket=app&key=a.*&read=local", 400, "tokens")
	expect("/api/value?bucket=app&key=a%20b&read=local", 400, "tokens")
	expect("/api/value?bucket=app&key=a..b&read=local", 400, "tokens")
	expect("/api/keys?bucket=app.x", 400, "bucket: use")
	expect("/api/keys?bucket=%3E", 400, "bucket: use")
	expect("/api/keys?bucket=app&limit=0", 400, "1 to 1000")
	expect("/api/keys?bucket=app&limit=1001", 400, "1 to 1000")
	expect("/api/keys?bucket=app&prefix="+strings.Repeat("x", 4000), 400, "too long")
}

// Nothing can be changed, from whatever method.
func TestPageHasNoWayToWrite(t *testing.T) {
	handler := page.New(page.Options{})
	for _, path := range []string{"/", "/api/cluster", "/api/value?bucket=b&key=k&read=local", "/api/keys", "/api/buckets"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			code, _, _ := ask(t, handler, path, func(r *http.Request) { r.Method = method })
			require.Equal(t, http.StatusMethodNotAllowed, code, "%s %s", method, path)
		}
	}
}

func TestOtherSitesAreKeptOut(t *testing.T) {
	handler := page.New(page.Options{})
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for _, name := range []string{"127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.1.2.3:1"} {
		code, _, _ := ask(t, handler, "/", host(name))
		require.Equal(t, 200, code, name)
	}
	for _, name := range []string{"evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"} {
		for _, path := range []string{"/", "/api/cluster", "/api/buckets", "/nothing"} {
			code, body, _ := ask(t, handler, path, host(name))
			require.Equal(t, 403, code, name)
			require.Contains(t, body, "127.0.0.1 or localhost")
		}
	}
	for site, code := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 400, "none": 400, "": 400} {
		got, body, _ := ask(t, handler, "/api/keys", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", site) })
		require.Equal(t, code, got, body)
	}
	_, _, header := ask(t, handler, "/")
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, header.Get("Content-Security-Policy"), "; connect-src 'self';", "what is shown is told to nobody else")
	require.Equal(t, "same-origin", header.Get("Cross-Origin-Resource-Policy"))
	require.Equal(t, "same-origin", header.Get("Cross-Origin-Opener-Policy"))
	require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe")
	require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
	require.Equal(t, "no-store", header.Get("Cache-Control"))
	require.Empty(t, header.Get("Access-Control-Allow-Origin"))
}

// Beyond the machine the cluster is shown, under any name, but not what clients store.
func TestKeysAreForThisMachine(t *testing.T) {
	handler := page.New(page.Options{})
	outside := func(r *http.Request) { *r = *from(r, "10.1.2.3"); r.Host = "n1.example" }
	code, _, _ := ask(t, handler, "/", outside)
	require.Equal(t, 200, code)
	for _, path := range []string{"/api/buckets", "/api/keys?bucket=b", "/api/value?bucket=b&key=k&read=local"} {
		code, body, _ := ask(t, handler, path, outside)
		require.Equal(t, 403, code)
		require.Contains(t, body, "tunnel")
	}
}

// Without a leader the page says so, and without NATS too.
func TestPageWithoutACluster(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	nc := natstest.Connect(t, server)
	handler := page.New(page.Options{Conn: nc, Prefix: "raftbus", Stats: "raftbus.node._all.stats"})
	code, body, _ := ask(t, handler, "/api/buckets")
	require.Equal(t, 503, code)
	require.Contains(t, body, "nobody leads")
	code, body, _ = ask(t, handler, "/api/cluster")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"leader":""`)
	require.NotContains(t, body, "trouble")

	_, err := nc.Subscribe("raftbus.kv.keys.app", func(m *nats.Msg) { _ = m.Respond([]byte("<script>")) })
	require.NoError(t, err)
	for bucket, word := range map[string]string{"other": `{}`, "stream": `{"stream":"ALL","seq":7}`} { // as a JetStream that keeps the question says
		_, err = nc.Subscribe("raftbus.kv.keys."+bucket, func(m *nats.Msg) { _ = m.Respond([]byte(word)) })
		require.NoError(t, err)
	}
	for _, bucket := range []string{"app", "other", "stream"} {
		code, body, _ = ask(t, handler, "/api/keys?bucket="+bucket)
		require.Equal(t, 502, code, bucket)
		require.Contains(t, body, "no node of raftbus", bucket)
	}

	nc.Close()
	require.Eventually(t, func() bool {
		_, body, _ := ask(t, handler, "/api/cluster")
		return strings.Contains(body, `"trouble":"NATS cannot be asked`)
	}, 10*time.Second, 50*time.Millisecond)
}

// However many look, the nodes are asked twice a second.
func TestNodesAreAskedOnce(t *testing.T) {
	c := start(t, "n1")
	asked, err := c.nc.SubscribeSync(busclient.StatsSubject("raftbus", busclient.AllNodes))
	require.NoError(t, err)
	require.NoError(t, c.nc.Flush())
	handler := c.nodes[0].Page()
	began := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			code, _, _ := ask(t, handler, "/api/cluster")
			if code != 200 {
				t.Errorf("code %d", code)
			}
		})
	}
	all.Wait()
	require.NoError(t, c.nc.Flush())
	count, _, err := asked.Pending()
	require.NoError(t, err)
	require.LessOrEqual(t, count, 1+int(time.Since(began)/(500*time.Millisecond)))
}

// The listener serves the page beside what else it serves.
func TestListenerServesThePage(t *testing.T) {
	s, err := observe.Listen("127.0.0.1:0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	get := func(path, host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+path, nil)
		require.NoError(t, err)
		r.Host = host
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, 404, get("/", ""), "not before there are nodes")
	s.ShowPage(page.New(page.Options{}))
	require.Equal(t, 200, get("/", ""))
	require.Equal(t, 403, get("/", "evil.example"), "the local address reaches the page")
	require.Equal(t, 200, get("/livez", "evil.example"), "which probes may ask under any name")
	require.Equal(t, 404, get("/debug/pprof/", ""))
}

// leader is the place of the node that leads.
func (c *cluster) leader() int {
	return slices.IndexFunc(c.nodes, func(r *replica.Replica) bool {
		select {
		case <-r.Done():
			return false
		default:
			return r.Status().Role == "leader"
		}
	})
}

// What the page asks is allowed to a node's own user.
func TestPageWithANodesPermissions(t *testing.T) {
	roles := busclient.Roles{Prefix: "raftbus"}
	allowed := roles.Node("n1").And(roles.Service("n1"))
	server := natstest.Run(t, embedded.Options{Users: []embedded.User{
		{Name: "n1", Password: "secret", Publish: allowed.Publish, Subscribe: allowed.Subscribe, Responses: allowed.Responses},
		{Name: "any", Password: "secret", Publish: []string{">"}, Subscribe: []string{">"}},
	}})
	node, err := replica.Start(t.Context(), replica.Options{
		ID: "n1", Members: []string{"n1"}, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		NATS: replica.NATSOptions{URLs: []string{server.URL()}, Options: []nats.Option{nats.UserInfo("n1", "secret")}},
	})
	require.NoError(t, err)
	c := &cluster{nodes: []*replica.Replica{node}}
	defer c.stop(t, 0)
	_, err = node.WaitReady(t.Context())
	require.NoError(t, err)
	c.nc, err = nats.Connect(server.URL(), nats.UserInfo("any", "secret"))
	require.NoError(t, err)
	defer c.nc.Close()
	c.request(t, "raftbus.bucket.add.app", "")
	c.request(t, "raftbus.kv.put.app.a.b", "v")
	for path, part := range map[string]string{
		"/api/cluster": `"leader":"n1"`, "/api/buckets": `"app"`, "/api/keys?bucket=app": `"a.b"`, "/api/value?bucket=app&key=a.b&read=linearizable": `"value":"v"`,
	} {
		code, body, _ := ask(t, node.Page(), path)
		require.Equal(t, 200, code, body)
		require.Contains(t, body, part)
	}
}
