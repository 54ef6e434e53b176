package main

// The top command: the cluster as it is now, again and again. It asks the nodes and draws; what is drawn is package top's.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

const topHelp = `Show what the nodes of a cluster do, and go on showing it.

All nodes are asked for their figures over NATS, on <prefix>.node._all.stats: roles, terms,
how far their logs are, lag, links and round trips, writes and reads with their latencies,
and what they write to their disks. Rates and latencies are of the time since the last
look. A node that stops answering stays on the list, with the time of its last answer.

On a terminal the screen is drawn anew each time. Keys: q ends it, s sorts by another
column. Elsewhere, and with --json, each look is printed after the one before, without
escape codes. With --once the exit code is 5 when no node answers, 7 when none leads.`

const topExamples = `  raftbus top
  raftbus top --interval 5s --sort lag
  raftbus top --once
  raftbus top --json | jq '{time, leader, writes: .writes.per_second}'`

// topIntervalMin keeps the looks from being of the same figures: nodes gather theirs ten times a second.
const topIntervalMin = 200 * time.Millisecond

// topFlags are the flags of the top command.
type topFlags struct {
	interval     time.Duration
	once, asJSON bool
	sort, prefix string
}

func newTop(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Watch what the nodes of a cluster do",
		Long:    topHelp,
		Example: topExamples,
		Args:    noArgs,
	}
	f := &topFlags{}
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "`TIME` between two looks, 200ms or more")
	cmd.Flags().BoolVar(&f.once, "once", false, "look twice, an interval apart, print that, and end")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print each look as a line of JSON")
	cmd.Flags().StringVar(&f.sort, "sort", top.Sorts[0], "`COLUMN` to sort by: id, lag, writes, reads or sync")
	return targeted(cmd, lookup, func(cmd *cobra.Command, target natsopt.Target, prefix string, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		f.prefix = prefix
		return connected(cmd, target, func(conn *nats.Conn) error { return runTop(cmd, conn, f) })
	})
}

func (f *topFlags) check() error {
	if f.interval < topIntervalMin {
		return usagef("--interval %v: use %v or more", f.interval, topIntervalMin)
	}
	return oneOf("sort", f.sort, top.Sorts...)
}

func runTop(cmd *cobra.Command, conn *nats.Conn, f *topFlags) error {
	w := &topWatch{conn: conn, subject: busclient.StatsSubject(f.prefix, busclient.AllNodes), interval: f.interval}
	out := stdout(cmd)
	if f.once {
		return w.once(cmd.Context(), func(v top.View) error { return f.print(out, v) })
	}
	if !f.asJSON {
		if screen := openScreen(cmd.OutOrStdout()); screen != nil {
			defer screen.Close()
			return screen.run(cmd.Context(), w, f.sort)
		}
	}
	return w.run(cmd.Context(), func(v top.View) error { return f.print(out, v) })
}

// print prints one look, for files and pipes.
func (f *topFlags) print(w io.Writer, v top.View) error {
	if f.asJSON {
		return json.NewEncoder(w).Encode(v)
	}
	text := v.Text(top.Options{Sort: f.sort})
	if !f.once {
		text += "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// topWatch looks at a cluster at an interval.
type topWatch struct {
	conn     *nats.Conn
	subject  string
	interval time.Duration
	last     top.Sample
}

// look asks the nodes, and compares what they say with what they said before. While NATS is away no node answers; the error is in the view too.
func (w *topWatch) look(ctx context.Context) (top.View, error) {
	answers, err := observe.Gather(ctx, w.conn, w.subject, w.last.Silent())
	before := w.last
	w.last = before.Next(time.Now(), answers)
	v := top.Compare(before, w.last)
	if err != nil {
		v.Trouble = "NATS cannot be asked: " + err.Error()
	}
	return v, err
}

// run shows one look after another until ctx ends, which is no error, or NATS lets it ask no more. The first has no rates yet.
func (w *topWatch) run(ctx context.Context, show func(top.View) error) error {
	ticks := time.NewTicker(w.interval)
	defer ticks.Stop()
	for {
		v, lost := w.look(ctx) // while NATS is away it goes on, and shows it
		switch {
		case ctx.Err() != nil:
			return nil
		case w.conn.IsClosed():
			return unsent(lost)
		}
		if err := show(v); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once shows the second look, and judges it.
func (w *topWatch) once(ctx context.Context, show func(top.View) error) error {
	if _, err := w.look(ctx); err != nil {
		return unsent(err)
	}
	if len(w.last.Nodes) == 0 && ctx.Err() == nil {
		return failf(exitUnavailable, "no node answers on %s at %s: start the nodes, or check --prefix, the NATS account and what this user may publish", w.subject, w.conn.ConnectedUrlRedacted())
	}
	select {
	case <-time.After(w.interval):
	case <-ctx.Done():
		return ctx.Err()
	}
	v, lost := w.look(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := show(v); err != nil {
		return err
	}
	if lost != nil {
		return unsent(lost)
	}
	if v.Leader == "" {
		return failf(exitNoLeader, "no node that answers leads and serves: see 'raftbus status'")
	}
	return nil
}

// openScreen takes over the terminal, if that is where the command runs; nil: it is not.
func openScreen(out io.Writer) *screen {
	file, ok := out.(*os.File)
	if !ok {
		return nil
	}
	s, err := newScreen(os.Stdin, file)
	if err != nil {
		return nil
	}
	return s
}

// screenHelp is the last line of a screen.
func screenHelp(sort string, interval time.Duration) string {
	return fmt.Sprintf("q ends, s sorts (now by %s), every %v", sort, interval)
}
