package observe

import (
	"runtime"
	"runtime/metrics"
)

// Process are the figures of the process, which several nodes may share (raftbus dev).
type Process struct {
	Goroutines int    `json:"goroutines"`
	Threads    int    `json:"max_procs"` // that Go code runs on at once
	HeapBytes  uint64 `json:"heap_bytes"`
	TotalBytes uint64 `json:"total_bytes"` // that Go has from the system and has not given back
	GCCycles   uint64 `json:"gc_cycles"`
}

// ReadProcess reads them without stopping anything.
func ReadProcess() *Process {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later Go has another name for it
		}
		return samples[i].Value.Uint64()
	}
	return &Process{
		Goroutines: runtime.NumGoroutine(), Threads: runtime.GOMAXPROCS(0), HeapBytes: value(0), TotalBytes: value(1) - value(2), GCCycles: value(3),
	}
}
