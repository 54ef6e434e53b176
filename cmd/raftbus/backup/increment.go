package backup

// An increment is a backup that holds what is not in another, its base: records that are new or differ, and the names of those that are gone. States
// are in order of key, so two of them are compared side by side, and neither is in memory. A base is a whole backup; of a base and an increment of
// it Merge makes the whole backup that would have been taken then, byte for byte.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Base names the backup that an increment is of.
type Base struct {
	Revision uint64 `json:"revision"`
	SHA256   string `json:"sha256"`
}

// ErrBase says that a base and an increment do not belong together, or that one is taken for the other.
var ErrBase = errors.New("not the base of this increment")

// What a record of an increment begins with.
const (
	isGone = 0
	isHere = 1
)

// pair is a record; at the end of a state a zero one. Its bytes hold until the next is asked for.
type pair struct{ key, value []byte }

// cursor reads the records of a whole backup one by one.
type cursor struct {
	at   pair
	pull func() (pair, error, bool)
	stop func()
}

func newCursor(f *File) (*cursor, error) {
	c := &cursor{}
	c.pull, c.stop = iter.Pull2(func(yield func(pair, error) bool) {
		over := errors.New("enough")
		err := store.ReadRecords(f, func(key, value []byte) error {
			if !yield(pair{key, value}, nil) {
				return over
			}
			return nil
		})
		if err != nil && !errors.Is(err, over) {
			yield(pair{}, err)
		}
	})
	return c, c.next()
}

func (c *cursor) next() (err error) {
	c.at, err, _ = c.pull()
	return err
}

// until gives what comes before a key, nil being the end of all, to pass.
func (c *cursor) until(key []byte, pass func(pair) error) error {
	for c.at.key != nil && (key == nil || bytes.Compare(c.at.key, key) < 0) {
		if err := pass(c.at); err != nil {
			return err
		}
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// differ writes what of a state is not in a base.
type differ struct {
	out    store.SnapshotWriter
	base   *cursor
	passes func() // is told of each record of the base that is gone
	buf    []byte
}

// record takes the state's next record.
func (d *differ) record(key, value []byte) error {
	if err := d.base.until(key, d.gone); err != nil {
		return err
	}
	if bytes.Equal(d.base.at.key, key) {
		same := bytes.Equal(d.base.at.value, value)
		if err := d.base.next(); err != nil || same {
			return err
		}
	}
	d.buf = append(append(d.buf[:0], isHere), value...)
	return d.out.Record(key, d.buf)
}

func (d *differ) gone(p pair) error {
	d.passes()
	return d.out.Record(p.key, []byte{isGone})
}

func (d *differ) end() error {
	if err := d.base.until(nil, d.gone); err != nil {
		return err
	}
	return d.out.End()
}

// openBase reads a base from end to end, and once more from its beginning.
func openBase(r io.ReadSeeker) (*File, *Base, error) {
	sum, err := Verify(r, nil)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the base: %w", err)
	case sum.Base != nil:
		return nil, nil, fmt.Errorf("%w: it is an increment itself; put it together with its own base ('raftbus backup merge'), and name that", ErrBase)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	f, err := Open(r)
	return f, &Base{Revision: sum.Revision, SHA256: sum.SHA256}, err
}

// fits refuses a state that is not of the base's cluster, or older.
func fits(base, head *Head) error {
	if base.Cluster != head.Cluster || base.Index > head.Index {
		return fmt.Errorf("%w: it is of entry %d of cluster %s, and what comes is of entry %d of cluster %s: take a whole backup", ErrBase, base.Index, base.Cluster, head.Index, head.Cluster)
	}
	return nil
}

// Merge writes the whole backup that a base and an increment of it make.
func Merge(base, increment io.Reader, w io.Writer) (Summary, error) {
	old, err := Open(base)
	if err != nil {
		return Summary{}, err
	}
	inc, err := Open(increment)
	if err != nil {
		return Summary{}, err
	}
	if inc.Head.Base == nil || old.Head.Base != nil {
		return Summary{}, fmt.Errorf("%w: name a whole backup, then an increment", ErrBase)
	}
	if was := inc.Head.Base.Revision; was != old.Head.Revision {
		return Summary{}, fmt.Errorf("%w: it was made of revision %d, and this one is of revision %d", ErrBase, was, old.Head.Revision)
	}
	head := inc.Head
	head.Base = nil
	out := newWriter(w)
	if err := out.begin(&head); err != nil {
		return Summary{}, err
	}
	read, write := io.Pipe()
	inspected := inspect(read, nil, nil)
	err = merge(old, inc, io.MultiWriter(out, write), rpc.EntryID{Index: rpc.Index(head.Index), Term: rpc.Term(head.Term)})
	_ = write.CloseWithError(err) // nil is the end
	got := <-inspected
	if err == nil {
		err = got.against(&head)
	}
	if other := inc.Head.Base.against(old); other != nil {
		err = other // whatever else did not fit
	}
	if err != nil {
		return Summary{}, err
	}
	digest, err := out.end()
	return Summary{Head: head, Bytes: out.written, SHA256: fmt.Sprintf("%x", digest)}, err
}

// against reads a file to its end, and refuses it if it is not this base.
func (b *Base) against(f *File) error {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return err
	}
	if sum := fmt.Sprintf("%x", f.sum.Sum(nil)); sum != b.SHA256 {
		return fmt.Errorf("%w: it was made of revision %d with sha256 %s, and this one has %s", ErrBase, b.Revision, b.SHA256, sum)
	}
	return nil
}

func merge(old, inc *File, w io.Writer, id rpc.EntryID) error {
	base, err := newCursor(old)
	defer base.stop()
	if err != nil {
		return err
	}
	out, err := store.NewSnapshotWriter(w, id)
	if err != nil {
		return err
	}
	keep := func(p pair) error { return out.Record(p.key, p.value) }
	err = store.ReadRecords(inc, func(key, value []byte) error {
		if err := base.until(key, keep); err != nil {
			return err
		}
		there := bytes.Equal(base.at.key, key)
		if there {
			if err := base.next(); err != nil {
				return err
			}
		}
		switch {
		case len(value) > 0 && value[0] == isHere:
			return out.Record(key, value[1:])
		case len(value) == 1 && there:
			return nil
		}
		return fmt.Errorf("%w: it takes away a record that is not there", ErrBase)
	})
	if err == nil {
		err = base.until(nil, keep)
	}
	if err == nil {
		err = out.End()
	}
	return err
}
