package bench

// What is to be measured, and within which bounds.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options say what to measure. Defaults has those of each workload.
type Options struct {
	Workload    string
	Clients     int           // that have one operation under way each; of watch: the watchers
	Writers     int           // of watch: the clients that write
	Conns       int           // connections that they share; 0: one for each ten
	Rate        float64       // operations due in a second; 0: a closed loop
	Warmup      time.Duration // before anything counts; not of bulk
	Duration    time.Duration // that is measured; not of bulk, which ends with its last key
	Timeout     time.Duration // of one operation
	Keys        int           // k0, k1, ... among which operations choose at random
	Size        int           // bytes of a value
	ReadPercent int           // of mixed: how many of its operations are gets; the others are puts
	Filled      bool          // the keys are there: get and mixed need not write them first

	Kill      func(ctx context.Context) error // of failover: kills the leader, and starts it again; nil: the user does
	KillEvery time.Duration

	Progress func(Progress) // called when a phase begins, and once a second in it, on one goroutine; nil: nobody asks
}

// Progress says how far a run is.
type Progress struct {
	Phase   string // Filling, Warming, Measuring, Ended
	Begins  bool
	Done    uint64 // operations, or events of watch, in this phase
	Total   uint64 // of them, where it is known
	Failed  uint64
	Elapsed time.Duration // since the phase began
	Takes   time.Duration // the phase, where that is known
}

// The phases of a run.
const (
	Filling   = "filling"
	Warming   = "warming up"
	Measuring = "measuring"
	Ended     = "ended"
)

// Bounds of what can be asked for.
const (
	clientsMax  = 100_000
	keysMax     = 100_000_000
	sizeMax     = 64 << 20
	rateMax     = 10_000_000
	durationMax = 24 * time.Hour
	timeoutMax  = 10 * time.Minute // what the histograms can hold, and more
	stampBytes  = 8                // of a value of watch: when its write was due
)

const clientsPerConn = 10

// workload is one kind of load.
type workload struct {
	defaults Options
	fills    bool                              // the keys are written before it begins
	pick     func(*client) op                  // what a client does next
	run      func(*run, context.Context) error // what runs the clients
}

var common = Options{Clients: 64, Warmup: 2 * time.Second, Duration: 10 * time.Second, Timeout: 5 * time.Second, Keys: 1000, Size: 256, ReadPercent: 50, Writers: 1}

// but is the common defaults with some changed.
func but(change func(*Options)) Options {
	o := common
	change(&o)
	return o
}

// always picks one operation.
func always(o op) func(*client) op { return func(*client) op { return o } }

var workloads = map[string]workload{
	"put":   {common, false, always(opPut), (*run).loops},
	"get":   {common, true, always(opGet), (*run).loops},
	"cas":   {common, true, always(opCAS), (*run).loops},
	"mixed": {common, true, (*client).getOrPut, (*run).loops},
	"watch": {but(func(o *Options) { o.Clients = 10 }), false, always(opPut), (*run).watch},
	// Writes go on being sent while those before them wait in vain for a leader that is gone: only so is the first one seen that is
	// acknowledged after it.
	"failover": {but(func(o *Options) {
		o.Clients, o.Rate, o.Timeout, o.Duration, o.KillEvery = 256, 200, time.Second, 30*time.Second, 6*time.Second
	}), false, always(opPut), (*run).failover},
	"bulk": {but(func(o *Options) { o.Keys, o.Size, o.Warmup, o.Duration = 100_000, 100, 0, 0 }), false, always(opPut), (*run).bulk},
}

// Workloads are the names of all workloads, in order.
func Workloads() []string {
	return []string{"put", "get", "cas", "mixed", "watch", "failover", "bulk"}
}

// Defaults are the options of a workload if nothing else is said.
func Defaults(name string) (Options, bool) {
	w, known := workloads[name]
	w.defaults.Workload = name
	return w.defaults, known
}

// Check fills in the connections, and reports everything that is wrong.
func (o *Options) Check() error {
	if _, known := workloads[o.Workload]; !known {
		return fmt.Errorf("workload %q: use one of %s", o.Workload, strings.Join(Workloads(), ", "))
	}
	if o.Conns == 0 {
		o.Conns = (o.Clients + clientsPerConn - 1) / clientsPerConn
	}
	timed := o.Workload != "bulk"
	var errs []error
	for _, rule := range []struct {
		broken bool
		says   string
	}{
		{o.Clients < 1 || o.Clients > clientsMax, fmt.Sprintf("--clients %d: use 1 to %d", o.Clients, clientsMax)},
		{o.Writers < 1 || o.Writers > clientsMax, fmt.Sprintf("--writers %d: use 1 to %d", o.Writers, clientsMax)},
		{o.Conns < 1 || o.Conns > max(o.Clients, 1), fmt.Sprintf("--conns %d: use 1 to the number of clients, %d", o.Conns, o.Clients)},
		{!(o.Rate >= 0 && o.Rate <= rateMax), fmt.Sprintf("--rate %v: use 0, for a closed loop, to %d", o.Rate, rateMax)},
		{o.Rate > 0 && !timed, "--rate: bulk has none, it is as fast as its clients are"},
		{o.Keys < 1 || o.Keys > keysMax, fmt.Sprintf("--keys %d: use 1 to %d", o.Keys, keysMax)},
		{o.Size < 0 || o.Size > sizeMax, fmt.Sprintf("--size %d: use 0 to %d bytes", o.Size, sizeMax)},
		{o.Workload == "watch" && o.Size < stampBytes, fmt.Sprintf("--size %d: values of watch carry their time, and have %d bytes or more", o.Size, stampBytes)},
		{timed && (o.Duration <= 0 || o.Duration > durationMax), fmt.Sprintf("--duration %v: use more than zero, at most %v", o.Duration, durationMax)},
		{o.Warmup < 0 || o.Warmup > durationMax, fmt.Sprintf("--warmup %v: use 0 to %v", o.Warmup, durationMax)},
		{o.Timeout <= 0 || o.Timeout > timeoutMax, fmt.Sprintf("--op-timeout %v: use more than zero, at most %v", o.Timeout, timeoutMax)},
		{o.ReadPercent < 0 || o.ReadPercent > 100, fmt.Sprintf("--reads %d: use 0 to 100 percent", o.ReadPercent)},
		{o.Kill != nil && o.Workload != "failover", "--kill-cmd is failover's alone"},
		{o.Kill != nil && (o.KillEvery < time.Second || o.KillEvery > o.Duration), fmt.Sprintf("--kill-every %v: use 1s to --duration, %v", o.KillEvery, o.Duration)},
	} {
		if rule.broken {
			errs = append(errs, errors.New(rule.says))
		}
	}
	return errors.Join(errs...)
}
