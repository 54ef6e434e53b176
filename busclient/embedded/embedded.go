// Package embedded runs a NATS server inside this process: for `raftbus dev`, and for tests. It is the only place outside
// of tests that knows nats-server. It prints nothing, handles no signals, and needs no configuration file.
package embedded

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// How long a server may take to listen, and to say who it is.
const (
	startTimeout = 5 * time.Second
	greetTimeout = 2 * time.Second
	greetMax     = 64 << 10 // bytes of the first line that a server says
)

// Random makes the server choose a free port.
const Random = -1

// Options describe the server. The zero value listens for clients on a free port of 127.0.0.1, and on nothing else.
type Options struct {
	Host        string // empty: 127.0.0.1
	Port        int    // for clients; 0 or Random: a free one
	LeafPort    int    // for leaf nodes; 0: none
	ClusterPort int    // for other servers of one cluster; 0: none
	ClusterName string // the same for all servers of a cluster
	Routes      []string
	ServerName  string       // empty: NATS makes one up
	StoreDir    string       // where JetStream keeps its files; empty: JetStream is off
	MaxPayload  int          // bytes; 0: 1 MiB
	ConfigFile  string       // in NATS's own syntax, for accounts and permissions; what is set here wins
	Users       []User       // empty: everybody may do everything
	Logger      *slog.Logger // nil: silent
}

// User may connect with name and password, and publish and subscribe what is listed; empty lists allow everything.
type User struct {
	Name, Password     string
	Publish, Subscribe []string
	DenyPublish        []string
	Responses          bool // it may also answer requests, on whatever reply subject they came with
}

// Server is a running server.
type Server struct {
	server  *server.Server
	options Options
	log     *serverLog
	port    int
}

