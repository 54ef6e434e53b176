package top

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft/measure"
)

var update = flag.Bool("update", false, "write testdata")

var (
	began = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	ids   = []string{"n1", "n2", "n3"}
)

// counted is a histogram of so many durations.
func counted(n int, each time.Duration) observe.Durations {
	var h measure.Histogram
	for range n {
		h.Observe(each)
	}
	return observe.FromMeasured(h.Read())
}

// figures are a node's, so many seconds after it began; n1 leads.
func figures(id string, seconds int) observe.Stats {
	done := 1000 * seconds
	s := observe.Stats{
		Node: id, Prefix: "raftbus", Version: "v1", Time: began.Add(time.Duration(seconds) * time.Second), Started: began,
		Health: observe.Health{Node: id, Live: true, Ready: true}, Role: "follower", Term: 4, Leader: "n1", Members: ids,
		Log:   observe.Log{First: 1, Last: uint64(done), Commit: uint64(done), Applied: uint64(done)},
		Disk:  observe.Disk{Bytes: uint64(done) * 512, LogBytes: 64 << 20, Syncs: counted(seconds*100, 800*time.Microsecond)},
		Store: observe.Store{Bytes: 12345678},
		Doors: []observe.Door{{Name: "kv"}, {Name: "jetstream"}},
	}
	for i := range s.Doors {
		s.Doors[i].Reads, s.Doors[i].Writes = counted(0, 0), counted(0, 0)
	}
	for _, to := range ids {
		if to != id {
			s.Peers = append(s.Peers, observe.Peer{ID: to, Link: "connected", Since: began, RoundTrip: 0.0004})
		}
	}
	if id == "n1" {
		s.Role = "leader"
		s.Doors[0].Writes, s.Doors[1].Writes = counted(done/2, 1500*time.Microsecond), counted(done/2, 1500*time.Microsecond)
		s.Doors[0].Reads = counted(done*2, 300*time.Microsecond)
		s.Doors[0].Errors = []observe.Errors{{Code: 30003, Count: uint64(seconds)}}
		for i := range s.Peers {
			s.Peers[i].Lag = new(uint64)
		}
	}
	return s
}

func answers(seconds int) []observe.Stats {
	return []observe.Stats{figures("n1", seconds), figures("n2", seconds), figures("n3", seconds)}
}

func at(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

// scenes are pairs of samples, by the name of their golden file.
func scenes() map[string][2]Sample {
	first := Sample{}.Next(at(10), answers(10))
	well := first.Next(at(12), answers(12))

	// n3 does not answer any more, and its link broke.
	faulty := answers(20)[:2]
	for i := range faulty {
		s := &faulty[i]
		p := &s.Peers[1]
		p.Link, p.Since, p.Reason, p.Lag = "broken", at(13), "no responders", nil
		s.Health.Warnings = []string{"the link to n3 is broken: no responders"}
	}
	lag := uint64(7012)
	faulty[0].Peers[1].Lag = &lag
	faulty[1].Disk.Slow, faulty[1].NATS = true, []observe.Conn{{Role: "bulk", LastError: "EOF"}}

	// Nobody leads, one waits to be added, one was started anew.
	lost := answers(30)
	for i := range lost {
		lost[i].Role, lost[i].Leader, lost[i].Term = "candidate", "", 9
		lost[i].Health = observe.Health{Live: true, Reasons: []string{lost[i].Node + " knows no leader"}}
		lost[i].Doors = nil
	}
	lost[2].Started = at(29)
	waits := figures("n9", 1)
	waits.Role, waits.Members, waits.Peers = "joining", []string{"n9"}, nil

	hostile := answers(12)
	hostile[1].Health.Warnings = []string{"\x1b[2J\x1b]0;mine\a\nn1: all is well\t\u202e"}
	hostile[1].Role = "follower\tlead\x1b[31mer"
	return map[string][2]Sample{
		"first":   {{}, first},
		"well":    {first, well},
		"faults":  {well.Next(at(18), answers(18)), well.Next(at(18), answers(18)).Next(at(20), faulty)},
		"lost":    {well, well.Next(at(30), append(lost, waits))},
		"gone":    {well, well.Next(at(50), nil)},
		"hostile": {first, first.Next(at(12), hostile)},
		"nobody":  {{}, Sample{}.Next(at(0), nil)},
	}
}

func TestTextOfTwoSamples(t *testing.T) {
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) { golden(t, name+".txt", Compare(s[0], s[1]).Text(Options{})) })
	}
	s := scenes()["faults"]
	golden(t, "narrow.txt", Compare(s[0], s[1]).Text(Options{Width: 60, Height: 12, Sort: "lag", Color: true}))
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "go test ./cmd/raftbus/top -update writes it")
}

