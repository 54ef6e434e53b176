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

var cliFlag = flag.Bool("cli", false, "build the nats CLI, and run the tests that give its commands: some minutes the first time")

// needCLI skips a test that gives commands of the CLI unless they are wanted: to build it, and to start it hundreds of times, takes longer than
// all else in this package.
func needCLI(t testing.TB) {
	if !*cliFlag {
		t.Skip("not run: -cli builds the nats CLI, and gives its commands")
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
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
	builds := [][]string{{"-o", raftbus, "github.com/raftbus/raftbus/cmd/raftbus"}}
	if *cliFlag {
		builds = append(builds, []string{"-C", filepath.Join("..", "..", ".ci", "tools"), "-o", natsCLI, "github.com/nats-io/natscli/nats"})
	}
	for _, build := range builds {
		if out, err := exec.Command("go", append([]string{"build"}, build...)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %v: %v\n%s", build, err, out)
			return 1
		}
	}
	return leaktest.Run(m)
}
