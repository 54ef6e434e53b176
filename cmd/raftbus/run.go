package main

// Running nodes: from their start to their clean end.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// stopTime bounds how long a clean end may take. After it the process ends all the same, which loses nothing acknowledged.
const stopTime = 15 * time.Second

func runNode(cmd *cobra.Command, f *nodeFlags, target natsopt.Target) error {
	hangups := make(chan os.Signal, 1) // from here on: a key that is replaced while a node starts must not end it
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	secrets, err := f.secrets(target)
	if err != nil {
		return err
	}
	outliveReaders()
	logger, lines := newLogger(cmd.ErrOrStderr(), f.level)
	defer lines.Close()
	if secrets.keyFile != "" {
		logger.Info("cluster key read", "another_accepted", secrets.another != nil)
	}
	page, err := observe.Listen(*f.http, logger)
	if err != nil {
		return err
	}
	defer page.Close()
	traces, err := newTraces(*f.traces, logger)
	if err != nil {
		return err
	}
	defer traces.Close()
	options := f.options(target, &secrets)
	options.Logger, options.Traces, options.Waiting = logger, traces, page.Waits
	running, err := startAll(cmd.Context(), []replica.Options{options}, stopTime)
	if err != nil {
		return err
	}
	defer running.rekeyOnHangup(hangups, secrets.keyFile, logger)()
	running.show(page)
	return running.serve(cmd.Context(), func(leader string) { logger.Info("ready", "node", f.id, "leader", leader) })
}

// options are what the flags say of the node.
func (f *nodeFlags) options(target natsopt.Target, s *secrets) replica.Options {
	return replica.Options{
		ID: f.id, Members: f.members, Join: f.join, Dir: f.dir, Prefix: f.prefix, ClusterKey: s.current, OtherKey: s.another, KeepLogBytes: f.keepLog,
		Eager: f.eager, Multicast: f.multicast,
		Domain: f.api.domain, DefaultAPI: f.api.serveDefault,
		RefuseOpenBus: !f.insecure, Bounds: f.bounds.bounds(),
		NATS: replica.NATSOptions{
			URLs: target.URLs, Options: target.Options, LeafURLs: f.api.leaf,
			Peers: s.folder.Peers, Clients: s.folder.Clients, Leaf: s.folder.Leaf,
			Accounts: accountsOf(s.tenants),
		},
	}
}

// newTraces are those of nodes, which say of which release they are.
func newTraces(collector string, logger *slog.Logger) (*observe.Traces, error) {
	return observe.NewTraces(collector, thisBuild().Version, logger)
}

// outliveReaders has a write to a pipe that nobody reads any more fail, where it would end the process: who reads the log may go, and nodes stay, and
// who measures removes what was made for it.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

func accountsOf(tenants []auth.Tenant) (list []replica.Account) {
	for _, t := range tenants {
		list = append(list, replica.Account(t))
	}
	return list
}

func runDev(cmd *cobra.Command, f *devFlags, members []string) error {
	outliveReaders()
	logger, lines := newLogger(cmd.ErrOrStderr(), f.level)
	defer lines.Close()
	server, err := f.startNATS(logger, f.leafPorts())
	if err != nil {
		return err
	}
	defer server.Shutdown()
	page, err := observe.Listen(*f.http, logger)
	if err != nil {
		return err
	}
	defer page.Close()
	traces, err := newTraces(*f.traces, logger)
	if err != nil {
		return err
	}
	defer traces.Close()
	var options []replica.Options
	for _, id := range members {
		options = append(options, replica.Options{
			ID: id, Members: members, Dir: f.folder(id), Prefix: f.prefix, Logger: logger, Traces: traces,
			Domain: f.api.domain, DefaultAPI: f.api.serveDefault, Waiting: page.Waits,
			NATS: replica.NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}},
		})
	}
	running, err := startAll(cmd.Context(), options, stopTime)
	if err != nil {
		return f.failure(err)
	}
	running.show(page)
	return running.serve(cmd.Context(), func(leader string) {
		fmt.Fprintln(cmd.OutOrStdout(), f.readyLine(server.URL(), server.LeafURL(), leader, page.Address()))
	})
}

// nodes are the nodes of this process.
type nodes []*replica.Replica

// show shows the nodes to who asks by HTTP.
func (n nodes) show(page *observe.Server) {
	list := make([]observe.Node, len(n))
	for i, r := range n {
		list[i] = r
	}
	page.Show(list...)
	if len(n) > 0 { // else the end came during the start
		page.ShowPage(n[0].Page())
	}
}

