package store

// A snapshot as a stream: the magic, then frames of length, CRC32C, kind and body; DESIGN.md has them as a table. Each frame
// is checked before use, and the last one holds a checksum over all that came before it, so that frames of two snapshots
// cannot be mixed (K30). This file knows records as pairs of bytes, and no database.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/raftbus/raftbus/kv/internal/wire"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	snapshotMagic = "rbstate\x01" // the last byte is the version

	frameHead    = 'H' // first: the entry that the snapshot is of
	frameRecords = 'R' // pairs: uvarint length, key, uvarint length, value
	frameEnd     = 'E' // last: count of pairs, SHA-256 of all bytes before this frame

	// frameBytes is when a frame of records is closed; it is larger only for a single larger record.
	frameBytes = 64 << 10
	// frameBytesMax bounds a frame: a value of the largest message NATS allows (64 MiB), and its key.
	frameBytesMax = 65 << 20
	// pieceBytes is what is read of a frame before its length is believed.
	pieceBytes = 16 << 10

	tagHeadIndex  = 1<<3 | wire.Varint
	tagHeadTerm   = 2<<3 | wire.Varint
	tagEndRecords = 1<<3 | wire.Varint
	tagEndSum     = 2<<3 | wire.Bytes
)

// ErrBadSnapshot says that a stream is no snapshot, or a damaged one.
var ErrBadSnapshot = errors.New("not a whole snapshot: ask for it again")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameWriter writes a snapshot.
type frameWriter struct {
	w       io.Writer
	sum     hash.Hash
	written int64
	buf     []byte // the frame being filled; its first frameStart bytes are its head
	records uint64
}

const frameStart = 9 // length 4, CRC32C 4, kind 1

func newFrameWriter(w io.Writer, id rpc.EntryID) (*frameWriter, error) {
	f := &frameWriter{w: w, sum: sha256.New(), buf: make([]byte, frameStart, frameBytes+frameBytes/4)}
	if err := f.write([]byte(snapshotMagic)); err != nil {
		return f, err
	}
	f.buf = wire.AppendUint(f.buf, tagHeadIndex, uint64(id.Index))
	f.buf = wire.AppendUint(f.buf, tagHeadTerm, uint64(id.Term))
	return f, f.flush(frameHead)
}

func (f *frameWriter) write(b []byte) error {
	n, err := f.w.Write(b)
	f.written += int64(n)
	f.sum.Write(b[:n])
	return err
}

// flush writes the frame that was filled, and begins the next.
func (f *frameWriter) flush(kind byte) error {
	f.buf[8] = kind
	binary.LittleEndian.PutUint32(f.buf, uint32(len(f.buf)-8))
	binary.LittleEndian.PutUint32(f.buf[4:], crc32.Checksum(f.buf[8:], castagnoli))
	err := f.write(f.buf)
	f.buf = f.buf[:frameStart]
	return err
}

// record adds one pair.
func (f *frameWriter) record(key, value []byte) error {
	f.buf = append(binary.AppendUvarint(f.buf, uint64(len(key))), key...)
	f.buf = append(binary.AppendUvarint(f.buf, uint64(len(value))), value...)
	f.records++
	if len(f.buf) < frameBytes {
		return nil
	}
	return f.flush(frameRecords)
}

// end writes what is left and the last frame.
func (f *frameWriter) end() error {
	if len(f.buf) > frameStart {
		if err := f.flush(frameRecords); err != nil {
			return err
		}
	}
	f.buf = wire.AppendUint(f.buf, tagEndRecords, f.records)
	f.buf = wire.AppendBytes(f.buf, tagEndSum, f.sum.Sum(nil))
	return f.flush(frameEnd)
}

// readSnapshot reads a snapshot to its end, and gives each pair to record, in order; the bytes are record's only until it
// returns. What was given counts only if the error is nil. All it allocates is at most twice what it has read, and a little.
func readSnapshot(r io.Reader, record func(key, value []byte) error) (rpc.EntryID, error) {
	f := &frameReader{r: r, sum: sha256.New(), body: make([]byte, 0, pieceBytes)}
	id, err := f.head()
	if err != nil {
		return id, err
	}
	for {
		kind, body, err := f.next()
		switch {
		case err != nil:
			return id, err
		case kind == frameEnd:
			return id, f.end(body)
		case kind != frameRecords:
			return id, fmt.Errorf("%w: frame of kind %q", ErrBadSnapshot, kind)
		}
		if err := f.pairs(body, record); err != nil {
			return id, err
		}
	}
}

