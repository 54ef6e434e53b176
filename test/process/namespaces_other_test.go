//go:build !linux

package process

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

func enterNamespaces() int {
	fmt.Fprintln(os.Stderr, "-namespaces needs Linux")
	return 1
}

func prepareNamespaces() error { return nil }

func dieWithUs(*exec.Cmd) {}

func mountSmall(t *testing.T, _ string, _ int64) { t.Skip("needs Linux") }
