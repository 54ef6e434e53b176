package unsent

import (
	"net"
	"syscall"
)

// notSentLowat is TCP_NOTSENT_LOWAT, which package syscall lacks.
const notSentLowat = 25

func bound(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, bytesMax)
	}); err != nil {
		return err
	}
	return refused
}
