package bench

// What a run has measured: as JSON, and for people.

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what was measured. Its JSON form is API: fields may be added, none is renamed.
type Report struct {
	Workload    string            `json:"workload"`
	API         string            `json:"api,omitempty"`
	Clients     int               `json:"clients"`
	Writers     int               `json:"writers,omitempty"` // of watch, whose clients are watchers
	Conns       int               `json:"conns"`
	Rate        float64           `json:"rate"` // 0: a closed loop
	Keys        int               `json:"keys"`
	Size        int               `json:"size"`
	ReadPercent int               `json:"read_percent,omitempty"` // of mixed
	Started     time.Time         `json:"started"`
	Warmup      float64           `json:"warmup_seconds"`
	Seconds     float64           `json:"seconds"` // that were measured
	Interrupted bool              `json:"interrupted"`
	Count       uint64            `json:"operations"` // that ended in the measured time; of watch: events
	PerSecond   float64           `json:"per_second"`
	Failed      uint64            `json:"failed"`
	Failures    map[string]uint64 `json:"failures"`
	Unsent      uint64            `json:"unsent"`  // due in an open loop, and never sent; they are in the latencies, as if done at the end
	Latency     []Latency         `json:"latency"` // of each kind of operation that was due in the measured time and done, whenever
	Watch       *WatchReport      `json:"watch,omitempty"`
	Failover    *FailoverReport   `json:"failover,omitempty"`
}

// Latency is how long one kind of operation took, in milliseconds.
type Latency struct {
	Op     string  `json:"op"`
	Count  uint64  `json:"count"`
	Mean   float64 `json:"mean_ms"`
	Min    float64 `json:"min_ms"`
	P50    float64 `json:"p50_ms"`
	P90    float64 `json:"p90_ms"`
	P99    float64 `json:"p99_ms"`
	P999   float64 `json:"p99_9_ms"`
	Max    float64 `json:"max_ms"`
	Curve  []Point `json:"curve"`
	Spread []Bin   `json:"spread"`
}

// Point says that so many percent took at most so long.
type Point struct {
	Percent float64 `json:"percent"`
	MS      float64 `json:"ms"`
}

// Bin says how many took at most so long, and longer than the bin before.
type Bin struct {
	MS    float64 `json:"ms"`
	Count uint64  `json:"count"`
}

// curvePercents are the points of a curve; the further out the closer.
var curvePercents = []float64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 92, 94, 96, 98, 99, 99.2, 99.4, 99.6, 99.8, 99.9, 99.95, 99.99, 99.995, 99.999, 100}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *run) report() Report {
	r.mu.Lock()
	report := Report{
		Workload: r.Workload, Clients: r.Clients, Conns: r.Conns, Rate: r.Rate, Keys: r.Keys, Size: r.Size,
		Started: r.begun.UTC(), Warmup: r.Warmup.Seconds(), Seconds: max(r.end.Sub(r.begin).Seconds(), 0),
		Failed: r.failed, Failures: maps.Clone(r.failures), Unsent: r.unsent, Latency: []Latency{},
		Count: r.sum(func(t *tally) uint64 { return t.inTime }),
	}
	for _, o := range slices.Sorted(maps.Keys(r.tallies)) {
		if t := r.tallies[o]; t.latency.TotalCount() > 0 {
			report.Latency = append(report.Latency, t.summary(o))
		}
	}
	r.mu.Unlock()
	if report.Seconds > 0 {
		report.PerSecond = float64(report.Count) / report.Seconds
	}
	switch r.Workload {
	case "mixed":
		report.ReadPercent = r.ReadPercent
	case "watch":
		report.Writers, report.Watch = r.Writers, r.watchReport()
	case "failover":
		report.Failover = r.failoverReport()
	}
	return report
}

func (t *tally) summary(o op) Latency {
	ms := func(percent float64) float64 { return milliseconds(time.Duration(t.latency.ValueAtQuantile(percent))) }
	l := Latency{
		Op: string(o), Count: uint64(t.latency.TotalCount()), Mean: t.latency.Mean() / float64(time.Millisecond), Min: milliseconds(time.Duration(t.latency.Min())),
		P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: milliseconds(time.Duration(t.latency.Max())), Spread: t.spread(),
	}
	for _, percent := range curvePercents {
		l.Curve = append(l.Curve, Point{percent, ms(percent)})
	}
	return l
}

// spread counts by powers of two of a millisecond, from the shortest to the longest.
func (t *tally) spread() (bins []Bin) {
	ceiling := latencyMin
	var sum uint64
	for _, bar := range t.latency.Distribution() {
		for time.Duration(bar.To) > ceiling {
			if ceiling *= 2; sum > 0 {
				bins, sum = append(bins, Bin{milliseconds(ceiling / 2), sum}), 0
			}
		}
		sum += uint64(bar.Count)
	}
	return append(bins, Bin{milliseconds(ceiling), sum})
}

// Print writes a report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.title())
	fmt.Fprintf(&b, "%d operations in %.1f s, %.0f a second; %d failed%s\n", r.Count, r.Seconds, r.PerSecond, r.Failed, r.reasons())
	if r.Unsent > 0 {
		fmt.Fprintf(&b, "%d were due and never sent: the cluster, or %d clients, are too slow for %v a second\n", r.Unsent, r.Clients, r.Rate)
	}
	if r.Watch != nil {
		fmt.Fprintf(&b, "%d changes, %d events to %d watchers, %d skipped\n", r.Watch.Written, r.Watch.Delivered, r.Clients, r.Watch.Skipped)
	}
	if r.Failover != nil {
		r.Failover.print(&b)
	}
	r.printLatency(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) title() string {
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("%v a second", r.Rate)
	}
	who := "clients"
	if r.Watch != nil {
		who = "watchers"
	}
	return fmt.Sprintf("%s: %d %s on %d connections, %s, values of %d bytes, %d keys", r.Workload, r.Clients, who, r.Conns, loop, r.Size, r.Keys)
}

// reasons are the kinds of failures, the most frequent first.
func (r *Report) reasons() string {
	kinds := slices.SortedFunc(maps.Keys(r.Failures), func(a, b string) int {
		return int(r.Failures[b]) - int(r.Failures[a])
	})
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", r.Failures[kind], kind)
	}
	if len(kinds) == 0 {
		return ""
	}
	return " (" + strings.Join(kinds, ", ") + ")"
}

func (f *FailoverReport) print(b *strings.Builder) {
	fmt.Fprintf(b, "%d kills, %d gaps without an acknowledged write: median %.0f ms, worst %.0f ms\n", f.Kills, len(f.Gaps), f.MedianMS, f.WorstMS)
	for _, g := range f.Gaps {
		fmt.Fprintf(b, "  at %.1f s: %.0f ms\n", g.At, g.MS)
	}
}

func (r *Report) printLatency(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "ms\tcount\tmean\tmin\tp50\tp90\tp99\tp99.9\tmax\t\n")
	for _, l := range r.Latency {
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", l.Op, l.Count, l.Mean, l.Min, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	_ = w.Flush() // into memory
}
