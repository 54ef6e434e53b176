package main

// The bench commands: load for a cluster, and what its clients see of it. Package bench does it; here is who asks for it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
)

const benchHelp = `Put a cluster under load, and measure what its clients see: operations a second, and latencies.

The load comes through the official client of NATS KV, as from applications, or over the native
subjects (--api native). It writes to a bucket of its own, which it makes and removes.

In a closed loop each of --clients sends its next operation when the one before is done: that
shows what the cluster gives. With --rate operations are due at that many a second, whatever the
cluster does, and latencies count from when they were due: a stall of a second is in the
percentiles of all that was due in it. That shows what users feel at a load. Operations that
were due and never sent, since all clients were waiting, count as if done at the end.

Clients share connections, one for each ten if --conns says nothing else. A benchmark beside the
cluster on the same machine takes processor time from it: test/compare in the repository says
what the servers used.

Progress is on stderr, the report on stdout. Ctrl-C ends the load, and prints what was measured
so far. The exit code is 0 when anything was done, even if some operations failed: the report
says how many, and why. But where 'bulk' cannot write a key, or --kill-cmd fails, it is not,
though what was measured is printed. It is 4 when the bucket exists, 6 when the bucket may have
been made, or nothing was answered in time, and 7 when nobody serves.`

const benchExamples = `  raftbus bench put                                   # 64 clients, 10 s
  raftbus bench put --clients 256 --json
  raftbus bench get --rate 5000 --duration 1m --svg get.svg
  raftbus bench mixed --reads 90 --api native
  raftbus bench watch --clients 1000 --rate 100
  raftbus bench bulk --keys 1000000 --keep && raftbus bench get --keys 1000000 --reuse
  raftbus bench failover --context client.json --kill-cmd 'ssh $RAFTBUS_LEADER systemctl kill -s KILL raftbus@$RAFTBUS_LEADER'      # systemd starts it again`

// benchWords say what each workload is.
var benchWords = map[string]struct{ short, long string }{
	"put":   {"Write keys at random", "Write keys at random."},
	"get":   {"Read keys at random", "Read keys at random, after having written them. Every read is linearizable."},
	"cas":   {"Write keys that are at an expected revision", "Write keys at random if they are at the revision that was seen last. Clients have keys of their own as long as there are enough\n(--keys); with fewer they conflict, which counts as a failure."},
	"mixed": {"Read and write keys at random", "Read and write keys at random, after having written them once."},
	"watch": {"Write while many watch", "Write keys at random while --clients watch all of them. What is measured is events; their latency counts from when the\nwrite was due. A watcher that lags is not told of what was overwritten meanwhile: such events are counted as skipped."},
	"failover": {"Write while leaders are killed", "Write, and measure for how long no write is acknowledged. Kill the leader yourself meanwhile; or have a command do it: it is run by sh, with the\n" +
		"leader's id in RAFTBUS_LEADER, and sees to it that the node comes back before the next is killed."},
	"bulk": {"Load keys as fast as it goes", "Write --keys keys, each until it is acknowledged, as fast as the clients can."},
}

func newBench(lookup lookupEnv) *cobra.Command {
	cmd := group("bench", "Measure a cluster under load", benchHelp, benchExamples)
	for _, name := range bench.Workloads() {
		cmd.AddCommand(newWorkload(lookup, name))
	}
	return cmd
}

func newWorkload(lookup lookupEnv, name string) *cobra.Command {
	words := benchWords[name]
	cmd := &cobra.Command{Use: name, Short: words.short, Long: words.long, Example: "  raftbus bench " + name + " --json", Args: noArgs}
	f := &benchFlags{}
	f.register(cmd.Flags(), name)
	return resolved(cmd, lookup, f.check, func(cmd *cobra.Command, target natsopt.Target, _ []string) error {
		f.nats = target
		return f.run(cmd)
	})
}

type benchFlags struct {
	bench.Options
	nats                        natsopt.Target
	api, bucket, prefix, domain string
	defaultAPI, reuse, keep     bool
	json, bars                  bool
	svg, killCommand            string
	size                        byteSize
}

