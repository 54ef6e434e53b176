package main

// What a service manager is told (sd_notify): that the node runs, what it waits for, that it stops. Without one there is nobody to tell, and
// nothing of this can fail the node.

import (
	"context"
	"net"
	"os"
	"strings"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// statusEvery is how often it is looked whether the service manager is to be told something else.
const statusEvery = 5 * time.Second

// tell tells the service manager how the nodes are, whenever that is something else, until ctx ends.
func tell(ctx context.Context, every time.Duration, health func() []observe.Health) {
	told := ""
	for ticker := time.NewTicker(every); ; {
		if now := standing(health()); now != told {
			notify("STATUS=" + now)
			told = now
		}
		select {
		case <-ctx.Done():
			ticker.Stop()
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

// notifyMax is how long a service manager may be busy with other things before it is not told: a node that stops does not wait for it.
const notifyMax = time.Second

// notify sends a state, such as READY=1, to the service manager that started this process.
func notify(state string) { notifyWithin(notifyMax, state) }

func notifyWithin(most time.Duration, state string) {
	name := os.Getenv("NOTIFY_SOCKET") // a path, or with @ a name of Linux' abstract ones, as net has them too
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(most)) // fails only with the connection
	_, _ = conn.Write([]byte(state))                // a manager that is gone needs no news
}
