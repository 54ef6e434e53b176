package wal

// The preallocation pattern: what a sector holds from the day its segment is made until a batch is written there. It tells
// a write that never arrived from one that did and was damaged later (D2), which zeros could not, since lost blocks and
// failing disks return zeros too.

import "encoding/binary"

// fillPattern writes the pattern of the sectors from offset on over b; both are whole sectors.
func (p place) fillPattern(b []byte, offset int64) {
	for i := 0; i < len(b); i += sectorBytes {
		word := p.mix(offset + int64(i))
		for j := i; j < i+sectorBytes; j += 8 {
			binary.LittleEndian.PutUint64(b[j:], word)
		}
	}
}

// isPattern reports whether no byte of the sector b, read at offset, was ever written.
func (p place) isPattern(b []byte, offset int64) bool {
	word := p.mix(offset)
	for j := 0; j < sectorBytes; j += 8 {
		if binary.LittleEndian.Uint64(b[j:]) != word {
			return false
		}
	}
	return true
}

// hasPattern reports whether some part of the sector b, read at offset, was never written. Sectors are written whole or
// not at all by disks, but a write may stop anywhere in one before it gets to the disk (F20). Nobody but the log knows the
// eight bytes, so no batch that was written to its end contains them.
func (p place) hasPattern(b []byte, offset int64) bool {
	word := p.mix(offset)
	for j := 0; j < sectorBytes; j += 8 {
		if binary.LittleEndian.Uint64(b[j:]) == word {
			return true
		}
	}
	return false
}