func (f *benchFlags) register(flags *pflag.FlagSet, workload string) {
	f.Options, _ = bench.Defaults(workload)
	o := &f.Options
	flags.StringVar(&f.api, "api", "kv", "`NAME` of what clients speak: kv, the official client of NATS KV, or native, requests on the native subjects")
	flags.IntVar(&o.Clients, "clients", o.Clients, "`NUMBER` of clients with one operation under way each; of watch: of watchers")
	flags.IntVar(&o.Conns, "conns", 0, "`NUMBER` of connections that clients share; 0: one for each ten clients")
	flags.IntVar(&o.Keys, "keys", o.Keys, "`NUMBER` of keys")
	f.size = byteSize(o.Size)
	flags.Var(&f.size, "size", "`BYTES` of a value, such as 64KiB")
	flags.DurationVar(&o.Timeout, "op-timeout", o.Timeout, "`DURATION` that one operation may take before it counts as failed")
	if workload != "bulk" {
		flags.Float64Var(&o.Rate, "rate", o.Rate, "`NUMBER` of operations due in a second; 0: a closed loop")
		flags.DurationVar(&o.Warmup, "warmup", o.Warmup, "`DURATION` of load before anything counts")
		flags.DurationVar(&o.Duration, "duration", o.Duration, "`DURATION` that is measured")
	}
	switch workload {
	case "mixed":
		flags.IntVar(&o.ReadPercent, "reads", o.ReadPercent, "`PERCENT` of the operations that are reads")
	case "watch":
		flags.IntVar(&o.Writers, "writers", o.Writers, "`NUMBER` of clients that write")
	case "failover":
		flags.StringVar(&f.killCommand, "kill-cmd", "", "`COMMAND` that kills the node $RAFTBUS_LEADER and starts it again; not given: you do")
		flags.DurationVar(&o.KillEvery, "kill-every", o.KillEvery, "`DURATION` from one kill to the next")
	}
	flags.StringVar(&f.bucket, "bucket", "raftbus-bench", "`BUCKET` to write to; it must not be there yet")
	flags.BoolVar(&f.reuse, "reuse", false, "the bucket is there, with its keys: write into it, and let it be")
	flags.BoolVar(&f.keep, "keep", false, "do not remove the bucket")
	prefixVar(flags, &f.prefix)
	domainVar(flags, &f.domain)
	flags.BoolVar(&f.defaultAPI, "default-api", false, "with --api kv, name no domain: whatever answers then is measured, be it a JetStream")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON, with the points of the latencies' curves")
	flags.BoolVar(&f.bars, "bars", false, "draw the latencies in the terminal too")
	flags.StringVar(&f.svg, "svg", "", "`FILE` for a picture of the latencies, by percentile")
}

