package watches

import (
	"flag"
	"testing"

	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // those that may run together mostly wait; -parallel says otherwise
	leaktest.Main(m)
}
