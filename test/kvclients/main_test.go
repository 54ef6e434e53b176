package kvclients

import (
	"flag"
	"testing"

	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "5") // they mostly wait, and more clusters at once would hardly get on where the machine is busy; -parallel says otherwise
	leaktest.Main(m)
}
