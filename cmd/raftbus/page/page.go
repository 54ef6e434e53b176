// Package page is the web page that a node shows to whoever runs the cluster: its state, links, plots, and its keys. All that is needed is
// in the binary. It is for looking: there is no way to change anything, and keys are shown to this machine only.
package page

import (
	"context"
	"embed"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

//go:embed static
var files embed.FS

// Options say whose page it is.
type Options struct {
	Conn   *nats.Conn // as a client of the cluster: what it may not ask, the page does not show
	Prefix string
	Stats  string // subject on which all nodes answer with their figures
}

// page answers for one cluster. Any number of requests may run at once.
type page struct {
	o Options

	mu   sync.Mutex // held while the nodes are asked: who comes meanwhile gets what they said
	last top.Sample
	view top.View
}

const (
	// viewFor is for how long a view is given again: however many look, the nodes are asked so often.
	viewFor = 500 * time.Millisecond
	// pauseMax is how old a sample may be to tell rates from it: after a longer one they would be of a time when nobody looked.
	pauseMax = 10 * time.Second
)

// New makes the page.
func New(o Options) http.Handler {
	p := &page{o: o}
	mux := http.NewServeMux()
	for path, name := range map[string]string{"/{$}": "index.html", "/page.js": "page.js", "/page.css": "page.css"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "static/"+name) })
	}
	mux.HandleFunc("GET /api/cluster", p.cluster)
	mux.HandleFunc("GET /api/buckets", onlyHere(p.buckets))
	mux.HandleFunc("GET /api/keys", onlyHere(p.keys))
	mux.HandleFunc("GET /api/value", onlyHere(p.value))
	return guarded(mux)
}

// policy lets the page load and ask what is of this server, and nothing else; what would make HTML of text throws.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guarded keeps other sites' pages out: a browser on this machine would ask for them, under a name of theirs that they point here
// (DNS rebinding), or as a part of theirs.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			h.Set(name, value)
		}
		if isHere(r) && !loopbackName(r.Host) {
			http.Error(w, "this is a page of the machine itself: ask for it as 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); strings.HasPrefix(r.URL.Path, "/api/") && site != "" && site != "same-origin" && site != "none" {
			http.Error(w, "only the page itself may ask this", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isHere reports whether a request came over loopback, so from this machine or through a tunnel to it; or through a proxy on it, which must not
// pass on what is onlyHere (docs/metrics.md).
func isHere(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

// loopbackName reports whether a Host header names loopback.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// onlyHere keeps what clients store from whoever reaches the port: nobody is asked for a password here.
func onlyHere(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !isHere(r) {
			fail(w, http.StatusForbidden, "keys are shown on loopback only: open the page through a tunnel, such as ssh -L 8080:127.0.0.1:8080")
			return
		}
		next(w, r)
	}
}

func (p *page) cluster(w http.ResponseWriter, r *http.Request) {
	observe.AnswerJSON(w, http.StatusOK, p.look(r.Context()))
}

// look asks the nodes, unless that was done just now.
func (p *page) look(ctx context.Context) top.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last.Time) < viewFor {
		return p.view
	}
	answers, err := observe.Gather(ctx, p.o.Conn, p.o.Stats, p.last.Silent())
	if ctx.Err() != nil {
		return p.view // who asked is gone
	}
	before, compared := p.last, p.last
	p.last = before.Next(time.Now(), answers)
	if p.last.Time.Sub(before.Time) > pauseMax {
		compared = top.Sample{}
	}
	if p.view = top.Compare(compared, p.last); err != nil {
		p.view.Trouble = "NATS cannot be asked: " + err.Error()
	}
	return p.view
}

// fail answers in the form of the native API's errors.
func fail(w http.ResponseWriter, code int, text string) {
	observe.AnswerJSON(w, code, map[string]any{"error": map[string]any{"code": code, "description": text}})
}
