package rpc

// AppendEntry appends an entry to dst, for tests of a single one.
func AppendEntry(dst []byte, e *Entry) []byte {
	w := walk{mode: writing, buf: dst}
	e.fields(&w)
	return w.buf
}
