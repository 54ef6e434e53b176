// Package unsent bounds what waits in the system to be sent on a connection. The system's own bound is megabytes, and behind as much on a
// slow way pings come too late, and whoever asks to write does not learn that the way is slow.
package unsent

import "net"

// bytesMax is what may wait. What is under way it does not bound: a long way is as wide as before.
const bytesMax = 128 << 10

// Bound does it if the connection is one that can be told. Where it fails the connection is as good as it was.
func Bound(c net.Conn) {
	if socket, is := c.(*net.TCPConn); is {
		_ = bound(socket)
	}
}