func (f *benchFlags) check() error {
	f.Size = int(min(f.size, math.MaxInt32))
	switch {
	case f.domain != "" && !config.ValidToken(f.domain):
		return usagef("--js-domain %q: use one subject token", f.domain)
	case f.defaultAPI && (f.domain != "" || f.api != "kv"):
		return usagef("--default-api names no domain: give it without --js-domain and with --api kv")
	}
	if err := errors.Join(oneOf("api", f.api, "kv", "native"), checkPrefix(f.prefix), checkBucket(f.bucket)); err != nil {
		return err
	}
	if f.killCommand != "" {
		f.Kill = f.killLeader
	}
	f.Filled = f.reuse
	if err := f.Options.Check(); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// connect connects a client. What NATS refuses one of NATS KV is told by nats.go alone.
func (f *benchFlags) connect() (*nats.Conn, error) {
	return connect(f.nats, "bench", native.Options, nats.ErrorHandler(nil))
}

func (f *benchFlags) target() bench.Target {
	if f.api == "native" {
		return bench.Native{Connect: f.connect, Prefix: f.prefix, Bucket: f.bucket, Timeout: f.Timeout}
	}
	k := bench.KV{Connect: f.connect, Domain: f.domain, Config: jetstream.KeyValueConfig{Bucket: f.bucket}}
	switch {
	case f.defaultAPI:
		k.Domain = ""
	case f.domain == "":
		k.Domain = f.prefix
	}
	return k
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	outliveReaders() // else the bucket would stay
	picture, err := f.picture()
	if err != nil {
		return err
	}
	defer picture.drop()
	target := f.target()
	if !f.reuse {
		if err := f.create(cmd.Context(), target); err != nil {
			return f.failure(err)
		}
		if !f.keep {
			defer f.remove(cmd.ErrOrStderr(), target)
		}
	}
	f.Progress = (&benchProgress{w: cmd.ErrOrStderr(), workload: f.Workload}).tell
	report, err := bench.Run(cmd.Context(), target, f.Options)
	report.API = f.api
	if report.Interrupted && report.Count > 0 {
		err = nil // Ctrl-C is one of the ways to end it
	}
	if report.Count > 0 {
		err = errors.Join(err, f.say(cmd.OutOrStdout(), &report), picture.draw(&report))
	}
	return f.failure(err)
}

// picture is the file for the picture of a report; nil: none is wanted.
type picture struct {
	file  *file
	ended bool
}

// picture makes the file before anything is measured for it. One that is there stays as it is until there is another.
func (f *benchFlags) picture() (*picture, error) {
	if f.svg == "" {
		return nil, nil
	}
	file, err := newFileInstead(f.svg)
	if err != nil {
		return nil, usagef("--svg: %w: name a file that can be written", err)
	}
	return &picture{file: file}, nil
}

func (p *picture) draw(report *bench.Report) error {
	if p == nil {
		return nil
	}
	p.ended = true
	return p.file.end(report.Plot().SVG(p.file))
}

// drop removes what was begun if nothing was drawn.
func (p *picture) drop() {
	if p != nil && !p.ended {
		_ = p.file.end(errNothingDrawn) // who measures has an error of his own
	}
}

var errNothingDrawn = errors.New("nothing was drawn")

func (f *benchFlags) create(ctx context.Context, target bench.Target) error {
	ctx, cancel := context.WithTimeout(ctx, f.nats.Timeout)
	defer cancel()
	err := target.Create(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return f.doubt("no answer in time")
	case errors.Is(err, context.Canceled):
		return f.doubt("interrupted")
	case errors.Is(err, bench.ErrUnknown):
		return f.doubt(err.Error())
	}
	return err
}

// doubt says that the bucket may be there (C5). It is not removed: another run may have made it meanwhile.
func (f *benchFlags) doubt(why string) error {
	return failf(exitTimeout, "%s: bucket %s may have been made: look with 'raftbus bucket info %s', and remove it with 'raftbus bucket rm %s' or use it with --reuse", why, f.bucket, f.bucket, f.bucket)
}

// remove removes the bucket, also after Ctrl-C.
func (f *benchFlags) remove(w io.Writer, target bench.Target) {
	ctx, cancel := context.WithTimeout(context.Background(), f.nats.Timeout)
	defer cancel()
	if err := target.Remove(ctx); err != nil {
		fmt.Fprintf(w, "raftbus: bucket %s is left behind (%v): remove it with 'raftbus bucket rm %s', or go on with it by --reuse\n", f.bucket, err, f.bucket)
	}
}

func (f *benchFlags) say(w io.Writer, report *bench.Report) error {
	if f.json {
		return json.NewEncoder(w).Encode(report)
	}
	if err := report.Print(w); err != nil || !f.bars {
		return err
	}
	return report.PrintBars(w)
}

// failure gives an error its exit code and its remedy.
func (f *benchFlags) failure(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, bench.ErrExists):
		return failf(exitConflict, "bucket %s exists: remove it, name another with --bucket, or write into it with --reuse", f.bucket)
	case errors.Is(err, bench.ErrNotFound):
		return failf(exitNotFound, "%w: --reuse takes a bucket that is there, with as many keys as --keys says", err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return failf(exitNoLeader, "nobody serves bucket %s (%w): wait for a leader ('raftbus status'), or check --prefix and --js-domain", f.bucket, err)
	case errors.Is(err, context.DeadlineExceeded):
		return failf(exitTimeout, "no answer in time (%w): see 'raftbus status', or wait longer with --op-timeout", err)
	}
	return err
}

// benchProgress tells how far the load is.
type benchProgress struct {
	w        io.Writer
	workload string
}

func (p *benchProgress) tell(now bench.Progress) {
	if now.Begins {
		return // there is nothing to tell yet
	}
	far := fmt.Sprintf("%d of %d keys", now.Done, now.Total)
	if now.Takes > 0 {
		far = fmt.Sprintf("%.0f of %.0f s, %d operations", now.Elapsed.Seconds(), now.Takes.Seconds(), now.Done)
	}
	fmt.Fprintf(p.w, "%s: %s %s, %.0f a second, %d failed\n", p.workload, now.Phase, far, float64(now.Done)/now.Elapsed.Seconds(), now.Failed)
}
