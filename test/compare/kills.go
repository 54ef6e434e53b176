package main

// Failover: for how long is no write acknowledged, when the leader is killed?

import (
	"context"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

const downTime = 500 * time.Millisecond // before a killed server is started again

// runKills kills the leader of each system many times.
func (c *comparison) runKills(ctx context.Context) error {
	return c.each(ctx, "kills", func(s *system) error {
		o, _ := bench.Defaults("failover")
		o.KillEvery = c.killEvery
		o.Duration = time.Duration(c.kills) * c.killEvery
		o.Kill = func(ctx context.Context) error { return kill(ctx, s) }
		o.Progress = func(p bench.Progress) {
			if !p.Begins && int(p.Elapsed.Seconds())%10 == 0 {
				c.say("%s: %s %.0f of %.0f s", s.name, p.Phase, p.Elapsed.Seconds(), p.Takes.Seconds())
			}
		}
		r, err := bench.Run(ctx, s.target, o)
		if err != nil {
			return err
		}
		c.results.Failovers = append(c.results.Failovers, Failover{System: s.name, FailoverReport: *r.Failover, Failures: r.Failures})
		c.say("%s: %d kills: no write for %.0f ms (median), %.0f ms at worst", s.name, r.Failover.Kills, r.Failover.MedianMS, r.Failover.WorstMS)
		return nil
	})
}

// kill is kill -9 of the leader, which comes back a moment later.
func kill(ctx context.Context, s *system) error {
	leader, err := s.leads(ctx)
	if err != nil {
		return err
	}
	leader.kill()
	if err := rest(ctx, downTime); err != nil {
		return err
	}
	return leader.start()
}
