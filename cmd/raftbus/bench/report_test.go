package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// The JSON form is API: a field that is missing here is a user's script that breaks.
func TestTheFieldsOfAReport(t *testing.T) {
	have := func(v any) []string {
		body, err := json.Marshal(v)
		require.NoError(t, err)
		fields := map[string]any{}
		require.NoError(t, json.Unmarshal(body, &fields))
		return slices.Sorted(maps.Keys(fields))
	}
	bubble(t, "put", func(_ *fake, o *Options) {}, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		require.Equal(t, strings.Fields("clients conns failed failures interrupted keys latency operations per_second rate seconds size started unsent warmup_seconds workload"), have(r))
		require.Equal(t, strings.Fields("count curve max_ms mean_ms min_ms op p50_ms p90_ms p99_9_ms p99_ms spread"), have(r.Latency[0]))
	})
	bubble(t, "watch", func(_ *fake, o *Options) {}, func(r Report, err error, _ *fake) {
		require.Equal(t, strings.Fields("delivered skipped written"), have(r.Watch))
	})
	bubble(t, "failover", func(_ *fake, o *Options) {}, func(r Report, err error, _ *fake) {
		require.Equal(t, strings.Fields("gaps kills median_ms worst_ms"), have(r.Failover))
	})
}

func TestAReportReads(t *testing.T) {
	var b bytes.Buffer
	bubble(t, "put", func(_ *fake, o *Options) { o.Clients, o.Rate = 1, 200 }, func(r Report, err error, _ *fake) {
		require.NoError(t, err)
		r.Failed, r.Failures = 3, map[string]uint64{"timeout": 1, "busy": 2}
		require.NoError(t, r.Print(&b))
		require.NoError(t, r.PrintBars(&b))
	})
	for _, want := range []string{
		"put: 1 clients on 1 connections, 200 a second, values of 256 bytes, 1000 keys\n",
		"1000 operations in 10.0 s, 100 a second; 3 failed (2 busy, 1 timeout)\n",
		"1200 were due and never sent: the cluster, or 1 clients, are too slow for 200 a second\n",
		"p99.9", "█",
	} {
		require.Contains(t, b.String(), want)
	}
}

// The percentiles of 1 to 100 ms, one each.
func TestASummaryIsExact(t *testing.T) {
	tally := &tally{latency: hdrhistogram.New(int64(latencyMin), int64(latencyMax), latencyDigits)}
	for i := 1; i <= 100; i++ {
		tally.add(time.Duration(i) * time.Millisecond)
	}
	l := tally.summary(opPut)
	require.EqualValues(t, 100, l.Count)
	for want, have := range map[float64]float64{1: l.Min, 50: l.P50, 90: l.P90, 99: l.P99, 100: l.Max, 50.5: l.Mean} {
		requireMS(t, want, have)
	}
	var all uint64
	for i, bin := range l.Spread {
		all += bin.Count
		require.True(t, i == 0 || bin.MS == 2*l.Spread[i-1].MS, "%v", l.Spread)
	}
	require.EqualValues(t, 100, all)
	for i := 1; i < len(l.Curve); i++ {
		require.LessOrEqual(t, l.Curve[i-1].MS, l.Curve[i].MS)
	}
	tally.add(time.Hour)
	tally.add(-time.Second)
	require.EqualValues(t, 102, tally.latency.TotalCount(), "what is out of range counts as the nearest in it")
}

func TestThePictureIsSVG(t *testing.T) {
	p := Plot{Title: "a < b", Curves: []Curve{{"put", []Point{{0, 0.5}, {50, 2}, {99, 30}, {100, 700}}}, {"get", []Point{{0, 0.2}, {100, 3}}}}}
	var b bytes.Buffer
	require.NoError(t, p.SVG(&b))
	lines, d := 0, xml.NewDecoder(&b)
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if start, is := token.(xml.StartElement); is && start.Name.Local == "polyline" {
			lines++
		}
	}
	require.Equal(t, 2, lines)
	require.NoError(t, Plot{}.SVG(io.Discard), "without a curve")
	low, high := p.decades()
	require.Equal(t, []int{-1, 3}, []int{low, high})
	require.Equal(t, plotX(100), plotX(99.9999), "the axis ends")
	require.InDelta(t, plotX(99)-plotX(90), plotX(99.9)-plotX(99), 0.01, "each nine has the same room")
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, Median([]float64{1, 2, 30}))
	require.Equal(t, 2.5, Median([]float64{1, 2, 3, 30}))
}
