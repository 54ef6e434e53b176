package wal

// Open: make a new log, or find out what an old one holds. Every byte that counts is checked before it is believed (D1).

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Open opens the log in dir, or makes one if there is none, unless Options.MustExist. The folder must be this process's own: the caller holds a
// lock. A *CorruptError means that something once synced is damaged or gone; nothing was changed then.
func Open(fs vfs.FS, dir string, o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = SegmentBytesDefault
	}
	if o.SegmentBytes < segmentBytesMin || o.SegmentBytes > 1<<30 {
		return nil, fmt.Errorf("wal: segments of %d bytes: use %d to %d", o.SegmentBytes, segmentBytesMin, 1<<30)
	}
	o.SegmentBytes = sectorsUp(o.SegmentBytes)
	l := &Log{folder: folder{fs, dir}, options: o, groups: map[GroupID]*group{}, sequence: 1}
	err := l.recover()
	if err != nil {
		return nil, errors.Join(err, l.closeSegments())
	}
	return l, nil
}

func (l *Log) closeSegments() error {
	files := l.retire(len(l.segments))
	return closeAll(files)
}

// recover finds the segments, reads them, cuts what is torn, and starts the preparer.
func (l *Log) recover() error {
	if l.options.MustExist {
		if err := l.folder.mustHold(); err != nil {
			return err
		}
	}
	if err := MakeDir(l.folder.fs, l.folder.dir); err != nil {
		return err
	}
	// A rename that a crashed process did not get to sync must not be built upon.
	if err := l.folder.sync(); err != nil {
		return err
	}
	numbers, temps, err := l.folder.list()
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return l.create(temps)
	}
	s := survey{log: l, adopt: true}
	err = s.read(numbers)
	if err == nil {
		err = s.mend()
	}
	if err == nil {
		err = l.removeTemps(temps)
	}
	if err != nil {
		return errors.Join(err, s.closeSpare())
	}
	l.start(s.spare)
	return nil
}

// mustHold looks for a log, and makes nothing: not in the place of one that is to be put back.
func (f folder) mustHold() error {
	numbers, _, err := f.list()
	if errors.Is(err, os.ErrNotExist) || err == nil && len(numbers) == 0 {
		return ErrNoLog
	}
	return err
}

// create makes the first segment of a new log.
func (l *Log) create(temps []string) error {
	l.logID = l.options.LogID
	if l.logID == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		l.logID = binary.LittleEndian.Uint64(b[:])
	}
	size := min(l.options.SegmentBytes, firstSegmentBytes)
	s, err := l.folder.makeSegment(place{l.logID, 1}, size, nil)
	if err != nil {
		return fullOr(err)
	}
	l.active, l.segments = s, []*segment{s}
	if err := l.removeTemps(temps); err != nil {
		return err
	}
	l.start(nil)
	return nil
}

// fullOr names a full disk as such.
func fullOr(err error) error {
	if IsFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// removeTemps removes what half-made segments left.
func (l *Log) removeTemps(names []string) error {
	for _, name := range names {
		if err := l.folder.removeIfThere(l.folder.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// start has the next segment made if it is not there.
func (l *Log) start(spare *segment) {
	l.prep = startPreparer(l.folder, l.options)
	if spare != nil {
		l.prep.set(spare)
		return
	}
	l.askNext()
}

// MakeDir makes a directory of mode 0700 (Q13), with those it is in, each durable before the next is made (K54). The name of what is
// there already is made durable too: a process that made it may have been killed before it did. Where it lies in what only others read, others
// have made it.
func MakeDir(fs vfs.FS, dir string) error {
	_, missing := fs.Stat(dir)
	if missing != nil {
		if up := fs.PathDir(dir); up != dir {
			if err := MakeDir(fs, up); err != nil {
				return err
			}
		}
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	err := SyncDir(fs, fs.PathDir(dir))
	if missing == nil && errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}

// list returns the numbers of the segments, rising, and the names of temporary files. Other files are left alone.
func (f folder) list() (numbers []uint64, temps []string, err error) {
	names, err := f.fs.List(f.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if number, ok := parseSegmentName(name); ok {
			numbers = append(numbers, number)
		} else if _, ok := parseSegmentName(strings.TrimSuffix(name, tempSuffix)); ok {
			temps = append(temps, name)
		}
	}
	slices.SortFunc(numbers, cmp.Compare[uint64])
	return numbers, temps, nil
}
