package guides

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// point is one of a curve: a sample of docs/scaling/figures.json.
type point struct {
	Curve, Series string
	X             int
	Rate          float64 `json:"per_second"`
	Seconds       float64
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	CPU           float64 `json:"server_cpu_seconds"`
	LeaderCPU     float64 `json:"leader_cpu_seconds"`
}

// micros is what one operation took of all servers' time, or of the leader's.
func (p point) micros(cpu float64) float64 { return cpu * 1e6 / (p.Rate * p.Seconds) }

// The page of scaling says what was measured.
func TestThePageOfScalingSaysWhatWasMeasured(t *testing.T) {
	page := read(t, "docs/scaling.md")
	var figures struct{ Samples []point }
	require.NoError(t, json.Unmarshal([]byte(read(t, "docs/scaling/figures.json")), &figures))
	points := map[string]point{}
	for _, p := range figures.Samples {
		points[fmt.Sprintf("%s/%s/%d", p.Curve, p.Series, p.X)] = p
	}
	all := func(name string) float64 { return points[name].micros(points[name].CPU) }
	leader := func(name string) float64 { return points[name].micros(points[name].LeaderCPU) }
	for _, said := range []string{
		fmt.Sprintf("%.1f ms of all servers' processor time", all("clients/put/1")/1000),
		fmt.Sprintf("%.0f µs with 64, %.0f with 256, %.0f with 1,024", all("clients/put/64"), all("clients/put/256"), all("clients/put/1024")),
		fmt.Sprintf("from %.0f µs with three nodes to %.0f with seven, %.2f times", leader("replicas/put/3"), leader("replicas/put/7"), leader("replicas/put/7")/leader("replicas/put/3")),
		fmt.Sprintf("for all, from %.0f to %.0f", leader("replicas/put, multicast/3"), leader("replicas/put, multicast/7")),
		fmt.Sprintf("%.1f times as much with a million keys", all("keys/get/1000000")/all("keys/get/10000")),
		fmt.Sprintf("a put of 64 KiB takes %.1f ms of all servers' time, of 1 MB %.0f ms", all("size/put/65536")/1000, all("size/put/1000000")/1000),
		fmt.Sprintf("A get of 1 MB takes %.1f ms", all("size/get/1000000")/1000),
		fmt.Sprintf("an event takes %.0f µs", all("watchers/event/100")),
		fmt.Sprintf("with 1,000 %.0f µs. With 10,000 it is %.0f µs", all("watchers/event/1000"), all("watchers/event/10000")),
		fmt.Sprintf("within %.0f ms and 99 in 100 within %.2f s", points["watchers/event/10000"].P50, points["watchers/event/10000"].P99/1000),
	} {
		require.Contains(t, page, said)
	}
	require.Contains(t, page, "A read costs a third to three quarters of a write")
	for _, clients := range []int{1, 4, 16, 64, 256, 1024, 4096} {
		read, write := fmt.Sprintf("clients/get/%d", clients), fmt.Sprintf("clients/put/%d", clients)
		require.InDelta(t, (1.0/3+3.0/4)/2, all(read)/all(write), (3.0/4-1.0/3)/2+0.01, "%d clients", clients)
	}
}
