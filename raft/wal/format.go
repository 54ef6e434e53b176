package wal

// The format's constants and the two fixed headers, of a record and of a batch. DESIGN.md shows them as byte tables.
// Nothing here touches a file: bytes in, values out, and every length is checked by the caller before it is used.

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// formatVersion is written in every segment header. Another version is refused, never guessed at (F28).
	formatVersion = 1

	// sectorBytes is the unit that a disk writes whole or not at all (F17). Batches start on a sector and fill their last
	// one, so that no sector ever holds bytes of two batches and synced bytes are never written again.
	sectorBytes = 512

	// headerBytes is the size of a record header and of a batch header.
	headerBytes = 48

	// BatchBytesMax bounds what one Append may write, in bytes with all headers.
	BatchBytesMax = 256 << 20

	// ConfigurationBytesMax and VoteBytesMax bound what each group costs at the start of every segment.
	ConfigurationBytesMax = 64 << 10
	VoteBytesMax          = 255

	// DamagedMax bounds the damaged entries of one group that Open reports. With more of them the disk is past repairing.
	DamagedMax = 1024

	// GroupsMax bounds the groups of one log, since each of them is written at the start of every segment.
	GroupsMax = 1024
)

type recordKind uint8

const (
	kindBatch     recordKind = 1 // opens a batch: its length, number of records, sequence number and checksum
	kindEntry     recordKind = 2 // one log entry; the payload is its data
	kindHardState recordKind = 3 // a group's term and vote; the payload is the vote
	kindBase      recordKind = 4 // what a group's log starts after; the payload is the configuration
	kindLast      recordKind = 5 // only in a checkpoint: the last entry of a group when the segment began
	kindSeal      recordKind = 6 // the segment ends here and the log goes on in the next one (K57)
)

const (
	flagFinal      uint8 = 1 << 0 // the last record of its batch: the next batch starts on the next sector
	flagReset      uint8 = 1 << 1 // a base that does not continue the log before it: all entries are forgotten (K27)
	flagCheckpoint uint8 = 1 << 2 // repeats, at the start of a segment, what earlier segments said
	flagsKnown           = flagFinal | flagReset | flagCheckpoint
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// place is what makes a byte of this log different from the same byte elsewhere: the log's random id and the segment's
// number. Checksums and the preallocation pattern are salted with it and with the offset, so that a block of another log,
// segment or offset fails its check (D1), and no client can write a value that looks like a header or like unused space.
type place struct{ log, segment uint64 }

// mix spreads place and offset over 64 bits (the finaliser of SplitMix64).
func (p place) mix(offset int64) uint64 {
	x := p.log ^ (p.segment * 0x9E3779B97F4A7C15) ^ (uint64(offset) * 0xD6E8FEB86659FD93)
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
	x = (x ^ (x >> 27)) * 0x94D049BB133111EB
	return x ^ (x >> 31)
}

// salt is added to the checksum of the header at offset.
func (p place) salt(offset int64) uint32 { return uint32(p.mix(^offset)) }

// header is a record header, decoded.
type header struct {
	payloadCRC uint32
	length     uint32 // payload bytes
	kind       recordKind
	flags      uint8
	entryKind  rpc.EntryKind
	group      GroupID
	id         rpc.EntryID
	time       int64
}

// bytes is the size of the record.
func (h *header) bytes() int64 { return headerBytes + int64(h.length) }

// put writes the header at b[:headerBytes].
func (h *header) put(b []byte, salt uint32) {
	le := binary.LittleEndian
	le.PutUint32(b[4:], h.payloadCRC)
	le.PutUint32(b[8:], h.length)
	b[12], b[13], b[14], b[15] = byte(h.kind), h.flags, byte(h.entryKind), 0
	le.PutUint64(b[16:], uint64(h.group))
	le.PutUint64(b[24:], uint64(h.id.Index))
	le.PutUint64(b[32:], uint64(h.id.Term))
	le.PutUint64(b[40:], uint64(h.time))
	le.PutUint32(b, checksum(b[4:headerBytes])^salt)
}

// parseHeader decodes the header at b, which must hold headerBytes. It reports false if the header is not intact or not
// one of this place.
func parseHeader(b []byte, salt uint32) (header, bool) {
	le := binary.LittleEndian
	if le.Uint32(b) != checksum(b[4:headerBytes])^salt {
		return header{}, false
	}
	h := header{
		payloadCRC: le.Uint32(b[4:]),
		length:     le.Uint32(b[8:]),
		kind:       recordKind(b[12]),
		flags:      b[13],
		entryKind:  rpc.EntryKind(b[14]),
		group:      GroupID(le.Uint64(b[16:])),
		id:         rpc.EntryID{Index: rpc.Index(le.Uint64(b[24:])), Term: rpc.Term(le.Uint64(b[32:]))},
		time:       int64(le.Uint64(b[40:])),
	}
	return h, h.flags&^flagsKnown == 0 && b[15] == 0
}

// batchHeader opens a batch. It has the layout of a record header, whose group field holds the sequence number and whose
// index field holds the number of records.
type batchHeader struct {
	bodyCRC  uint32
	length   uint32 // bytes that follow, padding included: with the header a whole number of sectors
	sequence uint64
	records  uint64
}

func (h *batchHeader) put(b []byte, salt uint32) {
	(&header{
		kind: kindBatch, payloadCRC: h.bodyCRC, length: h.length,
		group: GroupID(h.sequence), id: rpc.EntryID{Index: rpc.Index(h.records)},
	}).put(b, salt)
}

func parseBatchHeader(b []byte, salt uint32) (batchHeader, bool) {
	h, ok := parseHeader(b, salt)
	return batchHeader{h.payloadCRC, h.length, uint64(h.group), uint64(h.id.Index)}, ok && h.kind == kindBatch
}

// sectorsDown rounds n down to whole sectors.
func sectorsDown(n int64) int64 { return n &^ (sectorBytes - 1) }

// sectorsUp rounds n up to whole sectors.
func sectorsUp(n int64) int64 { return (n + sectorBytes - 1) &^ (sectorBytes - 1) }