func TestViewOfTwoSamples(t *testing.T) {
	s := scenes()["well"]
	v := Compare(s[0], s[1])
	require.Equal(t, "n1", v.Leader)
	require.InDelta(t, 1000, v.Writes.PerSecond, 1e-9, "both doors")
	require.InDelta(t, 2000, v.Reads.PerSecond, 1e-9)
	require.InDelta(t, 0.5, v.Errors, 1e-9+0.5)
	require.InDelta(t, 0.0015, v.Writes.P50, 0.0005, "within the bucket")
	require.InDelta(t, 100, v.Nodes[1].Syncs.PerSecond, 1e-9)
	require.InDelta(t, 512_000, v.Nodes[1].Written, 1e-6)
	require.Zero(t, *v.Nodes[0].Lag)

	text, err := json.Marshal(v)
	require.NoError(t, err)
	var again View
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, v, again)
	require.NotContains(t, string(text), `"since":"0001`)
}

// What is of another process, or older, is no ground for a rate; what was not answered again is none either.
func TestNoRatesWithoutTwoFiguresOfOneProcess(t *testing.T) {
	first := Sample{}.Next(at(10), answers(10))
	require.Zero(t, Compare(Sample{}, first).Writes)
	require.Zero(t, Compare(first, first.Next(at(11), answers(10))).Writes, "the same figures")
	restarted := answers(2)
	for i := range restarted {
		restarted[i].Started = at(8)
	}
	require.Zero(t, Compare(first, first.Next(at(12), restarted)).Writes)
	require.Zero(t, Compare(first, first.Next(at(12), nil)).Writes)
	other := answers(12)
	other[0].Doors[0].Writes.Bounds = []float64{1} // of a build that counts in other buckets
	require.NotPanics(t, func() { Compare(first, first.Next(at(12), other)) })
}

// A node stays while somebody counts it as a member, with the time of its last answer, however long that is ago.
func TestWhoStopsAnsweringStays(t *testing.T) {
	s := Sample{}.Next(at(1), answers(1)[:2])
	require.Equal(t, ids, s.IDs(), "a member that never answered is missed")
	require.Zero(t, s.find("n3").At)
	s = s.Next(at(2), answers(2))
	for second := 3; second < 9; second++ {
		s = s.Next(at(second), answers(second)[:2])
		require.Equal(t, at(2), s.find("n3").At)
		require.EqualValues(t, 2000, s.find("n3").Log.Applied)
		require.Equal(t, ids[2:], s.Silent())
	}
	removed := answers(9)[:2]
	for i := range removed {
		removed[i].Members = ids[:2]
	}
	require.Equal(t, ids[:2], s.Next(at(9), removed).IDs())
}

// However many answer, and whatever they say, the list has an end.
func TestNodesAreBounded(t *testing.T) {
	flood := answers(1)
	for i := range 10 * observe.NodesMax {
		f := figures("n1", 1)
		f.Node = "x" + strings.Repeat("y", i%60) + string(rune('a'+i%26))
		f.Members = []string{"bad id", "\x1b[2J", f.Node}
		flood = append(flood, f)
	}
	s := Sample{}.Next(at(1), flood)
	require.LessOrEqual(t, len(s.Nodes), observe.NodesMax)
	require.NotContains(t, s.IDs(), "bad id")
}

func TestOrders(t *testing.T) {
	s := scenes()["faults"]
	v := Compare(s[0], s[1])
	first := func(by string) string { return v.sorted(by)[0].ID }
	require.Equal(t, "n1", first("id"))
	require.Equal(t, "n3", first("lag"))
	require.Equal(t, "n1", first("writes"))
	require.Equal(t, "n1", first("reads"))
	v.Nodes[1].Syncs = Flow{PerSecond: 1, P50: 0.001, P99: 0.9}
	require.Equal(t, "n2", first("sync"), "the slowest disk, not the busiest")
	require.Equal(t, "n1", v.Nodes[0].ID, "the view itself is not touched")
}
