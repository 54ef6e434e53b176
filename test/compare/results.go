package main

// What was measured, and the tables that are made of it.

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

// results are all figures of a comparison. The JSON form has every round; the tables have medians.
type results struct {
	Machine   Machine        `json:"machine"`
	Settings  map[string]any `json:"settings"`
	Limits    []Limits       `json:"limits"` // of each round
	Cells     []Cell         `json:"cells"`
	Failovers []Failover     `json:"failovers"`
	Loads     []Load         `json:"loads"`
	Samples   []Sample       `json:"samples"` // of the curves
}

// Cell is one system under one load, once.
type Cell struct {
	System    string  `json:"system"`
	Workload  string  `json:"workload"`
	Clients   int     `json:"clients"`
	Round     int     `json:"round"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"` // of the slower operation, if there are two
	P99       float64 `json:"p99_ms"`
	Failed    uint64  `json:"failed"`
	Seconds   float64 `json:"seconds"`
	ServerCPU float64 `json:"server_cpu_seconds"`
	ClientCPU float64 `json:"client_cpu_seconds"`
}

// Failover is how long a system acknowledged nothing.
type Failover struct {
	System string `json:"system"`
	bench.FailoverReport
	Failures map[string]uint64 `json:"failures"`
}

// Load is a system with many keys. Memory and disk are of all its servers, in bytes.
type Load struct {
	System    string  `json:"system"`
	Keys      int     `json:"keys"`
	PerSecond float64 `json:"per_second"`
	Memory    float64 `json:"memory_bytes"`
	Disk      float64 `json:"disk_bytes"`
	Restart   float64 `json:"restart_seconds"`
}

// public are the settings that figures depend on.
func (s *settings) public() map[string]any {
	return map[string]any{
		"rounds": s.rounds, "clients_per_connection": s.perConn, "keys": s.keys, "value_bytes": s.size,
		"warmup_seconds": s.warmup.Seconds(), "seconds": s.duration.Seconds(),
	}
}

func newCell(system string, r *bench.Report) Cell {
	c := Cell{System: system, Workload: r.Workload, Clients: r.Clients, PerSecond: r.PerSecond, Failed: r.Failed, Seconds: r.Seconds}
	for _, l := range r.Latency {
		c.P50, c.P99 = max(c.P50, l.P50), max(c.P99, l.P99)
	}
	return c
}

// perCPU is how many operations a second of the servers' processor time gave.
func (c *Cell) perCPU() float64 {
	if c.ServerCPU <= 0 {
		return 0
	}
	return c.PerSecond * c.Seconds / c.ServerCPU
}

