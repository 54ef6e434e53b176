package leaf

import (
	"net"
	"syscall"
)

// notSentLowat is TCP_NOTSENT_LOWAT, which package syscall lacks. What is under way it does not bound: a long way is as wide as before.
const notSentLowat = 25

func boundUnsent(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentBytesMax)
	}); err != nil {
		return err
	}
	return refused
}
