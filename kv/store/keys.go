package store

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble keys: one byte that names the table, then parts that sort as they should. DESIGN.md has them as a table. An
// incarnation is the cluster revision at which a bucket was made, so a bucket made anew never meets an old one's data.

const (
	tableState  = 0x01
	tableBucket = 0x02
	tableStats  = 0x03
	tableEntry  = 0x04
	tableKey    = 0x05
)

var stateKey = []byte{tableState}

func bucketKey(name string) []byte { return append([]byte{tableBucket}, name...) }

func numbered(table byte, incarnation uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{table}, incarnation)
}

func statsKey(incarnation uint64) []byte { return numbered(tableStats, incarnation) }

func entryKey(incarnation, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(numbered(tableEntry, incarnation), sequence)
}

func keyKey(incarnation uint64, key string) []byte {
	return append(numbered(tableKey, incarnation), key...)
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

// get reads one record; nil if it is not there. A record that is there is never nil.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	record := append(make([]byte, 0, len(value)), value...)
	return record, closer.Close()
}
