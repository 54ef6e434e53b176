package main

// What a service manager is told (sd_notify): that a start takes longer, that the node runs, what it waits for, that it stops. Without one there is nobody to tell, and
// nothing of this can fail the node.

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// statusEvery is how often it is looked whether the service manager is to be told something else; and how long it may be busy with other things
// before it is not told this time, since a node that stops does not wait for it.
const statusEvery = time.Second

// tell tells the service manager that the nodes run and how they are, whenever that is something else, until ctx ends. What it does not take it
// is told again: one that never hears of READY ends a node that is well.
func tell(ctx context.Context, every time.Duration, health func() []observe.Health) {
	if os.Getenv(managerVariable) == "" {
		return // a node that rests is not looked at for nobody
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for told, ready := "", "READY=1\n"; ; {
		if now := standing(health()); now != told && notify(every, ready+"STATUS="+now) {
			told, ready = now, ""
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// readingTime is how long the service manager is to wait after a node has read something of a received snapshot for more of it, or for READY: as long
// as the unit in deploy/systemd gives a start of which it hears nothing. A disk that hangs ends the start then.
const readingTime = 10 * time.Minute

// tellReading tells the service manager that a start takes longer, whenever a node has told reading that it has read more of what it received, or waits,
// until end is called. Else a state that takes longer than a start may would never be installed: each start is ended, and the next begins anew.
func tellReading(ctx context.Context, every time.Duration) (reading, end func()) {
	if os.Getenv(managerVariable) == "" {
		return nil, func() {}
	}
	var reads atomic.Uint64
	ctx, cancel := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { tellReads(ctx, every, reads.Load) })
	return func() { reads.Add(1) }, func() {
		cancel()
		teller.Wait()
	}
}

func tellReads(ctx context.Context, every time.Duration, reads func() uint64) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	longer := fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=starting: reads a state that was received, or waits for room", readingTime.Microseconds())
	for told := uint64(0); ; {
		if now := reads(); ctx.Err() == nil && now != told && notify(every, longer) {
			told = now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// standing is how nodes are, in a line: ready, or why one is not, and what an operator should look at.
func standing(list []observe.Health) string {
	var reasons, warnings []string
	for _, h := range list {
		reasons, warnings = append(reasons, h.Reasons...), append(warnings, h.Warnings...)
	}
	if len(reasons) == 0 {
		reasons = []string{"ready"}
	}
	return strings.ReplaceAll(strings.Join(append(reasons, warnings...), "; "), "\n", " ")
}

// managerVariable names the socket of the service manager: a path, or with @ a name of Linux' abstract ones, as net has them too.
const managerVariable = "NOTIFY_SOCKET"

// notify sends a state, such as READY=1, to the service manager that started this process, and reports whether there is one that has taken it
// by then.
func notify(within time.Duration, state string) bool {
	name := os.Getenv(managerVariable)
	if name == "" {
		return false
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(within)) // fails only with the connection
	_, err = conn.Write([]byte(state))
	return err == nil
}
