//go:build !linux

package unsent

import "net"

func bound(c *net.TCPConn) error { return c.SetWriteBuffer(bytesMax) }
