package jetstream

import (
	"testing"
	"time"
)

// A put is every write's path: planning it must cost little beside the log.
func BenchmarkPut(b *testing.B) {
	p := &Protocol{Prefix: "raftbus", Domain: "raftbus", Node: "n1"}
	r := Request{Subject: "$KV.app.color", Data: make([]byte, 128), Now: time.Now(), PayloadMax: payloadMax}
	b.ReportAllocs()
	for b.Loop() {
		if plan := p.Plan(r); plan.Write == nil || len(plan.Write.Command.Encode()) == 0 {
			b.Fatal("no command")
		}
	}
}
