// Command compare runs raftbus, etcd and JetStream KV on one machine, gives all of them the same load with their official Go clients, and
// prints how they compare: operations a second, latencies, and operations for each second of processor time that the servers used.
//
//	go -C test/compare run .              # the tables of the README; half an hour, on a machine with nothing else to do
//	go -C test/compare run . --quick      # does it all work? two minutes
//	go -C test/compare run . --help
//
// Each system has three replicas, each server is a process of its own, and all keep their data in one folder, on one disk. Systems take
// turns: cell by cell, in rounds, of which the medians count. Figures move with the machine; ratios of one run are what counts.
//
// It needs Linux (/proc), and the Go tool to build raftbus with.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

// settings are what the flags say.
type settings struct {
	systems, workloads      []string
	clients                 []int
	rounds, perConn         int
	keys, size              int
	warmup, duration, pause time.Duration
	killEvery               time.Duration // longer than the slowest takes, and comes back
	dir, raftbus, save      string
	json, quick, matrix     bool
	kills, load             int
	loadClients             int
	loadPause               time.Duration
	curves                  []string
	curvesMax               int
	pictures                string
}

const usage = `Compare raftbus with etcd and JetStream KV on this machine, and print the tables as Markdown.

  go -C test/compare run .                                     all workloads and systems; half an hour
  go -C test/compare run . --quick                             does it all work? two minutes
  go -C test/compare run . --systems etcd,raftbus --workloads put --clients 64
  go -C test/compare run . --systems etcd,jetstream,raftbus --workloads watch --clients 1000    watchers, of one who writes: events a second
  go -C test/compare run . --matrix=false --kills 20           failover by kill -9 of the leader
  go -C test/compare run . --matrix=false --load 1000000       load, memory, disk, restart
  go -C test/compare run . --matrix=false --curves all --pictures DIR    how raftbus scales, as tables and pictures

Systems: etcd, jetstream-always (sync_interval: always), jetstream (default: acknowledges before it syncs),
raftbus (on one NATS server), raftbus-3 (on three), raftbus-key (on one, with message authentication).

`

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exit(runRole(role))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "compare: error: %v\n", err)
		os.Exit(2)
	}
	exit(run(ctx, s, os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "compare: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string, out io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() { fmt.Fprint(out, usage); f.PrintDefaults() }
	systems := f.String("systems", "etcd,jetstream-always,jetstream,raftbus,raftbus-3", "`NAMES` of systems")
	workloads := f.String("workloads", "put,get,cas,mixed", "`NAMES` of workloads")
	clients := f.String("clients", "1,16,64,256,1024", "`NUMBERS` of clients")
	f.IntVar(&s.rounds, "rounds", 3, "`NUMBER` of rounds, of which the medians count")
	f.IntVar(&s.perConn, "per-conn", 10, "`NUMBER` of clients that share a connection")
	f.IntVar(&s.keys, "keys", 1000, "`NUMBER` of keys")
	f.IntVar(&s.size, "size", 256, "`BYTES` of a value")
	f.DurationVar(&s.warmup, "warmup", time.Second, "`DURATION` of load before anything counts")
	f.DurationVar(&s.duration, "duration", 5*time.Second, "`DURATION` that is measured, of each cell")
	f.DurationVar(&s.pause, "pause", time.Second, "`DURATION` of rest between cells")
	f.StringVar(&s.dir, "dir", os.TempDir(), "`FOLDER` on the disk to be used; everything goes into a new one in it, which is removed")
	f.StringVar(&s.raftbus, "raftbus", "", "`FILE` of raftbus; empty: built from this checkout")
	f.StringVar(&s.save, "save", "", "`FILE` for all figures of all rounds, as JSON")
	f.BoolVar(&s.json, "json", false, "print JSON in place of Markdown")
	f.BoolVar(&s.quick, "quick", false, "one short round of little load")
	f.BoolVar(&s.matrix, "matrix", true, "run the workloads; false: only what --kills and --load ask for")
	f.IntVar(&s.kills, "kills", 0, "`NUMBER` of times that each leader is killed; 0: none")
	f.DurationVar(&s.killEvery, "kill-every", 12*time.Second, "`DURATION` from one kill to the next")
	f.IntVar(&s.load, "load", 0, "`NUMBER` of keys of 100 bytes to load; 0: none")
	f.IntVar(&s.loadClients, "load-clients", 1024, "`NUMBER` of clients that load them")
	f.DurationVar(&s.loadPause, "load-pause", time.Minute, "`DURATION` from the load to the look at memory and disk")
	curveList := f.String("curves", "", "`NAMES` of scale curves, or all: "+strings.Join(curveNames(), ", "))
	f.IntVar(&s.curvesMax, "curves-max", 1_000_000, "`NUMBER` beyond which no curve grows")
	f.StringVar(&s.pictures, "pictures", "", "`FOLDER` for the curves as SVG, one file each")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	s.systems, s.workloads = strings.Split(*systems, ","), strings.Split(*workloads, ",")
	if *curveList != "" {
		s.curves = strings.Split(strings.Replace(*curveList, "all", strings.Join(curveNames(), ","), 1), ",")
	}
	if err := s.check(*clients, f.Args()); err != nil {
		return nil, err
	}
	if s.quick {
		s.workloads, s.clients, s.rounds = []string{"put", "get", "cas"}, []int{16}, 1
		s.warmup, s.duration, s.pause = 500*time.Millisecond, 1500*time.Millisecond, 0
	}
	return s, nil
}

func (s *settings) check(clients string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: see --help", rest[0])
	}
	for _, name := range s.systems {
		if builders[name] == nil {
			return fmt.Errorf("--systems: no system %q: see --help", name)
		}
	}
	for _, name := range s.curves {
		if curves[name].xs == nil {
			return fmt.Errorf("--curves: no curve %q: use %s", name, strings.Join(curveNames(), ", "))
		}
	}
	for _, text := range strings.Split(clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("--clients: %q is no number of clients", text)
		}
		s.clients = append(s.clients, n)
	}
	for _, name := range s.workloads {
		if o, known := bench.Defaults(name); !known || o.Duration == 0 || name == "failover" {
			return fmt.Errorf("--workloads: %q: use put, get, cas, mixed, watch", name)
		}
	}
	if s.rounds < 1 || s.perConn < 1 || s.kills < 0 || s.load < 0 || s.killEvery < time.Second {
		return errors.New("--rounds and --per-conn are 1 or more, --kills and --load 0 or more, --kill-every a second or more")
	}
	return nil
}

