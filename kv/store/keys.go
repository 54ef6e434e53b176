package store

// Keys: one byte that names the table, then parts that sort as they should. DESIGN.md has them as a table. An
// incarnation is the cluster revision at which a bucket was made, so a bucket made anew never meets an old one's data.

import (
	"encoding/binary"
	"fmt"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

const (
	tableState  = 0x01
	tableBucket = 0x02
	tableStats  = 0x03
	tableEntry  = 0x04
	tableKey    = 0x05

	tableDue      = 0x06
	tableID       = 0x07
	tableIDOrder  = 0x08
	tableConsumer = 0x09
)

var stateKey = []byte{tableState}

func bucketKey(name string) []byte { return append([]byte{tableBucket}, name...) }

// keyRoom is what keys with two numbers more need, and with most names.
const keyRoom = 1 + 8 + 40

func numbered(table byte, incarnation uint64) []byte {
	return appendNumbered(make([]byte, 0, keyRoom), table, incarnation)
}

func appendNumbered(to []byte, table byte, incarnation uint64) []byte {
	return binary.BigEndian.AppendUint64(append(to, table), incarnation)
}

func statsKey(incarnation uint64) []byte { return numbered(tableStats, incarnation) }

func entryKey(incarnation, sequence uint64) []byte {
	return appendEntryKey(make([]byte, 0, keyRoom), incarnation, sequence)
}

func appendEntryKey(to []byte, incarnation, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(appendNumbered(to, tableEntry, incarnation), sequence)
}

// dueKey sorts a bucket's entries that have a time of their own by when it is over.
func dueKey(incarnation uint64, due int64, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(numbered(tableDue, incarnation), uint64(due)), sequence)
}

func idKey(incarnation uint64, id string) []byte {
	return append(numbered(tableID, incarnation), id...)
}

func idOrderKey(incarnation, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(numbered(tableIDOrder, incarnation), sequence)
}

func consumerKey(incarnation uint64, name string) []byte {
	return append(numbered(tableConsumer, incarnation), name...)
}

// numbersIn reads the numbers that a key is made of after its table's byte: so many, and nothing more unless a name may follow.
func numbersIn(key []byte, count int, named bool) ([3]uint64, error) {
	var numbers [3]uint64
	if size := 1 + 8*count; len(key) < size || len(key) > size && !named {
		return numbers, fmt.Errorf("%w: a key of %d bytes", wire.ErrMalformed, len(key))
	}
	for i := range count {
		numbers[i] = binary.BigEndian.Uint64(key[1+8*i:])
	}
	return numbers, nil
}

func keyKey(incarnation uint64, key string) []byte {
	return appendKeyKey(make([]byte, 0, keyRoom), incarnation, key)
}

func appendKeyKey(to []byte, incarnation uint64, key string) []byte {
	return append(appendNumbered(to, tableKey, incarnation), key...)
}

// prefixEnd is the first key after all that start with prefix; nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
