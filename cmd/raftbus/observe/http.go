package observe

// A node has no port. For those who watch it with what asks by HTTP it may have one, on request, for looking only: nothing that is
// asked there changes anything.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of the server: whoever may connect must not hold up the node.
const (
	httpTimeout        = 10 * time.Second
	httpHeaderBytes    = 16 << 10
	httpConnectionsMax = 256 // one more ends one that says nothing (places.go)
	httpRequestsMax    = 32  // of what takes work to answer
	httpCloseWait      = 1 * time.Second
)

// Server answers /metrics, /stats, /livez, /readyz and /healthz for the nodes of a process. Until Show it says that they are starting.
type Server struct {
	listener net.Listener
	server   *http.Server
	nodes    atomic.Pointer[shown]
	page     atomic.Pointer[http.Handler]
	waiting  sync.Map     // what nodes that start wait for, by id
	running  atomic.Int64 // requests
	logger   *slog.Logger
	group    sync.WaitGroup
}

// shown are the nodes that a Server shows.
type shown struct {
	nodes   []Node
	metrics http.Handler
}

// Listen serves on an address: host and port; without a host it is loopback. Empty: it returns nil, on which Waits, Show and Close do nothing.
func Listen(address string, logger *slog.Logger) (*Server, error) {
	if address == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--http %s: %w: give it as 127.0.0.1:8080", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	s := &Server{logger: logger}
	if s.listener, err = net.Listen("tcp", net.JoinHostPort(host, port)); err != nil {
		return nil, fmt.Errorf("--http: %w: choose another port", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /stats", s.bounded(s.stats))
	mux.HandleFunc("GET /metrics", s.bounded(s.metrics))
	mux.HandleFunc("GET /", s.bounded(s.rest))
	s.server = &http.Server{
		Handler: waitedForAnew(mux), ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout, IdleTimeout: 6 * httpTimeout,
		MaxHeaderBytes: httpHeaderBytes, ConnContext: withPlace, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	s.group.Go(func() {
		if err := s.server.Serve(&places{Listener: s.listener, number: httpConnectionsMax}); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("http ends", "err", err)
		}
	})
	logger.Info("http", "address", s.Address())
	return s, nil
}

// Address is where the server listens, as host and port; empty: there is none.
func (s *Server) Address() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Show shows nodes from now on.
func (s *Server) Show(nodes ...Node) {
	if s == nil {
		return
	}
	metrics := promhttp.HandlerFor(NewMetrics(nodes...).registry, promhttp.HandlerOpts{Timeout: httpTimeout / 2})
	s.nodes.Store(&shown{nodes: nodes, metrics: metrics})
}

// Waits shows, until Show, what a node waits for that starts; empty: for nothing.
func (s *Server) Waits(id, what string) {
	switch {
	case s == nil:
	case what == "":
		s.waiting.Delete(id)
	default:
		s.waiting.Store(id, what)
	}
}

// ShowPage has all other paths answered by a handler from now on: the page for people.
func (s *Server) ShowPage(page http.Handler) {
	if s != nil {
		s.page.Store(&page)
	}
}

func (s *Server) rest(w http.ResponseWriter, r *http.Request) {
	page := s.page.Load()
	if page == nil {
		http.NotFound(w, r)
		return
	}
	(*page).ServeHTTP(w, r)
}

// Close ends the server and what it is answering.
func (s *Server) Close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpCloseWait)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // who still reads is cut off
	}
	s.group.Wait()
}

// bounded answers so many requests at once. What looks after nodes by asking for their health needs no place: who was refused one because
// others read figures would start a node again that is well.
func (s *Server) bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer s.running.Add(-1)
		if s.running.Add(1) > httpRequestsMax {
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		}
		placeOf(r).answering(true)
		next(w, r)
	}
}

// starting is the health of nodes that are not there yet.
var starting = Health{Live: true, Reasons: []string{"starting"}, Warnings: []string{}}

func (s *Server) health() []Health {
	all := s.nodes.Load()
	if all == nil {
		return s.startingHealth()
	}
	list := make([]Health, len(all.nodes))
	for i, n := range all.nodes {
		list[i] = n.Health()
	}
	return list
}

// startingHealth names those that wait; who can do something about that may look at nothing else yet.
func (s *Server) startingHealth() (list []Health) {
	s.waiting.Range(func(id, what any) bool {
		h := starting
		h.Node, h.Reasons = id.(string), []string{fmt.Sprintf("%s: starting: waits: %s", id, what)}
		list = append(list, h)
		return true
	})
	if len(list) == 0 {
		list = []Health{starting}
	}
	return list
}

// livez fails when a node of the process does not work any more: then, and only then, it helps to start it again.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	answerHealth(w, s.health(), func(h Health) bool { return h.Live })
}

// readyz fails while clients are not served with a node.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	answerHealth(w, s.health(), func(h Health) bool { return h.Ready })
}

// answerHealth answers 'ok', or for each node why not.
func answerHealth(w http.ResponseWriter, list []Health, good func(Health) bool) {
	text, code := "ok\n", http.StatusOK
	for _, h := range list {
		if good(h) {
			continue
		}
		if code == http.StatusOK {
			text, code = "", http.StatusServiceUnavailable
		}
		for _, reason := range h.Reasons {
			text += reason + "\n"
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // who asked is gone
}

// healthz has the reasons and warnings of all nodes, for machines; its code is that of readyz.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	list, code := s.health(), http.StatusOK
	for _, h := range list {
		if !h.Ready {
			code = http.StatusServiceUnavailable
		}
	}
	AnswerJSON(w, code, map[string]any{"ready": code == http.StatusOK, "nodes": list})
}

// stats has the figures of all nodes of the process.
func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	list := []Stats{}
	if all := s.nodes.Load(); all != nil {
		for _, n := range all.nodes {
			list = append(list, n.Stats())
		}
	}
	AnswerJSON(w, http.StatusOK, map[string]any{"nodes": list})
}

// AnswerJSON answers a request with a code and a body.
func AnswerJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // who asked is gone
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	all := s.nodes.Load()
	if all == nil {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	all.metrics.ServeHTTP(w, r)
}
