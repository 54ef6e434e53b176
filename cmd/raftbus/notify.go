package main

// What a service manager is told (sd_notify): that the node runs, what it waits for, that it stops. Without one there is nobody to tell, and
// nothing of this can fail the node.

import (
	"net"
	"os"
)

// notify sends a state, such as READY=1, to the service manager that started this process.
func notify(state string) {
	name := os.Getenv("NOTIFY_SOCKET") // a path, or with @ a name of Linux' abstract ones, as net has them too
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state)) // a manager that is gone needs no news
}
