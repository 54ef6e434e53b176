package engine

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markerFS is the file system as Pebble gets it. Pebble makes a new manifest at each open, and then a marker file that names
// it, with one sync of the directory after both: a crash may keep the marker and lose the manifest where a file system does
// not keep names in order (F17). So the directory is synced before a marker is made, too.
type markerFS struct{ vfs.FS }

// markerPrefix begins the names of Pebble's marker files.
const markerPrefix = "marker."

func (m markerFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(m.PathBase(name), markerPrefix) {
		if err := (folder{fs: m.FS}).sync(m.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return m.FS.Create(name, category)
}

// Unwrap is for Pebble, which looks for the disk behind a file system.
func (m markerFS) Unwrap() vfs.FS { return m.FS }
