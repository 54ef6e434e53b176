package main

// The scale curves: what an operation costs raftbus when one thing grows and all else stays as it is.

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

// curve is one thing that grows, and the loads that are measured meanwhile.
type curve struct {
	grows  string // what, for the axis
	xs     []int
	series []series
}

// series is a line of a curve: a load on a cluster.
type series struct {
	name, workload string
	layout         func(x int) layout
	load           func(o *bench.Options, x int)
	filled         bool // the keys are loaded before
}

// Sample is one point of a curve.
type Sample struct {
	Curve  string `json:"curve"`
	Series string `json:"series"`
	X      int    `json:"x"`
	Cell
	LeaderCPU float64 `json:"leader_cpu_seconds"`
}

// fixedRate is asked of clusters of which only the leader's cost is looked at, in operations a second.
const fixedRate = 2000

// eventsAsked is how many events a second all watchers together are to hear: below what the machine can. writesAsked bounds what the one who writes
// is to do: below what one client can.
const (
	eventsAsked = 20_000
	writesAsked = 500
)

func three(int) layout { return layout{nodes: 3, servers: 1} }

func multicast(x int) layout { return layout{nodes: x, servers: 1, multicast: true} }

func unicast(x int) layout { return layout{nodes: x, servers: 1} }

func clientsOf(o *bench.Options, x int) { o.Clients = x }

func sizeOf(o *bench.Options, x int) { o.Clients, o.Keys, o.Size = 16, 100, x }

func keysOf(o *bench.Options, x int) { o.Keys, o.Size, o.Filled = x, 100, true }

func anySize(*bench.Options, int) {}

func atFixedRate(o *bench.Options, _ int) { o.Rate = fixedRate }

func watchersOf(o *bench.Options, x int) {
	o.Clients, o.Rate = x, min(max(float64(eventsAsked)/float64(x), 2), writesAsked)
}

var curves = map[string]curve{
	"clients": {"clients", []int{1, 4, 16, 64, 256, 1024, 4096}, []series{
		{name: "put", workload: "put", layout: three, load: clientsOf},
		{name: "get", workload: "get", layout: three, load: clientsOf},
	}},
	"replicas": {"replicas, 64 clients", []int{1, 3, 5, 7}, []series{
		{name: "put", workload: "put", layout: unicast, load: anySize},
		{name: "put, multicast", workload: "put", layout: multicast, load: anySize},
	}},
	"leader": {"replicas, 2,000 puts a second", []int{1, 3, 5, 7}, []series{
		{name: "put", workload: "put", layout: unicast, load: atFixedRate},
		{name: "put, multicast", workload: "put", layout: multicast, load: atFixedRate},
	}},
	"size": {"bytes of a value, 16 clients", []int{16, 256, 4 << 10, 64 << 10, 1_000_000}, []series{
		{name: "put", workload: "put", layout: three, load: sizeOf},
		{name: "get", workload: "get", layout: three, load: sizeOf},
	}},
	"keys": {"keys of 100 bytes, 64 clients", []int{10_000, 100_000, 1_000_000}, []series{
		{name: "put", workload: "put", layout: three, load: keysOf, filled: true},
		{name: "get", workload: "get", layout: three, load: keysOf, filled: true},
	}},
	"watchers": {"watchers, of 500 writes and 20,000 events a second at most", []int{1, 10, 100, 1000, 10_000}, []series{
		{name: "event", workload: "watch", layout: three, load: watchersOf},
	}},
}

// curveNames are all curves, in order.
func curveNames() []string { return slices.Sorted(maps.Keys(curves)) }

func (c *comparison) runCurves(ctx context.Context) error {
	for _, name := range c.curves {
		for _, s := range curves[name].series {
			if err := c.runSeries(ctx, name, s); err != nil {
				return fmt.Errorf("curve %s, %s: %w", name, s.name, err)
			}
		}
	}
	return nil
}

// runSeries measures one line, on a cluster that is new where another is asked for.
func (c *comparison) runSeries(ctx context.Context, name string, s series) (err error) {
	var cluster *system
	stop := func() {
		if cluster != nil {
			cluster.stop()
		}
	}
	defer func() { stop() }()
	var runs layout
	for _, x := range curves[name].xs {
		if x > c.curvesMax {
			break
		}
		if l := s.layout(x); cluster == nil || l != runs {
			stop()
			if cluster, err = c.launchLayout(ctx, l, fmt.Sprintf("curve-%s-%s-%d", name, s.workload, x)); err != nil {
				return err
			}
			runs = l
		}
		if err := c.point(ctx, cluster, name, s, x); err != nil {
			return err
		}
	}
	return nil
}

// point measures one point, as often as there are rounds.
func (c *comparison) point(ctx context.Context, cluster *system, name string, s series, x int) error {
	o := c.options(s.workload, 64)
	s.load(&o, x)
	o.Conns = (o.Clients + c.perConn - 1) / c.perConn
	if s.filled {
		fill, _ := bench.Defaults("bulk")
		fill.Keys, fill.Size, fill.Clients = o.Keys, o.Size, 256
		if _, err := bench.Run(ctx, cluster.target, fill); err != nil {
			return err
		}
	}
	for round := range c.rounds {
		leader, err := cluster.leads(ctx)
		if err != nil {
			return err
		}
		m := meter{leader: leader}
		cell, err := c.measureWith(ctx, cluster, o, &m)
		if err != nil {
			return err
		}
		cell.Round = round + 1
		c.results.Samples = append(c.results.Samples, Sample{Curve: name, Series: s.name, X: x, Cell: cell, LeaderCPU: m.ofLeader})
		if err := rest(ctx, c.pause); err != nil {
			return err
		}
	}
	return nil
}

// line is the medians of a figure of a series.
func (r *results) line(name, of string, figure func(*Sample) float64) (points []chartPoint) {
	for _, x := range curves[name].xs {
		var all []float64
		for i := range r.Samples {
			if s := &r.Samples[i]; s.Curve == name && s.Series == of && s.X == x {
				all = append(all, figure(s))
			}
		}
		if len(all) > 0 {
			slices.Sort(all)
			points = append(points, chartPoint{float64(x), bench.Median(all)})
		}
	}
	return points
}

// microseconds of processor time that one operation took.
func microseconds(seconds float64, s *Sample) float64 {
	if n := s.PerSecond * s.Seconds; n > 0 {
		return seconds * 1e6 / n
	}
	return math.NaN()
}

// panels are what is drawn of each curve.
var panels = []struct {
	title  string
	figure func(*Sample) float64
}{
	{"operations a second", func(s *Sample) float64 { return s.PerSecond }},
	{"p50, ms", func(s *Sample) float64 { return s.P50 }},
	{"all servers' CPU, µs an operation", func(s *Sample) float64 { return microseconds(s.ServerCPU, s) }},
	{"the leader's CPU, µs an operation", func(s *Sample) float64 { return microseconds(s.LeaderCPU, s) }},
}

// picture draws a curve.
func (r *results) picture(name string) chart {
	picture := chart{Title: "raftbus by " + curves[name].grows}
	for _, p := range panels {
		panel := chartPanel{Title: p.title}
		for _, s := range curves[name].series {
			panel.Lines = append(panel.Lines, chartLine{s.name, r.line(name, s.name, p.figure)})
		}
		picture.Panels = append(picture.Panels, panel)
	}
	return picture
}
