package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Root makes nothing in the folder of another user, whose node could not use it, and is told what to do.
func TestRootLeavesFoldersOfOthersAlone(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "n1")
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(parent, 65532, 65532))
	}
	for _, path := range []string{parent, dir, filepath.Join(dir, "deeper")} {
		require.ErrorContains(t, mustBeOwn(path, 0), "that user: sudo -u ")
		require.NoError(t, mustBeOwn(path, 1), "whoever it is, he is no root")
	}
	if os.Getuid() != 0 {
		return // the rest is what root may, and may not
	}
	backup := filepath.Join("testdata", "commands-2.rbb")
	give := func(args ...string) error {
		return execute(t, t.Context(), &bytes.Buffer{}, append(args, "--dir", dir, "--id", "n1")...)
	}
	err := give("restore", backup)
	require.ErrorContains(t, err, "sudo -u '#65532' raftbus")
	require.Equal(t, exitRefused, exitCode(err))
	require.NoDirExists(t, dir)
	require.NoError(t, os.Chown(parent, 0, 0))
	require.NoError(t, give("restore", backup))
	require.NoError(t, give("recover", "--dry-run"))
	require.NoError(t, os.Chown(filepath.Join(dir, "identity"), 65532, 65532)) // the folder of a volume stays root's
	require.ErrorContains(t, give("recover", "--yes"), "sudo -u '#65532' raftbus")
	require.ErrorContains(t, give("recover", "--dry-run"), "sudo -u '#65532' raftbus", "it writes too")
}
