package snapfile

// The folder of a node's snapshots, and what a file is in it by its name.

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft"
)

// Dir is the place of a node's snapshots.
type Dir struct {
	FS   vfs.FS
	Root string
}

// Names of files: what comes, what is whole, and the last that was found damaged.
const (
	Incoming = "incoming"
	Complete = "complete"
	Suspect  = "suspect"
)

// Path is the path of a file.
func (d *Dir) Path(name string) string { return d.FS.PathJoin(d.Root, name) }

// Move renames a file durably. With what is lost in a crash before that, the file has its old name (K33). The folder is opened first: where that is one
// file too many, nothing was done.
func (d *Dir) Move(from, to string) error {
	dir, err := d.FS.OpenDir(d.Root)
	if err != nil {
		return err
	}
	if err = d.FS.Rename(d.Path(from), d.Path(to)); err == nil {
		err = dir.Sync()
	}
	return errors.Join(err, dir.Close())
}

// Remove deletes a file, if there is one. That need not be durable: one that comes back is dealt with as before.
func (d *Dir) Remove(name string) error {
	if err := d.FS.Remove(d.Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Exists reports whether there is a file of that name, or may be.
func (d *Dir) Exists(name string) bool {
	_, err := d.FS.Stat(d.Path(name))
	return !errors.Is(err, os.ErrNotExist)
}

// Open opens the snapshot that is whole, for reading. Close the file.
func (d *Dir) Open() (*Reader, io.Closer, error) {
	file, err := d.FS.Open(d.Path(Complete))
	if err != nil {
		return nil, nil, err
	}
	r, err := NewReader(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return r, file, nil
}

// Verify reads the snapshot that is whole from end to end, by what it is given, and returns where a log begins after it.
func (d *Dir) Verify(by func(io.Reader) io.Reader) (raft.Base, error) {
	r, file, err := d.Open()
	if err != nil {
		return raft.Base{}, err
	}
	_, err = io.Copy(io.Discard, by(r))
	return raft.Base{ID: r.Head.Snapshot, Time: r.time, Configuration: r.conf}, errors.Join(err, file.Close())
}
