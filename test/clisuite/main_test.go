package clisuite

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/raftbus/raftbus/raft/leaktest"
)

// The programs under test, built once: the CLI at the version that .ci/tools pins, and raftbus.
var natsCLI, raftbus string

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // all places at once; -parallel says otherwise
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "raftbus-clisuite")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	natsCLI, raftbus = filepath.Join(dir, "nats"), filepath.Join(dir, "raftbus")
	for _, build := range [][]string{
		{"-C", filepath.Join("..", "..", ".ci", "tools"), "-o", natsCLI, "github.com/nats-io/natscli/nats"},
		{"-o", raftbus, "github.com/raftbus/raftbus/cmd/raftbus"},
	} {
		if out, err := exec.Command("go", append([]string{"build"}, build...)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %v: %v\n%s", build, err, out)
			return 1
		}
	}
	return leaktest.Run(m)
}
