package rpc

import "sync"

// CountPrevious has the key that is accepted as well count the messages that are held against it.
func CountPrevious(k *Keys, tried *int) {
	made := k.previous.pool.New
	k.previous.pool = sync.Pool{New: func() any { *tried++; return made() }}
}

// AppendEntry appends an entry to dst, for tests of a single one.
func AppendEntry(dst []byte, e *Entry) []byte {
	w := walk{mode: writing, buf: dst}
	e.fields(&w)
	return w.buf
}
