//go:build unix

package busclient

// One attempt to write to a socket, which takes what fits into the system's buffer and never waits.

import (
	"errors"
	"syscall"
)

// attempt is used by one goroutine at a time, and while no other writes to the socket: that would hold it up.
type attempt struct {
	raw  syscall.RawConn // nil: nothing can be written without waiting
	once func(fd uintptr) bool

	b   []byte
	n   int
	err error
}

func (a *attempt) open(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // the connection is of no use, and others say so
	}
	a.raw, a.once = raw, a.writeOnce
}

// write returns how much of b the socket took.
func (a *attempt) write(b []byte) (int, error) {
	if a.raw == nil {
		return 0, nil
	}
	a.b, a.n, a.err = b, 0, nil
	err := a.raw.Write(a.once)
	a.b = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}

// writeOnce returns true: whatever came of it, it is not to be tried again.
func (a *attempt) writeOnce(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), a.b)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			a.err = err
		default:
			a.n = n
		}
		return true
	}
}
