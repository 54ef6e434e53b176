// Package leaktest fails a package's tests if they leave a goroutine behind.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is for what ends by itself, on a machine that is busy: goleak's own is half a second.
const patience = 10 * time.Second

// Main is a package's TestMain.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run runs a package's tests, and returns the code to exit with.
func Run(m *testing.M) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := find(patience); err != nil {
		fmt.Fprintf(os.Stderr, "goroutines are left by tests that passed: %v\n", err)
		return 1
	}
	return 0
}

// find looks until nothing is found, or it has been patient.
func find(patience time.Duration) (err error) {
	for end := time.Now().Add(patience); ; {
		if err = goleak.Find(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