// Start starts a server, and returns when it takes connections. The error names a port that is in use.
func Start(o Options) (*Server, error) {
	opts, err := o.server()
	if err != nil {
		return nil, err
	}
	for _, port := range []int{opts.Port, opts.LeafNode.Port, opts.Cluster.Port} {
		if err := free(opts.Host, port); err != nil {
			return nil, err
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	run := &Server{server: s, options: o, log: newServerLog(o.Logger)}
	s.SetLoggerV2(run.log, false, false, false)
	s.Start()
	if err := run.check(); err != nil {
		run.Shutdown()
		return nil, err
	}
	return run, nil
}

// How often StartAgain tries, and for how long.
const (
	againEvery   = 50 * time.Millisecond
	againTimeout = 30 * time.Second
)

// StartAgain is Start on a port that a server had before. The system may have given that to a connection of somebody's meanwhile, which will soon have
// ended: until then it tries again.
func StartAgain(o Options) (*Server, error) {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	for end := time.After(againTimeout); ; {
		s, err := Start(o)
		if err == nil {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-end:
			return nil, err
		}
	}
}

func (o *Options) server() (*server.Options, error) {
	opts := &server.Options{}
	if o.ConfigFile != "" {
		var err error
		if opts, err = server.ProcessConfigFile(o.ConfigFile); err != nil {
			return nil, fmt.Errorf("embedded NATS server: configuration: %w", err)
		}
	}
	opts.Host, opts.Port = cmp.Or(o.Host, opts.Host, "127.0.0.1"), cmp.Or(o.Port, opts.Port, Random)
	opts.NoSigs = true
	opts.ServerName = cmp.Or(o.ServerName, opts.ServerName)
	opts.MaxPayload = cmp.Or(int32(o.MaxPayload), opts.MaxPayload)
	opts.JetStream, opts.StoreDir = opts.JetStream || o.StoreDir != "", cmp.Or(o.StoreDir, opts.StoreDir)
	if o.LeafPort != 0 {
		opts.LeafNode.Host, opts.LeafNode.Port = opts.Host, o.LeafPort
	}
	if o.ClusterPort != 0 {
		opts.Cluster.Host, opts.Cluster.Port = opts.Host, o.ClusterPort
		opts.Cluster.Name = o.ClusterName
	}
	for _, u := range o.Users {
		opts.Users = append(opts.Users, u.server())
	}
	return opts, o.routes(opts)
}

func (o *Options) routes(opts *server.Options) error {
	for i, route := range o.Routes {
		u, err := url.Parse(route)
		if err != nil { // it may carry a password
			return fmt.Errorf("embedded NATS server: route number %d is not valid: write nats://host:port", i+1)
		}
		opts.Routes = append(opts.Routes, u)
	}
	return nil
}

func (u User) server() *server.User {
	p := &server.Permissions{}
	if len(u.Publish)+len(u.DenyPublish) > 0 {
		p.Publish = &server.SubjectPermission{Allow: u.Publish, Deny: u.DenyPublish}
	}
	if len(u.Subscribe) > 0 {
		p.Subscribe = &server.SubjectPermission{Allow: u.Subscribe}
	}
	if u.Responses {
		p.Response = &server.ResponsePermission{MaxMsgs: server.DEFAULT_ALLOW_RESPONSE_MAX_MSGS, Expires: server.DEFAULT_ALLOW_RESPONSE_EXPIRATION}
	}
	return &server.User{Username: u.Name, Password: u.Password, Permissions: p}
}

// free looks whether a fixed port can be had, because the server itself would only log that it cannot.
func free(host string, port int) error {
	if port == Random || port == 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("embedded NATS server: port %d: %w: stop what listens there, or choose another port", port, err)
	}
	return l.Close()
}

// check waits until the server listens, and makes sure that who answers there is this server: one that could not bind
// would otherwise leave its clients talking to whoever has the port.
func (s *Server) check() error {
	if !s.server.ReadyForConnections(startTimeout) {
		return fmt.Errorf("embedded NATS server: not ready after %v: %w", startTimeout, s.log.failure())
	}
	s.port = s.server.Addr().(*net.TCPAddr).Port
	id, err := greeting(s.server.Addr().String())
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	if id != s.server.ID() {
		return fmt.Errorf("embedded NATS server: another server answers on %s: choose another port", s.server.Addr())
	}
	return nil
}

// greeting returns the id that the server at an address gives before anything else is said.
func greeting(address string) (id string, err error) {
	c, err := net.DialTimeout("tcp", address, greetTimeout)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return "", err
	}
	line, err := bufio.NewReaderSize(c, greetMax).ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("%s answers unlike a NATS server: %w", address, err)
	}
	said, ok := strings.CutPrefix(string(line), "INFO ")
	if !ok {
		return "", fmt.Errorf("%s answers unlike a NATS server", address)
	}
	var info struct {
		ID string `json:"server_id"`
	}
	err = json.Unmarshal([]byte(said), &info)
	return info.ID, err
}

// URL is where clients connect.
func (s *Server) URL() string { return s.server.ClientURL() }

// Port is the port that clients connect to, or did before Shutdown.
func (s *Server) Port() int { return s.port }

// LeafURL is where leaf nodes connect; empty without a leaf port.
func (s *Server) LeafURL() string {
	vars, err := s.server.Varz(nil)
	if err != nil || vars.LeafNode.Port == 0 {
		return ""
	}
	return "nats://" + net.JoinHostPort(vars.LeafNode.Host, strconv.Itoa(vars.LeafNode.Port))
}

// RouteURL is where other servers of the cluster connect; empty without a cluster port.
func (s *Server) RouteURL() string {
	if a := s.server.ClusterAddr(); a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Name is the server's name.
func (s *Server) Name() string { return s.server.Name() }

// Reload has the server read its configuration file anew, as `nats-server --signal reload` does.
func (s *Server) Reload() error {
	opts, err := s.options.server()
	if err != nil {
		return err
	}
	return s.server.ReloadOptions(opts)
}

// Retire has the server take no more connections, tell those it has that it is about to go, and go, as `nats-server --signal ldm` does. It returns
// when it has gone; Shutdown has it go at once.
func (s *Server) Retire() { s.server.LameDuckShutdown() }

// Shutdown stops the server and returns when it has ended. It may be called again.
func (s *Server) Shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
