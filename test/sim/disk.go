package sim

// A simulated disk: a vfs.FS that forgets what was not synced when its power fails, tears unsynced writes at sectors, fails,
// fills, and rots (F17, F18, F20, F21). It has its own memory of what each sync made durable, so it can be asked whether
// anything is not (I10). It is not for several goroutines.

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const sectorBytes = 512

// faults of operations.
var (
	errPowerCut = errors.New("the power is cut")
	errIO       = &fs.PathError{Op: "io", Path: "disk", Err: syscall.EIO}
	errNoSpace  = &fs.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}
)

type disk struct {
	names   map[string]*inode // as processes see them
	durable map[string]*inode // as a crash would leave them, if it kept nothing unsynced

	off     bool   // the power was cut in the middle of something: nothing works any more
	cutIn   int    // operations that change something, until then; 0: none is planned
	failIn  int    // operations until one fails with EIO; 0: none does
	failed  bool   // one has failed since the last crash
	full    bool   // no byte can be added
	cut     func() // told when the power is cut
	changes uint64
}

// inode is a file or a directory.
type inode struct {
	dir  bool
	data []byte
	// unsynced holds, for each sector written since the last sync, what a crash would find in its place; synced is how long the
	// file is then.
	unsynced map[int64][]byte
	synced   int64
	// lost holds the same of sectors that a failed sync left looking clean: reads show what was written, another sync says it
	// is durable, and it is not, unless it is written again (K53).
	lost map[int64][]byte
}

func newDisk(cut func()) *disk {
	return &disk{names: map[string]*inode{}, durable: map[string]*inode{}, cut: cut}
}

// change is asked before each operation that changes something.
func (d *disk) change() error {
	d.changes++
	if d.cutIn > 0 {
		if d.cutIn--; d.cutIn == 0 {
			d.off = true
			d.cut()
		}
	}
	return d.access()
}

// access is asked before each operation.
func (d *disk) access() error {
	if d.off {
		return errPowerCut
	}
	if d.failIn > 0 {
		if d.failIn--; d.failIn == 0 {
			d.failed = true
			return errIO
		}
	}
	return nil
}

// unsynced names a file under a directory, with a suffix, of which a crash could lose something; empty if there is none.
func (d *disk) unsynced(dir, suffix string) string {
	for name, node := range d.names {
		if (dir == "" || strings.HasPrefix(name, dir+"/")) && strings.HasSuffix(name, suffix) && (d.durable[name] != node || len(node.unsynced) > 0 || len(node.lost) > 0) {
			return name
		}
	}
	return ""
}

// loss says how much of what was not synced a crash takes.
type loss int

const (
	loseAll  loss = iota // all of it
	loseSome             // each sector and name at random
	loseNone             // nothing: a process was killed, or the disk was just in time
	losses
)

// crash leaves what a power loss at this moment does. All open files are of no more use.
func (d *disk) crash(how loss, r *rand.Rand) {
	keep := func() bool { return how == loseNone || how == loseSome && r.IntN(2) == 0 }
	for _, name := range d.everyName() {
		if d.names[name] == d.durable[name] {
			continue
		}
		if kept := keep(); kept == (d.names[name] != nil) {
			d.durable[name] = cmp.Or(d.names[name], d.durable[name])
		} else if kept {
			delete(d.durable, name)
		}
	}
	for _, name := range d.everyName() {
		if node := d.durable[name]; node != nil {
			node.crash(keep)
			if how != loseNone || r.IntN(2) == 0 { // else what a sync lost is still in memory, and read from there
				node.reveal()
			}
		}
	}
	d.names = maps.Clone(d.durable)
	d.off, d.cutIn, d.failIn, d.failed = false, 0, 0, false
}

func (d *disk) everyName() []string {
	all := maps.Clone(d.names)
	maps.Copy(all, d.durable)
	return slices.Sorted(maps.Keys(all))
}

func (n *inode) crash(keep func() bool) {
	length := n.synced
	for _, at := range slices.Sorted(maps.Keys(n.unsynced)) {
		end := min(at+sectorBytes, int64(len(n.data)))
		if keep() {
			length = max(length, end)
		} else {
			copy(n.data[at:end], n.unsynced[at])
		}
	}
	n.data = n.data[:min(length, int64(len(n.data)))]
	n.settle()
}

// reveal shows what failed syncs have lost.
func (n *inode) reveal() {
	for at, old := range n.lost {
		if at < int64(len(n.data)) {
			copy(n.data[at:min(at+sectorBytes, int64(len(n.data)))], old)
		}
	}
	n.lost = nil
}

// settle notes that all of the file is durable.
func (n *inode) settle() {
	clear(n.unsynced)
	n.synced = int64(len(n.data))
}

// copyOf is a copy of the disk as it is, with nothing unsynced: a backup (F23).
func (d *disk) copyOf() *disk {
	c := newDisk(d.cut)
	for name, node := range d.names {
		c.names[name] = &inode{dir: node.dir, data: slices.Clone(node.data), synced: int64(len(node.data))}
	}
	c.durable = maps.Clone(c.names)
	return c
}

// write puts bytes into a file.
func (n *inode) write(b []byte, offset int64) {
	end := offset + int64(len(b))
	for at := offset / sectorBytes * sectorBytes; at < end; at += sectorBytes {
		n.touch(at, offset <= at && at+sectorBytes <= end)
	}
	if grow := end - int64(len(n.data)); grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	}
	copy(n.data[offset:end], b)
}

// touch keeps what a sector holds on the platter before it is written, as a whole or in part.
func (n *inode) touch(at int64, whole bool) {
	if old, was := n.lost[at]; was && whole {
		delete(n.lost, at)
		n.remember(at, old)
		return
	}
	if at < int64(len(n.data)) {
		n.remember(at, n.data[at:min(at+sectorBytes, int64(len(n.data)))])
	} else {
		n.remember(at, nil)
	}
}

func (n *inode) remember(at int64, old []byte) {
	if _, known := n.unsynced[at]; known {
		return
	}
	if n.unsynced == nil {
		n.unsynced = map[int64][]byte{}
	}
	n.unsynced[at] = append(make([]byte, 0, sectorBytes), old...)[:sectorBytes]
}

// loseUnsynced is what a failed sync does to a file (K53).
func (n *inode) loseUnsynced() {
	if n.lost == nil {
		n.lost = map[int64][]byte{}
	}
	for at, old := range n.unsynced {
		if _, known := n.lost[at]; !known {
			n.lost[at] = old
		}
	}
	clear(n.unsynced)
}

// rot damages a sector of a file at rest, on the platter and for whoever reads it (F18). It reports what it did.
func (n *inode) rot(r *rand.Rand) string {
	sectors := int(len(n.data) / sectorBytes)
	if sectors == 0 {
		return "nothing"
	}
	at := r.IntN(sectors) * sectorBytes
	sector := n.data[at : at+sectorBytes]
	switch r.IntN(4) {
	case 0:
		clear(sector)
		return "a zeroed sector"
	case 1:
		from := r.IntN(sectors) * sectorBytes
		copy(sector, n.data[from:from+sectorBytes])
		return "a misplaced sector"
	}
	sector[r.IntN(sectorBytes)] ^= 1 << r.IntN(8)
	return "a flipped bit"
}

// files are the names of files under a directory, in order.
func (d *disk) files(dir string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if strings.HasPrefix(name, dir+"/") && !d.names[name].dir {
			list = append(list, name)
		}
	}
	return list
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: os.ErrNotExist} }

var _ vfs.FS = (*disk)(nil)
