package sim

// The disk as a vfs.FS.

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	diskBytes     = 1 << 30  // how large a disk is
	diskFullBytes = 64 << 10 // what a full one has left, in words
)

func (d *disk) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.change(); err != nil {
		return nil, err
	}
	if d.full {
		return nil, errNoSpace
	}
	node := &inode{}
	d.names[clean(name)] = node
	return &file{disk: d, node: node, name: clean(name)}, nil
}

func (d *disk) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	if err := d.access(); err != nil {
		return nil, err
	}
	node := d.names[clean(name)]
	if node == nil {
		return nil, missing("open", name)
	}
	return &file{disk: d, node: node, name: clean(name)}, nil
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	if d.names[clean(name)] == nil {
		return d.Create(name, c)
	}
	return d.Open(name)
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	if err := d.access(); err != nil {
		return nil, err
	}
	if node := d.names[clean(name)]; clean(name) != "" && (node == nil || !node.dir) {
		return nil, missing("open", name)
	}
	return &file{disk: d, node: &inode{dir: true}, name: clean(name)}, nil
}

func (d *disk) Remove(name string) error {
	if err := d.change(); err != nil {
		return err
	}
	if d.names[clean(name)] == nil {
		return missing("remove", name)
	}
	delete(d.names, clean(name))
	return nil
}

func (d *disk) RemoveAll(name string) error {
	if err := d.change(); err != nil {
		return err
	}
	delete(d.names, clean(name))
	for other := range d.names {
		if strings.HasPrefix(other, clean(name)+"/") {
			delete(d.names, other)
		}
	}
	return nil
}

func (d *disk) Rename(oldname, newname string) error {
	if err := d.change(); err != nil {
		return err
	}
	node := d.names[clean(oldname)]
	if node == nil {
		return missing("rename", oldname)
	}
	delete(d.names, clean(oldname))
	d.names[clean(newname)] = node
	return nil
}

func (d *disk) MkdirAll(dir string, _ os.FileMode) error {
	if err := d.change(); err != nil {
		return err
	}
	for at := clean(dir); at != "" && at != "."; at = path.Dir(at) {
		if d.names[at] == nil {
			d.names[at] = &inode{dir: true}
		}
	}
	return nil
}

func (d *disk) List(dir string) ([]string, error) {
	if err := d.access(); err != nil {
		return nil, err
	}
	if node := d.names[clean(dir)]; node == nil || !node.dir {
		return nil, missing("open", dir)
	}
	var list []string
	for _, name := range d.everyName() {
		if d.names[name] != nil && path.Dir(name) == clean(dir) {
			list = append(list, path.Base(name))
		}
	}
	return list, nil
}

func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	if err := d.access(); err != nil {
		return nil, err
	}
	node := d.names[clean(name)]
	if node == nil {
		return nil, missing("stat", name)
	}
	return info{name: path.Base(name), node: node}, nil
}

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if err := d.access(); err != nil {
		return vfs.DiskUsage{}, err
	}
	left := uint64(diskBytes)
	if d.full {
		left = diskFullBytes
	}
	return vfs.DiskUsage{AvailBytes: left, TotalBytes: diskBytes, UsedBytes: diskBytes - left}, nil
}

func (d *disk) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }
func (d *disk) Link(string, string) error      { return errors.ErrUnsupported }
func (d *disk) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errors.ErrUnsupported
}
func (d *disk) PathBase(name string) string    { return path.Base(name) }
func (d *disk) PathJoin(elem ...string) string { return path.Join(elem...) }
func (d *disk) PathDir(name string) string     { return path.Dir(name) }
func (d *disk) Unwrap() vfs.FS                 { return nil }

// file is an open file or directory.
type file struct {
	disk *disk
	node *inode
	name string
	pos  int64
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	err := f.disk.change()
	switch {
	case errors.Is(err, errPowerCut), err == nil:
	default:
		f.node.write(b[:len(b)/2], offset) // EIO midway: a short write (F20)
		return len(b) / 2, err
	}
	if f.disk.full && offset+int64(len(b)) > int64(len(f.node.data)) {
		return 0, errNoSpace
	}
	f.node.write(b, offset) // also when the power is cut just now: what reaches the platter of it the crash decides
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *file) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.disk.access(); err != nil {
		return 0, err
	}
	if offset >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Sync() error {
	err := f.disk.change()
	switch {
	case errors.Is(err, errPowerCut):
		return err
	case err != nil:
		f.node.loseUnsynced()
		return err
	}
	if f.node.dir {
		f.syncNames()
		return nil
	}
	f.node.settle()
	return nil
}

// syncNames makes the names in a directory durable.
func (f *file) syncNames() {
	parent := f.name
	if parent == "" {
		parent = "."
	}
	for name, node := range f.disk.names {
		if path.Dir(name) == parent {
			f.disk.durable[name] = node
		}
	}
	for name := range f.disk.durable {
		if path.Dir(name) == parent && f.disk.names[name] == nil {
			delete(f.disk.durable, name)
		}
	}
}

func (f *file) SyncData() error              { return f.Sync() }
func (f *file) SyncTo(int64) (bool, error)   { return false, nil }
func (f *file) Close() error                 { return nil }
func (f *file) Preallocate(_, _ int64) error { return nil }
func (f *file) Prefetch(_, _ int64) error    { return nil }
func (f *file) Fd() uintptr                  { return vfs.InvalidFd }
func (f *file) Stat() (vfs.FileInfo, error)  { return info{path.Base(f.name), f.node}, nil }

type info struct {
	name string
	node *inode
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return int64(len(i.node.data)) }
func (i info) IsDir() bool            { return i.node.dir }
func (i info) ModTime() time.Time     { return epoch }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
func (i info) Mode() fs.FileMode {
	if i.node.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
