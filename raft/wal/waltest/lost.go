package waltest

// What a failed sync does on Linux (Rebello et al. 2020; K53): the pages are marked clean, so that reads still return what
// was written and the next sync succeeds, and yet the bytes never reach the disk, unless they are written again.

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrPagesLost, returned by a hook for a Sync, makes that sync fail in this way.
var ErrPagesLost = errors.New("sync failed, and the pages are lost (injected)")

// lose notes, for every sector with unsynced writes, what the disk holds instead. The caller holds mu.
func (f *FS) lose(name string, h *history) {
	disk := f.memory.CrashClone(vfs.CrashCloneCfg{})
	file, err := disk.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	for _, w := range h.writes {
		for at := w.offset / SectorBytes * SectorBytes; at < w.offset+int64(len(w.data)); at += SectorBytes {
			old := make([]byte, SectorBytes)
			if _, err := file.ReadAt(old, at); err == nil && h.lost[at] == nil {
				h.lost[at] = old
			}
		}
	}
	h.writes = nil
	_ = file.Close() // memory does not fail
}

// wrote forgets lost sectors that are written again.
func (h *history) wrote(w write) {
	for at := range h.lost {
		if at >= w.offset && at+SectorBytes <= w.offset+int64(len(w.data)) {
			delete(h.lost, at)
		}
	}
}

// reveal puts into a crashed disk what it holds in place of lost sectors.
func (h *history) reveal(clone *vfs.MemFS, name string) {
	if _, err := clone.Stat(name); err != nil || len(h.lost) == 0 {
		return
	}
	file, err := clone.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	for at, old := range h.lost {
		_, _ = file.WriteAt(slices.Clone(old), at)
	}
	_ = errors.Join(file.Sync(), file.Close()) // memory does not fail
}
