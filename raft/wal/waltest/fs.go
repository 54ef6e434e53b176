// Package waltest is a file system for tests of what must survive a crash: Pebble's crashable in-memory one, wrapped so
// that every operation can be counted, failed or cut short, and so that a crash tears unsynced writes at 512 B sectors.
// Nothing but tests may import it.
package waltest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SectorBytes is the unit in which a crash keeps or loses unsynced writes (F17).
const SectorBytes = 512

// Kind is what an operation does.
type Kind string

// The kinds of operations that a hook sees.
const (
	Create Kind = "create" // a file, by Create or OpenReadWrite
	Open   Kind = "open"
	Rename Kind = "rename"
	Remove Kind = "remove"
	Mkdir  Kind = "mkdir"
	List   Kind = "list"
	Read   Kind = "read"
	Write  Kind = "write"
	Sync   Kind = "sync" // of a file's data, or of a directory
)

// Changes reports whether the kind changes what is on the disk, or makes a change durable.
func (k Kind) Changes() bool { return k != Open && k != List && k != Read }

// Op is an operation that is about to happen.
type Op struct {
	Kind   Kind
	Name   string // path of the file; of a rename, the old one
	Offset int64  // of reads and writes
	Bytes  int    // of reads and writes
}

// Short is an error with which a hook cuts a read or write short: Bytes bytes are read or written, then Err is returned,
// which may be nil.
type Short struct {
	Bytes int
	Err   error
}

func (s *Short) Error() string { return fmt.Sprintf("short: %v", s.Err) }
func (s *Short) Unwrap() error { return s.Err }

// FS is the file system. It is safe for use by several goroutines.
type FS struct {
	vfs.FS // the crashable one, for what is not wrapped

	mu       sync.Mutex
	memory   *vfs.MemFS
	hook     func(Op) error
	open     int // files and directories
	unsynced map[string]*history
	removed  map[string]bool // paths that went since their directory was synced
}

// history is what was written to a file since it was last synced.
type history struct {
	writes []write
	lost   map[int64][]byte // by offset of a sector: what the disk holds after a sync that failed with ErrPagesLost
}

func newHistory() *history { return &history{lost: map[int64][]byte{}} }

type write struct {
	offset int64
	data   []byte
}

// New returns an empty file system.
func New() *FS { return wrap(vfs.NewCrashableMem()) }

func wrap(m *vfs.MemFS) *FS {
	return &FS{FS: m, memory: m, unsynced: map[string]*history{}, removed: map[string]bool{}}
}

