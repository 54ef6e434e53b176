package main

// Long-running commands begin anew once, with a GODEBUG setting that calms the runtime's monitor thread: it is read only at start. Only processor
// time depends on it.

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The runtime's monitor thread falls into a deep sleep whenever it finds nothing to run, and the next system call of the process
// has to wake it, which costs two switches of threads; for the next milliseconds it then looks every 20 µs. Nodes, NATS and clients are idle and busy
// again a thousand times a second, and spend a third of their processor time on that, or more (docs/measurements.md). A process whose
// scheduler is to be traced has a monitor that looks less and less often instead, every 10 ms at last. The longest interval
// between two lines of a trace that can be asked for is 24 days.
const (
	monitorSetting = "schedtrace"
	calmMonitor    = monitorSetting + "=2147483647"
)

// longRunning are the commands that this is worth the few milliseconds of a second start for.
var longRunning = []string{"node", "dev", "bench"}

// beginCalm puts the process in its own place, under the same id and with the same arguments, but with a calm monitor. It returns if
// that is not worth it or is done, and if it cannot be: then the process is slower, and otherwise the same. Nothing may have begun yet.
func beginCalm(root *cobra.Command, args []string) {
	setting, needed := calm(os.Getenv("GODEBUG"))
	if !needed || !runsLong(root, args[1:]) {
		return
	}
	path, err := os.Executable()
	if err != nil || os.Setenv("GODEBUG", setting) != nil {
		return
	}
	_ = syscall.Exec(path, args, os.Environ()) // comes back only if it failed
}

// calm returns what GODEBUG has to be. What somebody chose himself stays, and so ends it when it is read for the second time.
func calm(godebug string) (setting string, needed bool) {
	if strings.Contains(godebug, monitorSetting) {
		return godebug, false
	}
	return strings.TrimPrefix(godebug+","+calmMonitor, ","), true
}

func runsLong(root *cobra.Command, args []string) bool {
	cmd, _, err := root.Find(args)
	for err == nil && cmd.HasParent() && cmd.Parent() != root {
		cmd = cmd.Parent()
	}
	return err == nil && slices.Contains(longRunning, cmd.Name())
}
