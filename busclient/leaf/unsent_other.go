//go:build !linux

package leaf

import "net"

func boundUnsent(c *net.TCPConn) error { return c.SetWriteBuffer(unsentBytesMax) }
