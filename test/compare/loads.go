package main

// Many keys: how fast they are loaded, what memory and disk they take, and how long a restart of all servers takes.

import (
	"context"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

const loadSize = 100 // bytes of a value

func (c *comparison) runLoads(ctx context.Context) error {
	return c.each(ctx, "load", func(s *system) error {
		l, err := c.loadOne(ctx, s)
		c.results.Loads = append(c.results.Loads, l)
		return err
	})
}

func (c *comparison) loadOne(ctx context.Context, s *system) (Load, error) {
	o, _ := bench.Defaults("bulk")
	o.Keys, o.Size, o.Clients, o.Conns = c.load, loadSize, c.loadClients, (c.loadClients+c.perConn-1)/c.perConn
	o.Progress = func(p bench.Progress) {
		if !p.Begins && int(p.Elapsed.Seconds())%10 == 0 {
			c.say("%s: %d of %d keys", s.name, p.Done, p.Total)
		}
	}
	r, err := bench.Run(ctx, s.target, o)
	if err != nil {
		return Load{}, err
	}
	if err := rest(ctx, c.loadPause); err != nil {
		return Load{}, err
	}
	l := Load{System: s.name, Keys: c.load, PerSecond: r.PerSecond, Memory: s.memory()}
	if l.Disk, err = diskBytes(s.dir); err != nil {
		return l, err
	}
	s.stop()
	began := time.Now()
	err = s.launch(ctx)
	l.Restart = time.Since(began).Seconds()
	c.say("%s: %d keys at %.0f/s, %.0f MB of memory, %.0f MB of disk, serves %.1f s after a restart", s.name, l.Keys, l.PerSecond, l.Memory/1e6, l.Disk/1e6, l.Restart)
	return l, err
}