// run does what is asked for, prints it, and leaves no process and no file behind.
func run(ctx context.Context, s *settings, out, progress io.Writer) error {
	dir, err := os.MkdirTemp(s.dir, "compare-")
	if err != nil {
		return fmt.Errorf("%w: name a folder that can be written with --dir", err)
	}
	defer os.RemoveAll(dir)
	if err := onDisk(dir); err != nil {
		return err
	}
	c := &comparison{settings: s, dir: dir, progress: progress, results: results{Machine: machine(), Settings: s.public()}}
	err = c.run(ctx)
	return errors.Join(err, s.report(out, &c.results)) // broken off or not: what was measured is told
}

func (s *settings) report(out io.Writer, r *results) error {
	if err := s.draw(r); err != nil {
		return err
	}
	if s.save != "" {
		body, err := json.MarshalIndent(r, "", " ")
		if err := errors.Join(err, os.WriteFile(s.save, body, 0o644)); err != nil {
			return err
		}
	}
	if s.json {
		return json.NewEncoder(out).Encode(r)
	}
	return r.markdown(out)
}

// draw writes the pictures that were asked for.
func (s *settings) draw(r *results) error {
	if s.pictures == "" {
		return nil
	}
	if err := os.MkdirAll(s.pictures, 0o755); err != nil {
		return err
	}
	for _, name := range s.curves {
		if err := os.WriteFile(filepath.Join(s.pictures, name+".svg"), []byte(r.picture(name).svg()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
