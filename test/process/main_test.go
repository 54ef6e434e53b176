// Package process tests real raftbus processes on real NATS servers, which are processes too: killed, stopped, wiped, cut
// off from each other, replaced, their disks hung, full or damaged. It holds the promises that only whole processes can show (C1, C2, F2,
// F3, F5-F7, F10, F13, F15, F16, F18, F21-F23, F26, F27, the L rows).
//
// Plain `go test` runs what needs no privileges and ends soon. The rest is behind flags:
//
//	go test ./test/process -namespaces                                every process on a host of its own, links cut between them
//	go test ./test/process -namespaces -run Campaign -minutes 10 -timeout 20m      faults drawn from a seed, Porcupine over everything
//	go test ./test/process -members                                   members come, go, are replaced; planned moves; a leader that is all that is left
//	go test ./test/process -upgrade -run RollingUpgrade               from the last release to this build and back, under load
//	go test ./test/process -run BackupUnderWrites -drill-keys 1000000 -v   a million keys backed up, and restored elsewhere
//	go test ./test/process -kills 20 -run LeaderKilled -v             how long nobody writes when a leader dies
//	go test ./test/process -strace -run DiskHangs                     the leader's disk hangs
//	go test ./test/process -flips 20 -run BitFlipped                  bits flipped in logs and states
//	go test ./test/process -leadercpu 10s -run LeaderCPU -v           what a put costs a leader, by the number of nodes
//	go test ./test/process -overload 1m -run Overload                 three times what the cluster can do
//
// Nothing listens or sends outside loopback and the test's own network namespaces.
package process

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/raftbus/raftbus/test/built"
)

var (
	namespaces = flag.Bool("namespaces", false, "give every node and NATS server a network namespace of its own: needs Linux, ip, nft, and root or user namespaces")
	kills      = flag.Int("kills", 5, "how often TestLeaderKilled kills the leader")
	traced     = flag.Bool("strace", false, "TestGroupCommit and TestDiskHangs use strace, which must be installed")
	calm       = flag.Duration("calm", 10*time.Second, "how long a leader must stay once a partial partition has one (L4 asks for a minute)")
	minutes    = flag.Float64("minutes", 0, "how long TestCampaign runs, over all its clusters together; 0: not at all")
	only       = flag.String("fault", "", "a part of the names of the faults that TestCampaign draws; empty: all")
	seed       = flag.Uint64("seed", 0, "of everything drawn; 0: from the clock")
	nodeCount  = flag.Int("nodes", 0, "nodes in TestCampaign; 0: 3, and 5")
	natsCount  = flag.Int("nats", 0, "NATS servers in TestCampaign; 0: 1, and 3")
)

// binary is the raftbus binary under test, built once by TestMain.
var binary string

// TestMain is where all lives of the test binary begin: as a NATS server, as the shell around the namespaces, as the tests.
func TestMain(m *testing.M) {
	if conf := os.Getenv(serverVariable); conf != "" {
		os.Exit(serveNATS(conf))
	}
	_ = flag.Set("test.parallel", "4") // those that may run together mostly wait; -parallel says otherwise
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	switch inside := os.Getenv(insideVariable) != ""; {
	case *namespaces && !inside:
		os.Exit(enterNamespaces())
	case inside:
		if err := prepareNamespaces(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(runTests(m))
}

// What tells the test binary which life it lives.
const (
	serverVariable = "RAFTBUS_TEST_NATS"   // the configuration of the NATS server it is
	insideVariable = "RAFTBUS_TEST_INSIDE" // it has the namespaces it asked for
)

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "raftbus-process")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if binary, err = built.Raftbus(dir, "-ldflags=-s"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// needNamespaces is for tests that cut links. Whoever gives -namespaces gets these tests, or a failure.
func needNamespaces(t *testing.T) {
	if !*namespaces {
		t.Skip("cuts links: give -namespaces")
	}
}
