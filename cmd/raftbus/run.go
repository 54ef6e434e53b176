package main

// Running nodes: from their start to their clean end.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// stopTime bounds how long a clean end may take. After it the process ends all the same, which loses nothing acknowledged.
const stopTime = 15 * time.Second

func runNode(cmd *cobra.Command, f *nodeFlags, target natsopt.Target, key []byte) error {
	logger := newLogger(cmd.ErrOrStderr(), f.level)
	running, err := startAll(cmd.Context(), []replica.Options{{
		ID: f.id, Members: f.members, Dir: f.dir, Prefix: f.prefix, ClusterKey: key, Logger: logger,
		NATS: replica.NATSOptions{URLs: target.URLs, Options: target.Options},
	}})
	if err != nil {
		return err
	}
	return running.serve(cmd.Context(), func(leader string) { logger.Info("ready", "node", f.id, "leader", leader) })
}

func runDev(cmd *cobra.Command, f *devFlags, members []string) error {
	logger := newLogger(cmd.ErrOrStderr(), f.level)
	server, err := embedded.Start(embedded.Options{Host: f.host, Port: f.port, Logger: logger})
	if err != nil {
		return fmt.Errorf("%w (--port)", err)
	}
	defer server.Shutdown()
	var options []replica.Options
	for _, id := range members {
		options = append(options, replica.Options{
			ID: id, Members: members, Dir: filepath.Join(f.dir, id), Prefix: f.prefix, Logger: logger,
			NATS: replica.NATSOptions{URLs: []string{server.URL()}},
		})
	}
	running, err := startAll(cmd.Context(), options)
	if err != nil {
		return err
	}
	return running.serve(cmd.Context(), func(leader string) {
		fmt.Fprintln(cmd.OutOrStdout(), f.readyLine(server.URL(), leader))
	})
}

// nodes are the nodes of this process.
type nodes []*replica.Replica

// startAll starts all nodes at once: at a first boot each of them waits for the others. If one cannot start, none is left
// running. A signal meanwhile is a clean end, which leaves no nodes and no error.
func startAll(ctx context.Context, options []replica.Options) (nodes, error) {
	started, failures := make(nodes, len(options)), make([]error, len(options))
	var all sync.WaitGroup
	for i, o := range options {
		all.Go(func() { started[i], failures[i] = replica.Start(ctx, o) })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil && ctx.Err() != nil {
			return nil, started.stop()
		}
		if err != nil {
			return nil, errors.Join(err, started.stop())
		}
	}
	return started, nil
}

// serve runs the nodes until ctx ends or one of them stops by itself. It calls ready once, when a leader serves.
func (n nodes) serve(ctx context.Context, ready func(leader string)) error {
	if len(n) == 0 {
		return nil // the end came during the start
	}
	waiting, cancel := context.WithCancel(ctx)
	var waiter sync.WaitGroup
	waiter.Go(func() {
		if leader, err := n[0].WaitReady(waiting); err == nil {
			ready(leader)
		}
	})
	err := n.wait(ctx)
	cancel()
	waiter.Wait()
	return errors.Join(err, n.stop())
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

// stop ends all nodes at once and cleanly, as far as the time allows.
func (n nodes) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	failures := make([]error, len(n))
	var all sync.WaitGroup
	for i, r := range n {
		if r != nil {
			all.Go(func() { failures[i] = r.Stop(ctx) })
		}
	}
	all.Wait()
	return errors.Join(failures...)
}