// startAll starts all nodes at once: at a first boot each of them waits for the others. If one cannot start, none is left
// running. A signal meanwhile is a clean end, which leaves no nodes and no error, but where a start has not ended so long after it.
func startAll(ctx context.Context, options []replica.Options, bound time.Duration) (nodes, error) {
	started, failures := make(nodes, len(options)), make([]error, len(options))
	reading, over := tellReading(ctx, statusEvery)
	defer over()
	var all sync.WaitGroup
	for i, o := range options {
		o.Reading = reading
		o.Version = thisBuild().Version
		o.Fatal = endNow
		all.Go(func() { started[i], failures[i] = startInTime(ctx, o, bound) })
	}
	all.Wait()
	for _, err := range failures {
		if errors.Is(err, errStartHangs) || err != nil && ctx.Err() == nil {
			return nil, endedBy(err, started.stop())
		}
	}
	if errors.Join(failures...) != nil {
		return nil, started.stop()
	}
	return started, nil
}

var errStartHangs = errors.New("the start did not end")

// startInTime starts a node, and waits no longer than bound for that once ctx has ended: what waits for a disk that hangs, or for
// the resolver, looks at no context (F22, L9).
func startInTime(ctx context.Context, o replica.Options, bound time.Duration) (*replica.Replica, error) {
	var r *replica.Replica
	var err error
	ended := make(chan struct{})
	go func() { // ends with the process at the latest
		defer close(ended)
		r, err = replica.Start(ctx, o)
	}()
	select {
	case <-ended:
		return r, err
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return r, err
	case <-time.After(bound):
		return nil, fmt.Errorf("node %s: %w: the disk of %s hangs or is slow, or the look-up of an address of NATS: look at both", o.ID, errStartHangs, o.Dir)
	}
}

// endNow ends the process as any failure of a disk does. Lines of the log that wait may be lost, so it says itself why.
func endNow(err error) { os.Exit(reportInTime(os.Stderr, err)) }

// serve runs the nodes until ctx ends or one of them stops by itself. It calls ready once, when a leader serves.
func (n nodes) serve(ctx context.Context, ready func(leader string)) error {
	if len(n) == 0 {
		return nil // the end came during the start
	}
	defer context.AfterFunc(ctx, func() { notify(statusEvery, "STOPPING=1") })()
	waiting, cancel := context.WithCancel(ctx)
	var waiters sync.WaitGroup
	waiters.Go(func() { tell(waiting, statusEvery, n.health) })
	waiters.Go(func() {
		if leader, err := n[0].WaitReady(waiting); err == nil {
			ready(leader)
		}
	})
	err := n.wait(ctx)
	cancel()
	waiters.Wait()
	return endedBy(err, n.stop())
}

// endedBy is why nodes ended, with what came of stopping them. The exit code is that of the first, if there is one: a disk that failed may well hold up the
// stop too, and that is no request of unknown outcome.
func endedBy(reason, stop error) error {
	if reason == nil || stop == nil {
		return errors.Join(reason, stop)
	}
	return &codedError{exitCode(reason), errors.Join(reason, stop)}
}

func (n nodes) health() (list []observe.Health) {
	for _, r := range n {
		list = append(list, r.Health())
	}
	return list
}

// wait returns nil when ctx ends, and otherwise why the first node that stopped by itself did so.
func (n nodes) wait(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan error, len(n))
	var watchers sync.WaitGroup
	for _, r := range n {
		watchers.Go(func() {
			select {
			case <-r.Done():
				stopped <- r.Err()
				cancel()
			case <-watching.Done():
			}
		})
	}
	watchers.Wait()
	select {
	case err := <-stopped:
		if err == nil {
			err = errors.New("the node stopped: see its log")
		}
		return err
	default:
		return nil
	}
}

// stop ends all nodes at once and cleanly, as far as the time allows. Several are a whole cluster.
func (n nodes) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	started := slices.DeleteFunc(slices.Clone(n), func(r *replica.Replica) bool { return r == nil })
	if len(n) == 1 && len(started) == 1 {
		return started[0].Stop(ctx)
	}
	return replica.StopAll(ctx, started)
}

// rekeyOnHangup has the nodes take the cluster key from its file anew at each SIGHUP, until the function that it returns is called. A
// file that holds no good key changes nothing.
func (n nodes) rekeyOnHangup(hangups <-chan os.Signal, file string, logger *slog.Logger) (end func()) {
	done := make(chan struct{})
	var listener sync.WaitGroup
	listener.Go(func() {
		for {
			select {
			case <-hangups:
				n.rekey(file, logger)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		listener.Wait()
	}
}

func (n nodes) rekey(file string, logger *slog.Logger) {
	if file == "" {
		logger.Warn("SIGHUP: there is no cluster key to read anew, start the node with one")
		return
	}
	current, another, err := auth.ReadClusterKey(file)
	if err != nil {
		logger.Error("SIGHUP: the cluster key stays as it is", "err", err)
		return
	}
	for _, r := range n {
		if err := r.Rekey(current, another); err != nil {
			logger.Error("SIGHUP: the cluster key stays as it is", "err", err)
			return
		}
	}
	logger.Info("cluster key read anew", "another_accepted", another != nil)
}