// Hook has fn called before each operation; its error is the operation's. fn may call Crash. Nil removes it.
func (f *FS) Hook(fn func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

func (f *FS) before(op Op) error {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// OpenFiles is how many files and directories are open for writing or syncing.
func (f *FS) OpenFiles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// Mode says what a crash keeps of what was not synced.
type Mode int

// The modes of a crash.
const (
	KeepNothing Mode = iota // only what was synced
	KeepAll                 // as if everything had been synced just in time
	KeepBlocks              // 4 KiB blocks and directory entries at random
	KeepSectors             // 512 B sectors at random; no directory entries
)

// Modes are all modes.
var Modes = []Mode{KeepNothing, KeepAll, KeepBlocks, KeepSectors}

func (m Mode) String() string { return [...]string{"nothing", "all", "blocks", "sectors"}[m] }

// Crash returns the file system as a crash at this moment could leave it. The old one goes on as if nothing had happened.
func (f *FS) Crash(mode Mode, rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	percent := map[Mode]int{KeepNothing: 0, KeepAll: 100, KeepBlocks: 50, KeepSectors: 0}[mode]
	clone := f.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	if mode == KeepSectors {
		for _, name := range f.dirty() {
			f.unsynced[name].tear(clone, name, rng)
		}
	}
	for name, h := range f.unsynced {
		h.reveal(clone, name)
	}
	f.forget(clone, percent, rng)
	return wrap(clone)
}

// forget applies a part of the removals that no sync of the directory has made durable.
func (f *FS) forget(clone *vfs.MemFS, percent int, rng *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(f.removed)) {
		if percent > 0 && rng.IntN(100) < percent {
			_ = clone.Remove(name) // it may never have been durable
		}
	}
	for name := range f.removed {
		if dir, err := clone.OpenDir(clone.PathDir(name)); err == nil {
			_ = errors.Join(dir.Sync(), dir.Close()) // memory does not fail
		}
	}
}

// dirty returns the files with unsynced writes, in an order that does not depend on the map's.
func (f *FS) dirty() []string {
	var names []string
	for name, h := range f.unsynced {
		if len(h.writes) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// tear applies a random part of the writes, sector by sector, if the file is in the clone.
func (h *history) tear(clone *vfs.MemFS, name string, rng *rand.Rand) {
	if _, err := clone.Stat(name); err != nil {
		return
	}
	file, err := clone.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	keep := 1 + rng.IntN(99) // percent
	for _, w := range h.writes {
		for at := 0; at < len(w.data); {
			end := min(len(w.data), at+SectorBytes-int((w.offset+int64(at))%SectorBytes))
			if rng.IntN(100) < keep {
				_, _ = file.WriteAt(w.data[at:end], w.offset+int64(at))
			}
			at = end
		}
	}
	_ = errors.Join(file.Sync(), file.Close()) // memory does not fail
}

// Create implements vfs.FS.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before(Op{Kind: Create, Name: name}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	inner, err := f.memory.Create(name, c)
	if err != nil {
		return nil, err
	}
	f.unsynced[name] = newHistory()
	f.open++
	delete(f.removed, name)
	return &file{File: inner, fs: f, name: name, history: f.unsynced[name]}, nil
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if _, err := f.memory.Stat(name); err != nil {
		return f.Create(name, c)
	}
	if err := f.before(Op{Kind: Open, Name: name}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	inner, err := f.memory.OpenReadWrite(name, c, opts...)
	if err != nil {
		return nil, err
	}
	if f.unsynced[name] == nil {
		f.unsynced[name] = newHistory()
	}
	f.open++
	return &file{File: inner, fs: f, name: name, history: f.unsynced[name]}, nil
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	if err := f.before(Op{Kind: Open, Name: name}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	inner, err := f.memory.OpenDir(name)
	if err != nil {
		return nil, err
	}
	f.open++
	return &file{File: inner, fs: f, name: name, history: newHistory()}, nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(oldname, newname string) error {
	if err := f.before(Op{Kind: Rename, Name: oldname}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.memory.Rename(oldname, newname); err != nil {
		return err
	}
	if h := f.unsynced[oldname]; h != nil { // a directory has none
		f.unsynced[newname] = h
	}
	delete(f.unsynced, oldname)
	delete(f.removed, newname)
	f.removed[oldname] = true
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	if err := f.before(Op{Kind: Remove, Name: name}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unsynced, name)
	f.removed[name] = true
	return f.memory.Remove(name)
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(dir string, perm os.FileMode) error {
	if err := f.before(Op{Kind: Mkdir, Name: dir}); err != nil {
		return err
	}
	return f.memory.MkdirAll(dir, perm)
}

// List implements vfs.FS.
func (f *FS) List(dir string) ([]string, error) {
	if err := f.before(Op{Kind: List, Name: dir}); err != nil {
		return nil, err
	}
	return f.memory.List(dir)
}

// file is an open file or directory.
type file struct {
	vfs.File
	fs      *FS
	name    string
	history *history
	pos     int64 // of Write
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.open--
	return f.File.Close()
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.put(b, f.pos, func(b []byte) (int, error) { return f.File.Write(b) })
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	return f.put(b, offset, func(b []byte) (int, error) { return f.File.WriteAt(b, offset) })
}

func (f *file) put(b []byte, offset int64, do func([]byte) (int, error)) (int, error) {
	err := f.fs.before(Op{Kind: Write, Name: f.name, Offset: offset, Bytes: len(b)})
	var short *Short
	switch {
	case errors.As(err, &short):
		b, err = b[:min(short.Bytes, len(b))], short.Err
	case err != nil:
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	w := write{offset, slices.Clone(b)}
	f.history.writes = append(f.history.writes, w)
	f.history.wrote(w)
	n, writeErr := do(b)
	return n, errors.Join(err, writeErr)
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	err := f.fs.before(Op{Kind: Read, Name: f.name, Offset: offset, Bytes: len(b)})
	var short *Short
	switch {
	case errors.As(err, &short):
		n, _ := f.File.ReadAt(b[:min(short.Bytes, len(b))], offset)
		return n, short.Err
	case err != nil:
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

func (f *file) Read(b []byte) (int, error) {
	if err := f.fs.before(Op{Kind: Read, Name: f.name, Bytes: len(b)}); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func (f *file) Sync() error {
	err := f.fs.before(Op{Kind: Sync, Name: f.name})
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if errors.Is(err, ErrPagesLost) {
		f.fs.lose(f.name, f.history)
	}
	if err != nil {
		return err
	}
	f.history.writes = nil
	maps.DeleteFunc(f.fs.removed, func(path string, _ bool) bool { return f.fs.memory.PathDir(path) == f.name })
	return f.File.Sync()
}

func (f *file) SyncData() error { return f.Sync() }

func (f *file) SyncTo(int64) (bool, error) { return false, nil }

var (
	_ vfs.FS   = (*FS)(nil)
	_ vfs.File = (*file)(nil)
)
