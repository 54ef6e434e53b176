package clisuite

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/test/built"
)

// The programs under test, built once if they are wanted: the CLI at the version that .ci/tools pins, and raftbus.
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
	if *cliFlag {
		if err := build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return leaktest.Run(m)
}

func build(dir string) (err error) {
	if raftbus, err = built.Raftbus(dir, "-ldflags=-s"); err != nil {
		return err
	}
	natsCLI = filepath.Join(dir, "nats")
	cli := exec.Command("go", "build", "-C", filepath.Join("..", "..", ".ci", "tools"), "-o", natsCLI, "github.com/nats-io/natscli/nats")
	if out, err := cli.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cli, err, out)
	}
	return nil
}
