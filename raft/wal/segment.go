package wal

// Segment files: their names, their header, how one is made and opened. A file carries a segment's name only once its
// whole size is written and synced; until then it has a temporary name, which nothing ever reads (K33).

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	segmentMagic  = "raftbusW"
	segmentSuffix = ".wal"
	tempSuffix    = ".tmp"

	// prepareChunkBytes is how much of a new segment is written between two syncs: little, so that the appender's own
	// sync never queues behind much.
	prepareChunkBytes = 256 << 10

	diskCategory vfs.DiskWriteCategory = "raft-wal"
)

// segment is one file of the log. Once made its size never changes.
type segment struct {
	place
	name string
	size int64 // bytes, header included
	file vfs.File

	end     int64 // guarded by Log.mu: where the durable batches end
	readers int   // guarded by Log.mu
	retired bool  // guarded by Log.mu: removed, to be closed when the last reader leaves
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// parseSegmentName reports whether name is a segment's, and which.
func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, err == nil && segmentName(number) == name
}

// putSegmentHeader writes the first sector of a segment.
func putSegmentHeader(b []byte, p place, size int64) {
	le := binary.LittleEndian
	clear(b[:sectorBytes])
	copy(b, segmentMagic)
	le.PutUint32(b[8:], formatVersion)
	le.PutUint64(b[16:], p.log)
	le.PutUint64(b[24:], p.segment)
	le.PutUint64(b[32:], uint64(size))
	sealHeader(b)
}

// sealHeader puts the checksum at the end of the first sector.
func sealHeader(b []byte) {
	binary.LittleEndian.PutUint32(b[sectorBytes-4:], checksum(b[:sectorBytes-4]))
}

// segmentHeader is the first sector of a segment, decoded.
type segmentHeader struct {
	place
	version uint32
	size    int64
}

// parseSegmentHeader decodes the first sector b of a segment; damage says what is wrong with it, if anything is.
func parseSegmentHeader(b []byte) (h segmentHeader, damage string) {
	le := binary.LittleEndian
	switch {
	case string(b[:8]) != segmentMagic:
		return h, "this is no segment of a raftbus log"
	case le.Uint32(b[sectorBytes-4:]) != checksum(b[:sectorBytes-4]):
		return h, "the segment header's checksum is wrong"
	}
	return segmentHeader{
		place:   place{log: le.Uint64(b[16:]), segment: le.Uint64(b[24:])},
		version: le.Uint32(b[8:]),
		size:    int64(le.Uint64(b[32:])),
	}, ""
}

// folder is the directory of a log.
type folder struct {
	fs  vfs.FS
	dir string
}

func (f folder) path(name string) string { return f.fs.PathJoin(f.dir, name) }

// sync makes names made, changed and removed in the directory durable (K54).
func (f folder) sync() error { return SyncDir(f.fs, f.dir) }

// SyncDir makes names made, changed and removed in a directory durable (K54).
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeSegment makes the file of a segment, filled with the preallocation pattern and durable under its name. It stops early
// when stop is closed. What it leaves behind when it fails has a temporary name or is a whole, empty segment.
func (f folder) makeSegment(p place, size int64, stop <-chan struct{}) (*segment, error) {
	if err := f.writeTemp(p, size, stop); err != nil {
		return nil, err
	}
	if err := f.rename(p); err != nil {
		return nil, err
	}
	return f.settle(p, size)
}

func (f folder) temp(p place) string { return f.path(segmentName(p.segment) + tempSuffix) }

func (f folder) removeTemp(p place) error { return f.removeIfThere(f.temp(p)) }

// writeTemp writes the whole file, and syncs it, under its temporary name.
func (f folder) writeTemp(p place, size int64, stop <-chan struct{}) error {
	if err := f.writeEmpty(f.temp(p), p, size, stop); err != nil {
		return errors.Join(err, f.removeTemp(p))
	}
	return nil
}

// rename gives the whole file its name, which an unused segment may have.
func (f folder) rename(p place) error {
	if err := f.fs.Rename(f.temp(p), f.path(segmentName(p.segment))); err != nil {
		return errors.Join(err, f.removeTemp(p))
	}
	return nil
}

// settle makes the file's name durable, and opens it.
func (f folder) settle(p place, size int64) (*segment, error) {
	if err := f.sync(); err != nil {
		return nil, err
	}
	return f.openSegment(p, size)
}

func (f folder) openSegment(p place, size int64) (*segment, error) {
	name := segmentName(p.segment)
	file, err := f.fs.OpenReadWrite(f.path(name), diskCategory)
	if err != nil {
		return nil, err
	}
	return &segment{place: p, name: name, size: size, file: file, end: sectorBytes}, nil
}

func (f folder) writeEmpty(path string, p place, size int64, stop <-chan struct{}) error {
	file, err := f.fs.Create(path, diskCategory)
	if err != nil {
		return err
	}
	err = fillEmpty(file, p, size, stop)
	return errors.Join(err, file.Close())
}

// fillEmpty writes header and pattern in chunks, each synced.
func fillEmpty(file vfs.File, p place, size int64, stop <-chan struct{}) error {
	// Asking for all the space at once fails early on a full disk and keeps the file in few extents. Not every file system
	// can; the writes below are what counts.
	if err := file.Preallocate(0, size); IsFull(err) {
		return err
	}
	chunk := make([]byte, min(size, prepareChunkBytes))
	for at := int64(0); at < size; at += int64(len(chunk)) {
		select {
		case <-stop:
			return ErrClosed
		default:
		}
		chunk = chunk[:min(int64(len(chunk)), size-at)]
		p.fillPattern(chunk, at)
		if at == 0 {
			putSegmentHeader(chunk, p, size)
		}
		if n, err := file.Write(chunk); err != nil || n != len(chunk) {
			return shortWrite(err)
		}
		if err := file.SyncData(); err != nil {
			return err
		}
	}
	return file.Sync()
}

// read fills b, or returns a *ReadError.
func (s *segment) read(b []byte, offset int64) error {
	n, err := s.file.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return &ReadError{Segment: s.name, Offset: offset + int64(n), Err: err}
}

func (s *segment) writeAt(b []byte, offset int64) error {
	if n, err := s.file.WriteAt(b, offset); err != nil || n != len(b) {
		return shortWrite(err)
	}
	return nil
}

func shortWrite(err error) error {
	if err == nil {
		return io.ErrShortWrite
	}
	return err
}

func (f folder) removeIfThere(path string) error {
	if _, err := f.fs.Stat(path); err != nil {
		return nil
	}
	return f.fs.Remove(path)
}