type frameReader struct {
	r       io.Reader
	sum     hash.Hash
	before  [sha256.Size]byte // of all before the frame last read
	start   [8]byte
	body    []byte
	records uint64
}

func (f *frameReader) head() (rpc.EntryID, error) {
	var id rpc.EntryID
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(f.r, magic); err != nil {
		return id, cut(err)
	}
	if string(magic) != snapshotMagic {
		return id, fmt.Errorf("%w: it begins with %q, not with %q", ErrBadSnapshot, magic, snapshotMagic)
	}
	f.sum.Write(magic)
	kind, body, err := f.next()
	if err != nil {
		return id, err
	}
	if kind != frameHead {
		return id, fmt.Errorf("%w: it has no head", ErrBadSnapshot)
	}
	err = wire.Each(body, func(field wire.Field) error {
		switch field.Tag {
		case tagHeadIndex:
			id.Index = rpc.Index(field.Uint)
		case tagHeadTerm:
			id.Term = rpc.Term(field.Uint)
		}
		return nil
	})
	return id, err
}

// next reads one frame and checks it. The body is valid until the next call.
func (f *frameReader) next() (byte, []byte, error) {
	if _, err := io.ReadFull(f.r, f.start[:]); err != nil {
		return 0, nil, cut(err)
	}
	length := binary.LittleEndian.Uint32(f.start[:])
	if length == 0 || length > frameBytesMax {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes", ErrBadSnapshot, length)
	}
	if err := f.fill(int(length)); err != nil {
		return 0, nil, cut(err)
	}
	if crc32.Checksum(f.body, castagnoli) != binary.LittleEndian.Uint32(f.start[4:]) {
		return 0, nil, fmt.Errorf("%w: checksum of a frame", ErrBadSnapshot)
	}
	f.sum.Sum(f.before[:0])
	f.sum.Write(f.start[:])
	f.sum.Write(f.body)
	return f.body[0], f.body[1:], nil
}

// fill reads the body of a frame. One larger than any before it is read in pieces, each at most as large as what has come
// already, so that a length that lies costs no more than what was sent.
func (f *frameReader) fill(length int) error {
	if length <= cap(f.body) {
		f.body = f.body[:length]
		_, err := io.ReadFull(f.r, f.body)
		return err
	}
	var pieces [][]byte
	for got := 0; got < length; {
		piece := make([]byte, min(length-got, max(got, pieceBytes)))
		if _, err := io.ReadFull(f.r, piece); err != nil {
			return err
		}
		pieces = append(pieces, piece)
		got += len(piece)
	}
	f.body = bytes.Join(pieces, nil)
	return nil
}

func (f *frameReader) pairs(body []byte, record func(key, value []byte) error) error {
	for len(body) > 0 {
		key, rest, ok := cutBytes(body)
		if !ok {
			return fmt.Errorf("%w: a record is cut", ErrBadSnapshot)
		}
		value, rest, ok := cutBytes(rest)
		if !ok {
			return fmt.Errorf("%w: a record is cut", ErrBadSnapshot)
		}
		if err := record(key, value); err != nil {
			return err
		}
		f.records++
		body = rest
	}
	return nil
}

func (f *frameReader) end(body []byte) error {
	var records uint64
	var want []byte
	err := wire.Each(body, func(field wire.Field) error {
		switch field.Tag {
		case tagEndRecords:
			records = field.Uint
		case tagEndSum:
			want = field.Data
		}
		return nil
	})
	if err != nil {
		return err
	}
	if records != f.records || !bytes.Equal(f.before[:], want) {
		return fmt.Errorf("%w: checksum of the whole", ErrBadSnapshot)
	}
	switch _, err := io.ReadFull(f.r, f.start[:1]); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: something follows its end", ErrBadSnapshot)
	default:
		return err
	}
}

// cutBytes takes bytes with their length off the front.
func cutBytes(b []byte) (first, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(length)], b[n+int(length):], true
}

// cut says of an early end that it is one.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends early", ErrBadSnapshot)
	}
	return err
}
