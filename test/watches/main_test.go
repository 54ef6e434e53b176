package watches

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // those that may run together mostly wait; -parallel says otherwise
	goleak.VerifyTestMain(m)
}
