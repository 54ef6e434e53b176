package engine

// The manifest is Pebble's list of a state's tables: records of what came and went, one synced after the other. Pebble ends at the first that does
// not fit, as after a power loss, and deletes all tables that those before it do not name. So what is no power loss is refused before Pebble sees it.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// What Pebble calls a table, and the file that names its list of those.
const (
	tableSuffix    = ".sst"
	manifestMarker = markerPrefix + "manifest."
)

// listed refuses a state whose tables no list of Pebble's names any more, or one that is damaged. Pebble would take it for a new or an older one, and delete
// them (D4, K51). A crash while a new one was made leaves no list either, but no tables.
func (f folder) listed(number uint64) error {
	dir := f.path(number)
	files, err := f.fs.List(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(files, func(name string) bool { return strings.HasSuffix(name, tableSuffix) }) {
		return nil
	}
	found, err := pebble.Peek(dir, f.fs)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if !found.Exists {
		return fmt.Errorf("%s holds tables but no file %s*, which names the list of them: put that file back, or give the node an empty data folder and replace the member; nothing was changed or deleted", dir, manifestMarker)
	}
	return f.intact(found.ManifestFilename)
}

func (f folder) intact(manifest string) error {
	file, err := f.fs.Open(manifest)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	at, err := damageIn(file)
	if err == nil && at >= 0 {
		err = fmt.Errorf("from byte %d on; it lists the state's tables, and Pebble would delete those that are not read from it", at)
	}
	if err != nil {
		return fmt.Errorf("damaged store file %s: %w", manifest, err)
	}
	return nil
}

// A record is a chunk, or a first one, more, and a last one. Chunks lie in blocks, which none reaches across; each begins with a CRC32C (4, little-endian, of
// kind and content, rotated), a length (2, of the content) and a kind (1). It is the form of Pebble's package record, whose reader does not tell what comes after
// what does not fit.
const (
	blockBytes  = 32 << 10
	headBytes   = 7
	sectorBytes = 512

	chunkWhole = 1
	chunkFirst = 2
	chunkLast  = 4
)

// damageIn returns where a manifest is damaged otherwise than by a power loss, which leaves the first record, synced before the manifest was used, and all but
// the last: -1 if it is not.
func damageIn(file io.Reader) (int64, error) {
	m, block := manifest{misfit: -1}, make([]byte, blockBytes)
	for base := int64(0); ; base += blockBytes {
		n, err := io.ReadFull(file, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		if m.damaged(block[:n], base) {
			return m.misfit, nil
		}
		if n < blockBytes {
			break
		}
	}
	if m.records == 0 {
		return max(m.misfit, 0), nil
	}
	return -1, nil
}

// manifest is what is known of one as far as it is read.
type manifest struct {
	records int   // that are whole
	misfit  int64 // where the first chunk is that does not fit: after it one is looked for everywhere
}

func (m *manifest) damaged(block []byte, base int64) bool {
	for at := 0; at+headBytes <= len(block); {
		c := chunkOf(block[at:])
		switch {
		case m.misfit < 0 && c.intact:
			if c.kind == chunkWhole || c.kind == chunkLast {
				m.records++
			}
			at += c.size
		case m.misfit < 0:
			m.misfit = base + int64(at)
			if !torn(block[at:], c.size, at) {
				return true
			}
		case c.intact && (c.kind == chunkWhole || c.kind == chunkFirst):
			return true
		default:
			at++
		}
	}
	return false
}

type chunk struct {
	size   int // with what it begins with
	kind   byte
	intact bool
}

// chunkOf reads the chunk that the rest of a block begins with.
func chunkOf(rest []byte) chunk {
	c := chunk{size: headBytes + int(binary.LittleEndian.Uint16(rest[4:])), kind: rest[6]}
	if c.size <= len(rest) && c.kind >= chunkWhole && c.kind <= chunkLast { // no sum for most places that one is looked for at
		sum := crc32.Checksum(rest[6:c.size], crc32.MakeTable(crc32.Castagnoli))
		c.intact = binary.LittleEndian.Uint32(rest) == (sum>>15|sum<<17)+0xa282ead8
	}
	return c
}

// torn reports whether a power loss can have left a chunk so, at a place in its block: the file ends inside it, or a sector of it was never written.
func torn(rest []byte, size, at int) bool {
	if size > len(rest) {
		return at+len(rest) < blockBytes
	}
	for c := rest[:size]; len(c) > 0; {
		n := min(len(c), sectorBytes-at%sectorBytes)
		if len(bytes.Trim(c[:n], "\x00")) == 0 {
			return true
		}
		c, at = c[n:], at+n
	}
	return false
}
