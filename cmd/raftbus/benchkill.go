package main

// Killing leaders, for `raftbus bench failover`.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
)

// leaderPause is between two questions who leads.
const leaderPause = 50 * time.Millisecond

// killLeader runs the command with the leader's name. What the command prints is shown on stderr.
func (f *benchFlags) killLeader(ctx context.Context) error {
	leader, err := f.leader(ctx)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "sh", "-c", f.killCommand)
	command.Env = append(os.Environ(), "RAFTBUS_LEADER="+leader)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr // no pipes: a node that it starts may keep them
	if err := command.Run(); err != nil {
		return fmt.Errorf("--kill-cmd with RAFTBUS_LEADER=%s: %w", leader, err)
	}
	return nil
}

// leader waits until somebody leads.
func (f *benchFlags) leader(ctx context.Context) (string, error) {
	conn, err := f.connect()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	for {
		nodes, err := cluster.Ask(ctx, conn, f.prefix)
		if err != nil {
			return "", unsent(err)
		}
		if leader := nodes.Leader(); leader != nil {
			return leader.ID, nil
		}
		select {
		case <-time.After(leaderPause):
		case <-ctx.Done():
			return "", unserved(nodes, f.prefix, conn)
		}
	}
}
