package engine

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markerFS is the file system as Pebble gets it. Pebble makes a new manifest at each open, then a marker file that names it, and removes
// the marker before that one, with one sync of the directory after all three. Where a file system does not keep names in order (F17), a
// crash may keep the marker and lose the manifest, or the removal and lose both markers. So the directory is synced before a marker is
// made, and after it: when Pebble closes it, which comes before the removal.
type markerFS struct{ vfs.FS }

// markerPrefix begins the names of Pebble's marker files.
const markerPrefix = "marker."

func (m markerFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasPrefix(m.PathBase(name), markerPrefix) {
		return m.FS.Create(name, category)
	}
	made := func() error { return folder{fs: m.FS}.sync(m.PathDir(name)) }
	if err := made(); err != nil {
		return nil, err
	}
	file, err := m.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return markerFile{file, made}, nil
}

// Unwrap is for Pebble, which looks for the disk behind a file system.
func (m markerFS) Unwrap() vfs.FS { return m.FS }

// markerFile is a marker that has been made once it is closed.
type markerFile struct {
	vfs.File
	made func() error
}

func (f markerFile) Close() error {
	if err := f.File.Close(); err != nil {
		return err
	}
	return f.made()
}
