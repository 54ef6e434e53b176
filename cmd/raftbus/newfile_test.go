package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// Of two that make one file at a time one has made it, as a whole, and the other is told; neither leaves anything else behind.
func TestTwoThatMakeOneFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "monday.rbb")
	one, err := newFile(&cobra.Command{}, name)
	require.NoError(t, err)
	other, err := newFile(&cobra.Command{}, name)
	require.NoError(t, err)
	for _, w := range []struct {
		to   *file
		text string
	}{{one, "of the one"}, {other, "of the other, which is longer"}} {
		_, err := w.to.Write([]byte(w.text))
		require.NoError(t, err)
	}
	require.NoError(t, one.end(nil))
	err = other.end(nil)
	require.ErrorContains(t, err, "is there already")
	require.Equal(t, exitConflict, exitCode(err))
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "of the one", string(content))
	require.Equal(t, []string{"monday.rbb"}, namesIn(t, filepath.Dir(name)))
}

// What somebody has put where the file is made is neither followed nor taken for it.
func TestAFileIsForItsOwnerOnly(t *testing.T) {
	name := filepath.Join(t.TempDir(), "monday.rbb")
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("theirs"), 0o600))
	require.NoError(t, os.Symlink(victim, name+".part"))
	made, err := newFile(&cobra.Command{}, name)
	require.NoError(t, err)
	_, err = made.Write([]byte("ours"))
	require.NoError(t, err)
	require.NoError(t, made.end(nil))
	info, err := os.Lstat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(content))
}

// A file that fails takes nothing with it but itself.
func TestAFileThatFailsIsRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "monday.rbb")
	made, err := newFile(&cobra.Command{}, name)
	require.NoError(t, err)
	require.ErrorIs(t, made.end(os.ErrClosed), os.ErrClosed)
	require.Empty(t, namesIn(t, filepath.Dir(name)))
}

// What the disk does not keep is not there: a file that cannot be synced, as a pipe in its place, gets no name and is removed (K49).
func TestAFileHasItsNameOnceItIsDurable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "monday.rbb")
	made, err := newFile(&cobra.Command{}, name)
	require.NoError(t, err)
	part := made.f.Name()
	require.NoError(t, errors.Join(made.f.Close(), os.Remove(part), syscall.Mkfifo(part, 0o600)))
	made.f, err = os.OpenFile(part, os.O_RDWR, 0)
	require.NoError(t, err)
	require.Error(t, made.end(nil))
	require.Empty(t, namesIn(t, filepath.Dir(name)))
}

// dullDisk cannot make names durable.
type dullDisk struct{ vfs.FS }

type dullDir struct{ vfs.File }

func (d dullDisk) OpenDir(name string) (vfs.File, error) {
	dir, err := d.FS.OpenDir(name)
	return dullDir{dir}, err
}

func (dullDir) Sync() error { return syscall.EIO }

// Nor is a file made whose name the disk does not keep: whoever is told that it is there may delete what it is of (K54).
func TestAFileIsMadeOnceItsNameIsDurable(t *testing.T) {
	one, err := newFile(&cobra.Command{}, filepath.Join(t.TempDir(), "monday.rbb"))
	require.NoError(t, err)
	other, err := newFileInstead(filepath.Join(t.TempDir(), "put.svg"))
	require.NoError(t, err)
	for _, made := range []*file{one, other} {
		made.disk = dullDisk{made.disk}
		require.ErrorIs(t, made.end(nil), syscall.EIO)
	}
}

// Only what is there is called so: a folder that cannot be looked into is another trouble.
func TestAFileThatCannotBeLookedAt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := newFile(&cobra.Command{}, filepath.Join(file, "monday.rbb"))
	require.ErrorContains(t, err, "not a directory")
	require.Equal(t, exitError, exitCode(err))
	_, err = openBackup(filepath.Join(file, "monday.rbb"))
	require.Equal(t, exitError, exitCode(err))
	_, err = openBackup(file + ".rbb")
	require.Equal(t, exitNotFound, exitCode(err))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(filepath.Dir(file), "dangling")))
	_, err = newFile(&cobra.Command{}, filepath.Join(filepath.Dir(file), "dangling"))
	require.Equal(t, exitConflict, exitCode(err))
}

// A file that takes the place of another does so once it is whole, with the name only: a link stays one, and what fails changes nothing.
func TestAFileInsteadOfAnother(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "put.svg"), filepath.Join(dir, "link.svg")
	require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
	require.NoError(t, os.Symlink("put.svg", link))
	for _, c := range []struct {
		failure error
		want    string
	}{{os.ErrClosed, "old"}, {nil, "new"}} {
		made, err := newFileInstead(link)
		require.NoError(t, err)
		_, err = made.Write([]byte("new"))
		require.NoError(t, err)
		require.ErrorIs(t, made.end(c.failure), c.failure)
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, c.want, string(content))
		require.Equal(t, []string{"link.svg", "put.svg"}, namesIn(t, dir))
	}
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, "put.svg", target)
	_, err = newFileInstead(dir)
	require.ErrorContains(t, err, "is a folder")
	null, err := newFileInstead(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, null.end(nil))
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