// medianOf is the median of a figure over the rounds; false: there are none.
func (r *results) medianOf(system, workload string, clients int, figure func(*Cell) float64) (float64, bool) {
	var all []float64
	for i := range r.Cells {
		if c := &r.Cells[i]; c.System == system && c.Workload == workload && c.Clients == clients {
			all = append(all, figure(c))
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return bench.Median(all), true
}

// distinct are the values that cells have, in the order of their first cell.
func distinct[T comparable](cells []Cell, of func(*Cell) T) (all []T) {
	for i := range cells {
		if v := of(&cells[i]); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

// systems are all of them, the peers first.
func (r *results) systems() []string {
	all := distinct(r.Cells, func(c *Cell) string { return c.System })
	peers := slices.DeleteFunc(slices.Clone(all), isOurs)
	return append(peers, slices.DeleteFunc(all, func(name string) bool { return !isOurs(name) })...)
}

func isOurs(system string) bool { return strings.HasPrefix(system, "raftbus") }

func (r *results) markdown(w io.Writer) error {
	var b strings.Builder
	m := &r.Machine
	fmt.Fprintf(&b, "Measured %s: %d × %s, Linux %s; etcd %s, nats-server %s, nats.go %s, %s.\n", m.Date, m.CPUs, m.CPU, m.Kernel,
		m.Versions["go.etcd.io/etcd/server/v3"], m.Versions["github.com/nats-io/nats-server/v2"], m.Versions["github.com/nats-io/nats.go"], m.Versions["go"])
	if len(r.Cells) > 0 {
		fmt.Fprintf(&b, "Three replicas each, servers and clients on this machine; values of %v bytes, %v clients share a connection; medians of %v rounds of %v s.\n",
			r.Settings["value_bytes"], r.Settings["clients_per_connection"], r.Settings["rounds"], r.Settings["seconds"])
		if slices.ContainsFunc(r.systems(), func(name string) bool { return strings.HasPrefix(name, "jetstream") }) {
			b.WriteString("Reads of etcd and raftbus are linearizable; those of JetStream may be stale, and jetstream acknowledges writes before it syncs them.\n")
		}
		r.cellTables(&b)
	}
	r.limitLines(&b)
	r.failoverTable(&b)
	r.loadTable(&b)
	r.curveTables(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// table is a table with a column for each number of clients.
func (r *results) table(b *strings.Builder, title string, rows []string, cell func(row string, clients int) string) {
	clients := distinct(r.Cells, func(c *Cell) int { return c.Clients })
	fmt.Fprintf(b, "\n| %s |", title)
	for _, n := range clients {
		fmt.Fprintf(b, " %d |", n)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(clients)))
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |", row)
		for _, n := range clients {
			fmt.Fprintf(b, " %s |", cell(row, n))
		}
		b.WriteString("\n")
	}
}

// cellTables are a table of each workload, and the ratios below.
func (r *results) cellTables(b *strings.Builder) {
	systems := r.systems()
	for _, workload := range distinct(r.Cells, func(c *Cell) string { return c.Workload }) {
		of := func(figure func(*Cell) float64) func(string, int) float64 {
			return func(system string, clients int) float64 {
				v, _ := r.medianOf(system, workload, clients, figure)
				return v
			}
		}
		rate, p50, p99 := of(func(c *Cell) float64 { return c.PerSecond }), of(func(c *Cell) float64 { return c.P50 }), of(func(c *Cell) float64 { return c.P99 })
		what := workload + ": operations"
		if workload == "watch" {
			what = "watch: events"
		}
		r.table(b, what+" a second (p50, p99 in ms), by clients", systems, func(s string, n int) string {
			return fmt.Sprintf("%.0f (%.3g, %.3g)", rate(s, n), p50(s, n), p99(s, n))
		})
		perCPU := of((*Cell).perCPU)
		r.table(b, what+" for a second of the servers' CPU", systems, func(s string, n int) string { return fmt.Sprintf("%.0f", perCPU(s, n)) })
		r.ratioTable(b, workload+": how many times the peer's rate (and for a second of CPU)", rate, perCPU)
		r.failures(b, workload)
	}
}

// ratioTable sets each raftbus beside each peer.
func (r *results) ratioTable(b *strings.Builder, title string, figures ...func(system string, clients int) float64) {
	var rows []string
	pairs := map[string][2]string{}
	for _, ours := range r.systems() {
		for _, theirs := range r.systems() {
			if isOurs(ours) && !isOurs(theirs) {
				row := ours + " / " + theirs
				rows, pairs[row] = append(rows, row), [2]string{ours, theirs}
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	r.table(b, title, rows, func(row string, clients int) string {
		var all []string
		for _, figure := range figures {
			all = append(all, ratio(figure(pairs[row][0], clients), figure(pairs[row][1], clients)))
		}
		return all[0] + " (" + strings.Join(all[1:], ", ") + ")"
	})
}

func ratio(a, b float64) string {
	if b <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// failures says which systems failed operations: they are not as fast as they look.
func (r *results) failures(b *strings.Builder, workload string) {
	for i := range r.Cells {
		if c := &r.Cells[i]; c.Workload == workload && c.Failed > 0 {
			fmt.Fprintf(b, "\n%s, %d clients, round %d: %d operations failed.\n", c.System, c.Clients, c.Round, c.Failed)
		}
	}
}

// limitLines compare one client's write with what it cannot be faster than.
func (r *results) limitLines(b *strings.Builder) {
	if len(r.Limits) == 0 {
		return
	}
	of := func(figure func(Limits) float64) float64 {
		var all []float64
		for _, l := range r.Limits {
			all = append(all, figure(l))
		}
		slices.Sort(all)
		return bench.Median(all)
	}
	sync, trip := of(func(l Limits) float64 { return l.SyncMS }), of(func(l Limits) float64 { return l.RoundTripMS })
	least := 2*trip + sync
	fmt.Fprintf(b, "\nIn the same run: fdatasync of 4 KiB in a preallocated file %.3f ms, a NATS round trip %.3f ms; two of these and one of those, %.3f ms.", sync, trip, least)
	for _, s := range r.systems() {
		if p50, ok := r.medianOf(s, "put", 1, func(c *Cell) float64 { return c.P50 }); ok {
			fmt.Fprintf(b, " One client's put by %s: %.2f times that.", s, p50/least)
		}
	}
	b.WriteString("\n")
}

func (r *results) failoverTable(b *strings.Builder) {
	if len(r.Failovers) == 0 {
		return
	}
	b.WriteString("\n| kill -9 of the leader: no write acknowledged, ms | kills | median | worst |\n|---|---|---|---|\n")
	for _, f := range r.Failovers {
		fmt.Fprintf(b, "| %s | %d | %.0f | %.0f |\n", f.System, f.Kills, f.MedianMS, f.WorstMS)
	}
}

func (r *results) loadTable(b *strings.Builder) {
	if len(r.Loads) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %d keys of %d bytes | loaded a second | memory of all servers, MB | disk, MB | restart of all to serving, s |\n|---|---|---|---|---|\n", r.Loads[0].Keys, loadSize)
	for _, l := range r.Loads {
		fmt.Fprintf(b, "| %s | %.0f | %.0f | %.0f | %.1f |\n", l.System, l.PerSecond, l.Memory/1e6, l.Disk/1e6, l.Restart)
	}
}

// figure has three digits, and all that stand before the point.
func figure(y float64) string {
	if y >= 1000 {
		return fmt.Sprintf("%.0f", y)
	}
	return fmt.Sprintf("%.3g", y)
}

// curveTables are a table of each curve, with a line for each of its points.
func (r *results) curveTables(b *strings.Builder) {
	for _, name := range curveNames() {
		for _, s := range curves[name].series {
			if len(r.line(name, s.name, panels[0].figure)) == 0 {
				continue
			}
			fmt.Fprintf(b, "\n| %s: %s |", s.name, curves[name].grows)
			for _, p := range panels {
				fmt.Fprintf(b, " %s |", p.title)
			}
			b.WriteString("\n|---|" + strings.Repeat("---|", len(panels)) + "\n")
			for i, at := range r.line(name, s.name, panels[0].figure) {
				fmt.Fprintf(b, "| %.0f |", at.X)
				for _, p := range panels {
					fmt.Fprintf(b, " %s |", figure(r.line(name, s.name, p.figure)[i].Y))
				}
				b.WriteString("\n")
			}
		}
	}
}
