package snapfile

// The file of a received snapshot. All numbers are little-endian; every CRC is a CRC-32C.
//
//	head   magic 8 | term 8 | transfer 8 | snapshot term 8, index 8 | length of from 1 | from | CRC of all that 4
//	chunk  length 4 | CRC of offset and data 4 | data                       one per chunk, in order
//	tail   0xFFFFFFFF 4 | length 4 | CRC of offset and body 4 | body: SHA-256 32, configuration
//
// The offset is that in the stream, 8 bytes, not stored: so a chunk in another's place is noticed. A file without a tail is
// not whole; what follows the tail is not looked at. A flipped bit anywhere before is noticed before it is used (D1).

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
)

// TimeBytes is how much of the stream's first chunk is the time of the entry that the snapshot is of: the state follows.
const TimeBytes = 8

// ChunkBytesMax bounds the data of a chunk; what is sent is smaller.
const ChunkBytesMax = 256 << 10

const (
	magic      = "RBSNAP\x00\x01"
	tailMark   = 0xFFFFFFFF
	headMax    = 8 + 4*8 + 1 + rpc.MaxIDBytes + 4
	bodyMax    = sha256.Size + 64<<10
	frameBytes = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged: a snapshot's file is not what was written.
var ErrDamaged = errors.New("the snapshot's file is damaged")

// Head names one transfer. Two of them are never mixed (K30).
type Head struct {
	From     rpc.NodeID
	Term     rpc.Term // the sender's
	Transfer uint64
	Snapshot rpc.EntryID
}

// Before reports whether a transfer was begun before another: a later leader's, or a later one of the same leader.
func (h Head) Before(o Head) bool {
	return h.Term < o.Term || h.Term == o.Term && h.Transfer < o.Transfer
}

func (h Head) append(b []byte) []byte {
	b = append(b, magic...)
	for _, n := range []uint64{uint64(h.Term), h.Transfer, uint64(h.Snapshot.Term), uint64(h.Snapshot.Index)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(append(b, byte(len(h.From))), h.From...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// ReadHead returns a file's head, and where the chunks begin.
func ReadHead(f io.ReaderAt) (h Head, size int64, err error) {
	b := make([]byte, headMax)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, 0, err
	}
	const fixed = len(magic) + 4*8
	if b = b[:n]; n <= fixed || n < fixed+1+int(b[fixed])+4 || string(b[:len(magic)]) != magic {
		return h, 0, fmt.Errorf("%w: it has no head", ErrDamaged)
	}
	end := fixed + 1 + int(b[fixed])
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return h, 0, fmt.Errorf("%w: its head's checksum does not fit", ErrDamaged)
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(b[len(magic)+8*i:]) }
	h = Head{
		From: rpc.NodeID(b[fixed+1 : end]), Term: rpc.Term(number(0)), Transfer: number(1),
		Snapshot: rpc.EntryID{Term: rpc.Term(number(2)), Index: rpc.Index(number(3))},
	}
	return h, int64(end) + 4, nil
}

// frameSum is the checksum of what stands at an offset of the stream.
func frameSum(offset uint64, data []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], offset)
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, data)
}

// Reader reads a snapshot's file: the stream's bytes, each checked before it is given away. After the last of them it
// has the digest and the configuration. It implements io.Reader for a StateMachine's Restore.
type Reader struct {
	Head   Head
	file   io.ReaderAt
	at     int64  // in the file
	offset uint64 // in the stream: of what follows chunk
	digest hash.Hash
	chunk  []byte // read and not given away
	whole  bool   // the tail was read, and fits
	time   int64  // of the entry Snapshot, once the first chunk was read: the stream begins with it
	conf   rpc.Configuration
	buffer []byte
}

