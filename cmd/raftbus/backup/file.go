// Package backup takes the state of a running cluster out, as one file, and puts it back: the file's format, the service by which a node gives
// its state away, and the client that fetches it. FORMAT.md has the bytes as a table. A node gives a view of one moment, so a backup is
// consistent at one revision, and neither side has more in memory than a window of chunks.
package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/raftbus/raftbus/kv/store"
)

// The file: magic 8 | length of head 4 | CRC-32C of head 4 | head, JSON | a snapshot as the store writes it | length of all before 8 | SHA-256
// of all before 32 | magic of the end 4 | CRC-32C of the 44 bytes before it 4. Numbers are little-endian.

const (
	magic        = "RBBACKP\x01" // the last byte is the version
	endMagic     = "RBE\x01"
	headBytesMax = 64 << 10
	trailerBytes = 8 + sha256.Size + len(endMagic) + 4
)

// ErrBadFile says that a file is no backup, or a damaged one.
var ErrBadFile = errors.New("not a whole backup: take another copy of the file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Head says what a backup is of.
type Head struct {
	Cluster  string         `json:"cluster"`
	Prefix   string         `json:"prefix"`
	Node     string         `json:"node"`  // that gave it
	Index    uint64         `json:"index"` // of the last entry of the log that it reflects
	Term     uint64         `json:"term"`
	Revision uint64         `json:"revision"` // of the cluster
	Time     time.Time      `json:"time"`     // of the log, when that entry was made
	Taken    time.Time      `json:"taken"`    // by the node's clock
	Holds    store.Contents `json:"holds"`
	Base     *Base          `json:"base,omitempty"` // of an increment: what it is to be put together with
}

// Summary is a backup that was written or read from end to end.
type Summary struct {
	Head
	Bytes  uint64 `json:"bytes"` // of the file
	SHA256 string `json:"sha256"`
}

// writer writes a file. Begin with begin, write the snapshot, end with end.
type writer struct {
	w       io.Writer
	sum     hash.Hash
	written uint64
}

func newWriter(w io.Writer) *writer { return &writer{w: w, sum: sha256.New()} }

// Write implements io.Writer.
func (f *writer) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.written += uint64(n)
	f.sum.Write(p[:n])
	return n, err
}

func (f *writer) begin(h *Head) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(head)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(head, castagnoli))
	_, err = f.Write(append(b, head...))
	return err
}

