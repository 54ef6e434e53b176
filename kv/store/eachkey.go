package store

// A txn's view of a bucket's keys in order: those of the database as they were before the batch, with what the batch has changed.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/kv/subject"
)

// named is a key with its record, or without if it does not match.
type named struct {
	name   string
	record *keyRecord
}

// eachKey visits the keys that have entries, match, and come after a name, in order, until visit wants no more or keysMax keys have
// been looked at, those that do not match included. When more is set there are others, after next. Which they are does not depend on what is in
// the database yet, and what in the batch.
func (t *txn) eachKey(b *bucket, filter subject.Filter, after string, visit func(name string, k *keyRecord) (bool, error)) (next string, more bool, err error) {
	if name, one := filter.Literal(); one {
		k, err := t.key(b, name)
		if err == nil {
			_, err = visit(name, k)
		}
		return "", false, err
	}
	keys := t.keysAfter(b, filter, after)
	for looked := 1; ; looked++ {
		k, err := keys.next()
		if err != nil || k == nil {
			return "", false, err
		}
		goOn := true
		if k.record != nil {
			if goOn, err = visit(k.name, k.record); err != nil {
				return "", false, err
			}
			if k.record.changed {
				b.keys[k.name] = k.record
			}
		}
		if !goOn || looked == keysMax {
			more, err := keys.more()
			if err != nil || !more {
				return "", false, err
			}
			return k.name, true, nil
		}
	}
}

// cursorKeys is how many keys are read from the database at a time: a step may end after few, and is part of an Apply.
const cursorKeys = 256

// keyCursor goes through the keys of a bucket that have entries and could match, in order. What the txn does to one it has passed does not change
// what follows.
type keyCursor struct {
	txn    *txn
	bucket *bucket
	filter subject.Filter
	after  string // the last that was read
	end    bool   // all were read
	known  []named
	stored []named // read, of those that the txn does not know
}

func (t *txn) keysAfter(b *bucket, filter subject.Filter, after string) *keyCursor {
	c := &keyCursor{txn: t, bucket: b, filter: filter, after: after, end: b.emptied}
	for name, k := range b.keys {
		if len(k.live) > 0 && name > after && strings.HasPrefix(name, filter.Prefix()) {
			if !filter.Match(name) {
				k = nil
			}
			c.known = append(c.known, named{name, k})
		}
	}
	slices.SortFunc(c.known, func(x, y named) int { return cmp.Compare(x.name, y.name) })
	return c
}

// next is the next key; nil: there is none.
func (c *keyCursor) next() (*named, error) {
	if more, err := c.more(); !more {
		return nil, err
	}
	from := &c.known
	if len(c.known) == 0 || len(c.stored) > 0 && c.stored[0].name < c.known[0].name {
		from = &c.stored
	}
	k := &(*from)[0]
	*from = (*from)[1:]
	return k, nil
}

// more reports whether there is a next key.
func (c *keyCursor) more() (bool, error) {
	if len(c.stored) == 0 && !c.end {
		if err := c.read(); err != nil {
			return false, err
		}
	}
	return len(c.known)+len(c.stored) > 0, nil
}

// read reads the next from the database.
func (c *keyCursor) read() error {
	table := numbered(tableKey, c.bucket.record.incarnation)
	prefix := append(table[:len(table):len(table)], c.filter.Prefix()...)
	from := prefix
	if c.after != "" && c.after >= c.filter.Prefix() {
		from = append(append(table[:len(table):len(table)], c.after...), 0)
	}
	c.end, c.stored = true, nil
	return c.txn.db.Scan(from, prefixEnd(prefix), func(key, record []byte) (bool, error) {
		name := string(key[len(table):])
		if c.bucket.keys[name] != nil {
			return true, nil
		}
		found := named{name, nil}
		if c.filter.Match(name) {
			k, err := decodeKey(record)
			if err != nil {
				return false, err
			}
			found.record = &k
		}
		c.stored, c.after = append(c.stored, found), name
		c.end = len(c.stored) < cursorKeys
		return c.end, nil
	})
}
