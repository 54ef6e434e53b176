package main

// A file that a command makes: it has its name once it is whole, and takes that of no other unless it is to.

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/raft/wal"
)

// file is a file under way. Until it is whole it has a name of its own, which no other process has.
type file struct {
	w       *bufio.Writer
	f       *os.File
	name    string
	written int64
	instead bool   // of the one that has the name
	disk    vfs.FS // that names are made durable on
}

// newFile makes the file, or with - writes to the standard output.
func newFile(cmd *cobra.Command, name string) (*file, error) {
	if name == "-" {
		return &file{w: bufio.NewWriterSize(stdout(cmd), 1<<20)}, nil
	}
	if err := isFree(name); err != nil { // before there is work to be lost
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return nil, fmt.Errorf("%w: name a file in a folder that is there and can be written", err)
	}
	return &file{w: bufio.NewWriterSize(f, 1<<20), f: f, name: name, disk: vfs.Default}, nil
}

// newFileInstead makes a file that takes the place of one that has its name, once it is whole. It may be read by whoever may read what this
// process makes. What is no file, as a pipe, is written to as it is.
func newFileInstead(name string) (*file, error) {
	switch is, err := os.Stat(name); {
	case err == nil && is.IsDir():
		return nil, fmt.Errorf("%s is a folder", name)
	case err == nil && !is.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &file{w: bufio.NewWriter(f)}, err // the end of the process closes it
	case err == nil: // the link stays, if it is one
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return nil, err
		}
	}
	part := fmt.Sprintf("%s.%x.part", name, rand.Uint64())
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &file{w: bufio.NewWriter(f), f: f, name: name, instead: true, disk: vfs.Default}, nil
}

// isFree refuses a name that something has.
func isFree(name string) error {
	switch _, err := os.Lstat(name); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return failf(exitConflict, "%s is there already: name another file, or move it away", name)
}

// Write implements io.Writer.
func (o *file) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.written += int64(n)
	return n, err
}

// end makes what was written durable and gives it its name, or removes it after an error.
func (o *file) end(err error) error {
	if err == nil {
		err = o.w.Flush()
	}
	if o.f == nil {
		return err
	}
	if err == nil {
		err = o.f.Sync()
	}
	err = errors.Join(err, o.f.Close())
	if err == nil {
		err = o.publish()
	}
	if err != nil {
		return errors.Join(err, os.Remove(o.f.Name()))
	}
	return wal.SyncDir(o.disk, filepath.Dir(o.name))
}

// publish gives the file its name, unless somebody took that meanwhile: a link is made of a free name only. Where a file system knows no links the
// name is looked at once more.
func (o *file) publish() error {
	if o.instead {
		return os.Rename(o.f.Name(), o.name)
	}
	err := os.Link(o.f.Name(), o.name)
	if err == nil {
		_ = os.Remove(o.f.Name()) // the file is whole and has its name
		return nil
	}
	if err := isFree(o.name); err != nil {
		return err
	}
	return os.Rename(o.f.Name(), o.name)
}