// end writes the trailer, and returns the checksum of all before it.
func (f *writer) end() ([]byte, error) {
	digest := f.sum.Sum(nil)
	b := binary.LittleEndian.AppendUint64(nil, f.written)
	b = append(append(b, digest...), endMagic...)
	_, err := f.Write(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
	return digest, err
}

// File reads a backup forward: its head, then the snapshot as an io.Reader, whose end comes only if the trailer fits all that was read.
type File struct {
	Head Head
	// Progress, if it is set, hears how many bytes were read, now and then.
	Progress func(bytes uint64)

	r    io.Reader
	sum  hash.Hash
	read uint64
	held []byte // read ahead: the last bytes of it may be the trailer
	over error
}

// Open reads a backup's head.
func Open(r io.Reader) (*File, error) {
	f := &File{r: r, sum: sha256.New()}
	start := make([]byte, len(magic)+8)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, cut(err)
	}
	if got := string(start[:len(magic)]); got != magic {
		if got[:len(magic)-1] == magic[:len(magic)-1] {
			return nil, fmt.Errorf("the backup is of version %d, this build reads version %d: use the build that wrote it, or a later one", got[len(magic)-1], magic[len(magic)-1])
		}
		return nil, fmt.Errorf("%w: it begins with %q", ErrBadFile, got)
	}
	length := binary.LittleEndian.Uint32(start[len(magic):])
	if length > headBytesMax {
		return nil, fmt.Errorf("%w: a head of %d bytes", ErrBadFile, length)
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, cut(err)
	}
	if crc32.Checksum(head, castagnoli) != binary.LittleEndian.Uint32(start[len(magic)+4:]) {
		return nil, fmt.Errorf("%w: checksum of the head", ErrBadFile)
	}
	if err := json.Unmarshal(head, &f.Head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	f.count(start)
	f.count(head)
	f.held = make([]byte, 0, readAhead+trailerBytes)
	return f, nil
}

// readAhead is how much is read at a time beyond what may be the trailer.
const readAhead = 64 << 10

func (f *File) count(b []byte) {
	f.sum.Write(b)
	f.read += uint64(len(b))
}

// Read implements io.Reader. What was read counts only once io.EOF came.
func (f *File) Read(p []byte) (int, error) {
	for len(f.held) <= trailerBytes && f.over == nil {
		f.more()
	}
	if ready := len(f.held) - trailerBytes; ready > 0 {
		n := copy(p, f.held[:ready])
		f.count(f.held[:n])
		f.held = f.held[:copy(f.held, f.held[n:])]
		if f.Progress != nil {
			f.Progress(f.read)
		}
		return n, nil
	}
	if f.over == io.EOF {
		f.over = errors.Join(f.trailer(), io.EOF)
		if !errors.Is(f.over, ErrBadFile) {
			f.over = io.EOF
		}
	}
	return 0, f.over
}

func (f *File) more() {
	n, err := f.r.Read(f.held[len(f.held):cap(f.held)])
	f.held = f.held[:len(f.held)+n]
	f.over = err
}

func (f *File) trailer() error {
	b := f.held
	if len(b) < trailerBytes {
		return fmt.Errorf("%w: it ends early", ErrBadFile)
	}
	sum := trailerBytes - 4
	switch {
	case string(b[sum-len(endMagic):sum]) != endMagic:
		return fmt.Errorf("%w: it ends early", ErrBadFile)
	case crc32.Checksum(b[:sum], castagnoli) != binary.LittleEndian.Uint32(b[sum:]):
		return fmt.Errorf("%w: checksum of its end", ErrBadFile)
	case binary.LittleEndian.Uint64(b) != f.read:
		return fmt.Errorf("%w: it has %d bytes before its end and should have %d", ErrBadFile, f.read, binary.LittleEndian.Uint64(b))
	case !bytes.Equal(b[8:8+sha256.Size], f.sum.Sum(nil)):
		return fmt.Errorf("%w: checksum of the whole", ErrBadFile)
	}
	return nil
}

// Verify reads a backup from end to end, with all its checksums, and holds what it says of itself against what it holds; of an increment the
// checksums are all that there is. progress hears how many entries were read, now and then.
func Verify(r io.Reader, progress func(entries uint64)) (Summary, error) {
	f, err := Open(r)
	if err != nil {
		return Summary{}, err
	}
	if f.Head.Base != nil {
		err = store.ReadRecords(f, func(_, _ []byte) error { return nil })
	} else {
		got := <-inspect(io.NopCloser(f), progress, nil)
		err = got.against(&f.Head)
	}
	if errors.Is(err, store.ErrBadSnapshot) && !errors.Is(err, ErrBadFile) {
		err = fmt.Errorf("%w (%w)", ErrBadFile, err)
	}
	return Summary{Head: f.Head, Bytes: f.read + uint64(trailerBytes), SHA256: fmt.Sprintf("%x", f.sum.Sum(nil))}, err
}

// inspection is what a state was found to be.
type inspection struct {
	at    store.Moment
	holds store.Contents
	err   error
}

// inspect reads a state, on a goroutine that ends with it, and gives each record to visit, unless that is nil.
func inspect(r io.ReadCloser, progress func(uint64), visit func(key, value []byte) error) <-chan inspection {
	if visit == nil {
		visit = func(_, _ []byte) error { return nil }
	}
	done := make(chan inspection, 1)
	go func() {
		var got inspection
		got.at, got.holds, got.err = store.Inspect(r, progress, visit)
		_ = r.Close() // whoever writes into a pipe hears of it
		done <- got
	}()
	return done
}

// against holds what was found against what a head says.
func (i *inspection) against(h *Head) error {
	switch {
	case i.err != nil:
		return i.err
	case uint64(i.at.ID.Index) != h.Index || i.at.Revision != h.Revision || i.holds != h.Holds:
		return fmt.Errorf("%w: its head says revision %d of entry %d with %+v, and it holds revision %d of entry %d with %+v",
			ErrBadFile, h.Revision, h.Index, h.Holds, i.at.Revision, i.at.ID.Index, i.holds)
	}
	return nil
}

func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends early", ErrBadFile)
	}
	return err
}
