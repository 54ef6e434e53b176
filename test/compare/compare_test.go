package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets this binary be a server too, as the command is.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		exit(runRole(role))
	}
	os.Exit(m.Run())
}

func TestProcessorTimeIsRead(t *testing.T) {
	require.Equal(t, 1.5, parseStat([]byte("7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 130 20 0 0 20 0")))
	require.Zero(t, parseStat([]byte("7 (cut")))
	for ownCPU() < 0.02 { // some ticks of work
		_ = bytes.Repeat([]byte{1}, 1<<20)
	}
	require.Greater(t, residentBytes(os.Getpid()), 1e6)
	require.Zero(t, cpuSeconds(1<<30))
}

func TestFlagsThatCannotBeAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--systems consul":     `no system "consul"`,
		"--clients 1,x":        `"x" is no number`,
		"--workloads bulk":     `"bulk": use put`,
		"--workloads failover": `"failover": use put`,
		"--workloads delete":   `"delete": use put`,
		"--rounds 0":           "--rounds",
		"--curves height":      `no curve "height"`,
		"more":                 `unexpected argument "more"`,
	} {
		_, err := parse(strings.Fields(args), io.Discard)
		require.ErrorContains(t, err, want)
	}
	_, err := parse([]string{"--help"}, io.Discard)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.ErrorContains(t, onDisk("/dev/shm"), "is in memory")
}

func TestTheTablesHaveMediansAndRatios(t *testing.T) {
	r := results{Settings: map[string]any{}, Limits: []Limits{{0.1, 0.2}}}
	for round := 1; round <= 3; round++ {
		for system, rate := range map[string]float64{"raftbus": 3000, "etcd": 1000} {
			c := Cell{System: system, Workload: "put", Clients: 1, Round: round, PerSecond: rate * float64(round), P50: 1, P99: 2, Seconds: 5, ServerCPU: 10}
			r.Cells = append(r.Cells, c)
		}
	}
	r.Cells[0].Failed = 7
	r.Failovers = []Failover{{System: "etcd"}}
	r.Loads = []Load{{System: "etcd", Keys: 1000, Memory: 5e6}}
	var b bytes.Buffer
	require.NoError(t, r.markdown(&b))
	for _, want := range []string{
		"| put: operations a second (p50, p99 in ms), by clients | 1 |\n|---|---|\n| etcd | 2000 (1, 2) |\n| raftbus | 6000 (1, 2) |\n",
		"| etcd | 1000 |\n| raftbus | 3000 |\n", "| raftbus / etcd | 3.00 (3.00) |\n", "round 1: 7 operations failed",
		"One client's put by raftbus: 2.00 times that.", "| etcd | 0 | 0 | 0 |\n", "| 1000 keys of 100 bytes |", "| etcd | 0 | 5 | 0 | 0.0 |\n",
	} {
		require.Contains(t, b.String(), want)
	}
}

// compare runs a comparison, and wants nothing left of it but the file that was asked for.
func compare(t *testing.T, args string) (r results) {
	dir := t.TempDir()
	s, err := parse(append(strings.Fields(args), "--json", "--dir", dir, "--save", filepath.Join(dir, "all.json")), io.Discard)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), s, &out, testWriter{t}))
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	return r
}

func TestAllSystemsAreMeasured(t *testing.T) {
	r := compare(t, "--systems etcd,jetstream-always,jetstream,raftbus,raftbus-3,raftbus-key --clients 4 --workloads put,cas,watch"+
		" --rounds 1 --duration 300ms --warmup 100ms --pause 0s")
	require.Len(t, r.Cells, 18)
	for _, c := range r.Cells {
		require.NotZero(t, c.PerSecond, c.System)
		require.NotZero(t, c.P50, c.System)
		require.Zero(t, c.Failed, c.System)
	}
	require.NotZero(t, r.Limits[0].SyncMS)
	require.NotZero(t, r.Limits[0].RoundTripMS)
}

func TestKillsAndLoadsAreMeasured(t *testing.T) {
	r := compare(t, "--systems etcd,jetstream,raftbus --matrix=false --kills 1 --kill-every 8s --load 500 --load-clients 16 --load-pause 0s")
	require.Empty(t, r.Cells)
	require.Len(t, r.Failovers, 3)
	for _, f := range r.Failovers {
		require.Equal(t, 1, f.Kills)
		require.NotZero(t, f.WorstMS, f.System)
	}
	require.Len(t, r.Loads, 3)
	for _, l := range r.Loads {
		require.NotZero(t, l.PerSecond*l.Memory*l.Disk*l.Restart, "%+v", l)
	}
}

// Each point of a curve is measured, and drawn.
func TestCurvesAreDrawn(t *testing.T) {
	pictures := t.TempDir()
	r := compare(t, "--matrix=false --curves leader,watchers --curves-max 5 --rounds 1 --duration 300ms --warmup 100ms --pause 0s --pictures "+pictures)
	require.Len(t, r.Samples, 2*3+1)
	for _, s := range r.Samples {
		require.NotZero(t, s.PerSecond*s.P50*s.ServerCPU, "%+v", s)
	}
	for _, name := range []string{"leader", "watchers"} {
		body, err := os.ReadFile(filepath.Join(pictures, name+".svg"))
		require.NoError(t, err)
		require.NoError(t, xml.Unmarshal(body, new(struct{})))
		require.Contains(t, string(body), "all servers&#39; CPU")
	}
	require.Equal(t, "20k", brief(20_000))
	require.Equal(t, "0.123", brief(0.12345))
}

func TestABrokenOffRunLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := parse([]string{"--systems", "jetstream", "--dir", dir, "--raftbus", "none", "--duration", "1m"}, io.Discard)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var out bytes.Buffer
	require.ErrorIs(t, run(ctx, s, &out, testWriter{t}), context.DeadlineExceeded)
	require.Contains(t, out.String(), "Measured ", "what there is is told")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A server that cannot start is named, with what it said.
func TestAServerThatCannotStartIsNamed(t *testing.T) {
	dir := t.TempDir()
	s, err := newRaftbus(dir, "/bin/false", layout{nodes: 3, servers: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = s.launch(ctx)
	s.stop()
	require.ErrorContains(t, err, "raftbus does not serve")
	require.ErrorContains(t, err, "n1: ")
	require.False(t, errors.Is(err, context.Canceled))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
