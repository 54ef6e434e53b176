package watch

import (
	"fmt"
	"runtime"
	"testing"
)

// serving is a hub with consumers at the head of one bucket.
func serving(consumers int, config func(i int) Config) *Hub {
	h := New("n1", 1, DefaultLimits())
	var changes []Change
	for i := range consumers {
		name := fmt.Sprintf("consumer%06d", i)
		changes = append(changes, Placed{Record{
			Ref: Ref{testBucket, name}, Bucket: "bucket", Config: config(i), Deliver: "_INBOX.ABCDEFGHIJKLMNOPQRSTUV." + name, Host: "n1", Boot: 1, Created: 1, Changed: 1,
		}})
	}
	h.Step(1, 1<<30, LeafUp{}, Applied{1, changes})
	for _, c := range h.all {
		h.interested(Interest{Subject: c.Deliver, Listened: true})
	}
	h.Step(1, 1<<30)
	return h
}

// BenchmarkFan is what one delivery costs the hub, when all watch the same.
func BenchmarkFan(b *testing.B) {
	for _, consumers := range []int{1, 1_000, 10_000} {
		b.Run(fmt.Sprint(consumers), func(b *testing.B) {
			h := serving(consumers, func(int) Config { return Config{Heartbeat: 5 * second, FlowControl: true, Inactive: 5 * second} })
			value := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			sent := 0
			for i := 0; sent < b.N; i++ {
				e := h.Step(int64(i+2), 1<<30, Applied{uint64(i) + 2, []Change{Stored{testBucket, Entry{Key: "some.key", Sequence: uint64(i) + 1, Value: value}}}})
				sent += len(e.Send)
				for _, s := range e.Send {
					h.processed(s.Reply)
				}
			}
		})
	}
}

// BenchmarkFilters is what one entry costs the hub, when all watch something else.
func BenchmarkFilters(b *testing.B) {
	for _, consumers := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(consumers), func(b *testing.B) {
			h := serving(consumers, func(i int) Config { return Config{Filter: patterns(fmt.Sprintf("k%d.>", i)), Inactive: 5 * second} })
			b.ResetTimer()
			for i := range b.N {
				h.Step(int64(i+2), 1<<30, Applied{uint64(i) + 2, []Change{Stored{testBucket, Entry{Key: "k7.key", Sequence: uint64(i) + 1}}}})
			}
		})
	}
}

// BenchmarkMemory is what a consumer takes.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := serving(10_000, func(int) Config { return Config{Heartbeat: 5 * second, FlowControl: true, Inactive: 5 * second} })
	h.out = Effects{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/consumer")
	runtime.KeepAlive(h)
}
