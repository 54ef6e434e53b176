package main

// The comparison: which system is given which load, and when.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

type comparison struct {
	*settings
	dir      string
	progress io.Writer
	results  results
	binary   string // of raftbus
}

func (c *comparison) say(format string, args ...any) {
	fmt.Fprintf(c.progress, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

func (c *comparison) run(ctx context.Context) error {
	if c.binary = c.raftbus; c.binary == "" {
		c.say("building raftbus")
		c.binary = filepath.Join(c.dir, "raftbus-binary")
		if err := build(ctx, c.binary); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		wanted bool
		run    func(context.Context) error
	}{{c.matrix, c.runMatrix}, {c.kills > 0, c.runKills}, {c.load > 0, c.runLoads}, {len(c.curves) > 0, c.runCurves}} {
		if part.wanted {
			if err := part.run(ctx); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// launch starts a system in a folder of its own.
func (c *comparison) launch(ctx context.Context, name, purpose string) (*system, error) {
	dir, err := mkdir(c.dir, purpose, name)
	if err != nil {
		return nil, err
	}
	s, err := builders[name](dir, c.binary)
	if err != nil {
		return nil, err
	}
	return s, c.begin(ctx, s)
}

// launchLayout starts raftbus as laid out.
func (c *comparison) launchLayout(ctx context.Context, l layout, purpose string) (*system, error) {
	dir, err := mkdir(c.dir, purpose)
	if err != nil {
		return nil, err
	}
	s, err := newRaftbus(dir, c.binary, l)
	if err != nil {
		return nil, err
	}
	return s, c.begin(ctx, s)
}

func (c *comparison) begin(ctx context.Context, s *system) error {
	c.say("starting %s", s.name)
	err := s.launch(ctx)
	if err != nil {
		s.stop()
	}
	return err
}

// runMatrix runs all systems at once, and loads them in turn: cell by cell, and in another order in each round, so that what else
// happens on the machine happens to all of them.
func (c *comparison) runMatrix(ctx context.Context) error {
	var systems []*system
	defer func() {
		for _, s := range systems {
			s.stop()
		}
	}()
	for _, name := range c.systems {
		s, err := c.launch(ctx, name, "matrix")
		if err != nil {
			return err
		}
		systems = append(systems, s)
	}
	for round := range c.rounds {
		if err := c.measureLimits(systems); err != nil {
			return err
		}
		for _, workload := range c.workloads {
			for _, clients := range c.clients {
				for i := range systems {
					s := systems[(i+round)%len(systems)]
					cell, err := c.measure(ctx, s, workload, clients)
					if err != nil {
						return fmt.Errorf("%s, %s, %d clients: %w", s.name, workload, clients, err)
					}
					cell.Round = round + 1
					c.results.Cells = append(c.results.Cells, cell)
					if err := rest(ctx, c.pause); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// measureLimits takes the limits beside the first system that has a NATS server.
func (c *comparison) measureLimits(systems []*system) error {
	for _, s := range systems {
		if s.echo == "" {
			continue
		}
		l, err := limits(c.dir, s.echo)
		c.results.Limits = append(c.results.Limits, l)
		return err
	}
	return nil
}

// measure gives one system one load.
func (c *comparison) measure(ctx context.Context, s *system, workload string, clients int) (Cell, error) {
	return c.measureWith(ctx, s, c.options(workload, clients), &meter{})
}

func (c *comparison) options(workload string, clients int) bench.Options {
	o, _ := bench.Defaults(workload) // settings.check has seen that there is one
	o.Clients, o.Conns = clients, (clients+c.perConn-1)/c.perConn
	o.Keys, o.Size, o.Warmup, o.Duration = max(c.keys, clients), c.size, c.warmup, c.duration
	return o
}

func (c *comparison) measureWith(ctx context.Context, s *system, o bench.Options, meter *meter) (Cell, error) {
	o.Progress = func(p bench.Progress) { meter.tell(s, p) }
	r, err := bench.Run(ctx, s.target, o)
	if err != nil {
		return Cell{}, err
	}
	cell := newCell(s.name, &r)
	cell.ServerCPU, cell.ClientCPU = meter.servers, meter.clients
	c.say("%-17s %-6s %5d clients: %7.0f/s, p50 %.2f ms, p99 %.2f ms, %.0f for a second of the servers' CPU, %d failed",
		s.name, o.Workload, o.Clients, cell.PerSecond, cell.P50, cell.P99, cell.perCPU(), cell.Failed)
	return cell, nil
}

// meter reads the processor time at the begin and the end of what is measured.
type meter struct {
	measuring        bool
	servers, clients float64
	leader           *server // whose own is read too; nil: nobody's
	ofLeader         float64
}

func (m *meter) tell(s *system, p bench.Progress) {
	if !p.Begins {
		return
	}
	servers, clients, leader := s.cpu(), ownCPU(), 0.0
	if m.leader != nil && m.leader.running() {
		leader = cpuSeconds(m.leader.cmd.Process.Pid)
	}
	switch {
	case p.Phase == bench.Measuring:
		m.measuring, m.servers, m.clients, m.ofLeader = true, servers, clients, leader
	case m.measuring:
		m.measuring, m.servers, m.clients, m.ofLeader = false, servers-m.servers, clients-m.clients, leader-m.ofLeader
	}
}

// rest lets the machine come to rest.
func rest(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// each launches the systems one after the other, and stops each before the next.
func (c *comparison) each(ctx context.Context, purpose string, does func(*system) error) error {
	for _, name := range c.systems {
		s, err := c.launch(ctx, name, purpose)
		if err == nil {
			err = does(s)
			s.stop()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), ctx.Err())
		}
	}
	return nil
}
