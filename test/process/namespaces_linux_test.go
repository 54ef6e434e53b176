package process

// The tests in namespaces of their own (network, mounts, processes). They need nothing of the machine, change nothing of
// it, and however they end, the kernel takes all hosts, links and processes with them.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// enterNamespaces runs this binary again as the first process of new namespaces, and returns its exit code.
func enterNamespaces() int {
	runtime.LockOSThread() // Pdeathsig watches the thread
	inside := exec.Command(os.Args[0], os.Args[1:]...)
	inside.Env = append(os.Environ(), insideVariable+"=1")
	inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		becomeRoot(inside.SysProcAttr)
	}
	err := inside.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "no namespaces of our own: %v: run as root, or allow user namespaces, or leave out -namespaces\n", err)
		return 1
	}
	return 0
}

// becomeRoot makes the caller root in a user namespace, where it may have networks of its own.
func becomeRoot(attr *syscall.SysProcAttr) {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

// prepareNamespaces gives them a loopback that works, a /proc, and a /run, where ip keeps the names of networks.
func prepareNamespaces() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, {"proc", "/proc", "proc", 0}, {"tmpfs", "/run", "tmpfs", 0}} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, needed := range []string{"ip", "nft", "nsenter"} {
		if _, err := exec.LookPath(needed); err != nil {
			return fmt.Errorf("%w: install iproute2, nftables and util-linux", err)
		}
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

// dieWithUs ends a child when this process ends, however it does.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// mountSmall gives a folder a file system of so many bytes, for as long as the test lasts.
func mountSmall(t *testing.T, dir string, size int64) {
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}