// NewReader reads a file's head, which what follows is then read and checked after.
func NewReader(file io.ReaderAt) (*Reader, error) {
	head, at, err := ReadHead(file)
	if err != nil {
		return nil, err
	}
	return &Reader{Head: head, file: file, at: at, digest: sha256.New(), buffer: make([]byte, ChunkBytesMax)}, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.whole {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// next reads the next chunk, or the tail.
func (r *Reader) next() error {
	var frame [frameBytes]byte
	if err := r.readAt(frame[:]); err != nil {
		return err
	}
	length, sum := binary.LittleEndian.Uint32(frame[:]), binary.LittleEndian.Uint32(frame[4:])
	if length == tailMark {
		return r.tail(int(sum))
	}
	if length > ChunkBytesMax {
		return r.damaged("a chunk of %d bytes", length)
	}
	data := r.buffer[:length]
	if err := r.readAt(data); err != nil {
		return err
	}
	if frameSum(r.offset, data) != sum {
		return r.damaged("the checksum of the chunk at %d does not fit", r.offset)
	}
	if r.offset == 0 {
		if len(data) < TimeBytes {
			return r.damaged("the first chunk has %d bytes", len(data))
		}
		r.time = int64(binary.LittleEndian.Uint64(data))
		r.digest.Write(data[:TimeBytes])
		r.offset, data = TimeBytes, data[TimeBytes:]
	}
	r.digest.Write(data)
	r.chunk, r.offset = data, r.offset+uint64(len(data))
	return nil
}

func (r *Reader) tail(length int) error {
	if length < sha256.Size || length > bodyMax {
		return r.damaged("a tail of %d bytes", length)
	}
	b := make([]byte, 4+length)
	if err := r.readAt(b); err != nil {
		return err
	}
	body := b[4:]
	if frameSum(r.offset, body) != binary.LittleEndian.Uint32(b) {
		return r.damaged("the tail's checksum does not fit")
	}
	if !bytes.Equal(r.digest.Sum(nil), body[:sha256.Size]) {
		return r.damaged("the digest does not fit")
	}
	conf, err := rpc.DecodeConfiguration(body[sha256.Size:])
	if err != nil {
		return r.damaged("its configuration: %v", err)
	}
	if r.offset == 0 {
		return r.damaged("the stream is empty")
	}
	r.conf, r.whole = conf, true
	return nil
}

func (r *Reader) readAt(p []byte) error {
	n, err := r.file.ReadAt(p, r.at)
	r.at += int64(n)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return r.damaged("it ends at %d", r.at)
	}
	return err
}

func (r *Reader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Stage is a snapshot's file while it is received: chunks are added at its end.
type Stage struct {
	Head   Head
	file   vfs.File
	at     int64  // where the next frame goes
	Next   uint64 // of the stream: all before it is stored
	Time   int64  // of the entry Snapshot, once the first chunk is stored
	digest hash.Hash
	frame  []byte // reused
	loose  int    // bytes that the disk was not asked to write yet
}

// stageSyncBytes is how much is gathered before the disk is asked to begin with it: so that the end does not come with a long sync,
// which would hold up the log on the same disk. It is not a sync, which each time would have the file system write its journal, and
// everybody wait for that: a power loss may cost the transfer, and it begins anew.
const stageSyncBytes = 1 << 20

// Create begins a file.
func Create(fs vfs.FS, path string, head Head) (*Stage, error) {
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	s := &Stage{Head: head, file: file, digest: sha256.New()}
	if err := s.write(head.append(nil)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// errOtherTransfer: a file is not of the transfer that is to go on.
var errOtherTransfer = errors.New("the file is of another transfer")

// Resume goes on with a transfer whose file an earlier life of the node left: after the last of its chunks that is whole. All bytes
// are read and checked; of another transfer's file the head only.
func Resume(fs vfs.FS, path string, head Head) (*Stage, error) {
	file, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(file)
	if err == nil && r.Head != head {
		err = errOtherTransfer
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &Stage{Head: r.Head, file: file, at: r.at, digest: r.digest}
	for !r.whole {
		if err = r.next(); err != nil {
			break
		}
		if !r.whole {
			s.at, s.Next, s.Time = r.at, r.offset, r.time
		}
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// Add stores the chunk that follows all before it.
func (s *Stage) Add(data []byte) error {
	if s.Next == 0 {
		if len(data) < TimeBytes {
			return fmt.Errorf("%w: the first chunk has %d bytes", ErrDamaged, len(data))
		}
		s.Time = int64(binary.LittleEndian.Uint64(data))
	}
	s.frame = binary.LittleEndian.AppendUint32(s.frame[:0], uint32(len(data)))
	s.frame = binary.LittleEndian.AppendUint32(s.frame, frameSum(s.Next, data))
	s.frame = append(s.frame, data...)
	if err := s.write(s.frame); err != nil {
		return err
	}
	s.digest.Write(data)
	s.Next += uint64(len(data))
	if s.loose += len(s.frame); s.loose < stageSyncBytes {
		return nil
	}
	s.loose = 0
	_, err := s.file.SyncTo(s.at) // what fails on its way to the disk is told by the last sync
	return err
}

// Finish makes the file whole and durable, if it is what the digest says, and closes it.
func (s *Stage) Finish(digest []byte, conf *rpc.Configuration) error {
	if s.Next == 0 || !bytes.Equal(s.digest.Sum(nil), digest) {
		return fmt.Errorf("%w: what was received has another digest than what was sent", ErrDamaged)
	}
	body := rpc.AppendConfiguration(bytes.Clone(digest), conf)
	b := binary.LittleEndian.AppendUint32(nil, tailMark)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, frameSum(s.Next, body))
	if err := s.write(append(b, body...)); err != nil {
		return err
	}
	// Safety does not rest on this sync: a start verifies the file, and sets it aside if it is not whole. But then a power loss would
	// pass for damage (D2), and what the peer was told is stored would have to be sent again.
	if err := s.file.Sync(); err != nil {
		return err
	}
	return s.file.Close()
}

// Close lets go of the file as it is: a transfer may go on with it.
func (s *Stage) Close() error { return s.file.Close() }

func (s *Stage) write(b []byte) error {
	n, err := s.file.WriteAt(b, s.at)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	s.at += int64(n)
	return err
}
