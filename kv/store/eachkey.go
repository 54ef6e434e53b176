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
// been looked at, those that do not match included. When more is set there are others, after next.
func (t *txn) eachKey(b *bucket, filter subject.Filter, after string, visit func(name string, k *keyRecord) (bool, error)) (next string, more bool, err error) {
	if name, one := filter.Literal(); one {
		k, err := t.key(b, name)
		if err == nil {
			_, err = visit(name, k)
		}
		return "", false, err
	}
	keys, err := t.nextKeys(b, filter, after)
	if err != nil {
		return "", false, err
	}
	for i, k := range keys {
		if i == keysMax {
			return keys[i-1].name, true, nil
		}
		if k.record == nil {
			continue
		}
		goOn, err := visit(k.name, k.record)
		if err != nil {
			return "", false, err
		}
		if k.record.changed {
			b.keys[k.name] = k.record
		}
		if !goOn && i+1 < len(keys) {
			return k.name, true, nil
		}
	}
	return "", false, nil
}

// nextKeys are the next keys that have entries and could match, and come after a name, in order: keysMax, and one more if there are
// more. Which they are does not depend on what is in the database yet, and what in the batch.
func (t *txn) nextKeys(b *bucket, filter subject.Filter, after string) ([]named, error) {
	var keys []named
	for name, k := range b.keys {
		if len(k.live) > 0 && name > after && strings.HasPrefix(name, filter.Prefix()) {
			keys = append(keys, candidate(filter, name, k))
		}
	}
	if !b.emptied {
		stored, err := t.storedKeys(b, filter, after)
		if err != nil {
			return nil, err
		}
		keys = append(keys, stored...)
	}
	slices.SortFunc(keys, func(x, y named) int { return cmp.Compare(x.name, y.name) })
	return keys[:min(len(keys), keysMax+1)], nil
}

func candidate(filter subject.Filter, name string, k *keyRecord) named {
	if !filter.Match(name) {
		k = nil
	}
	return named{name, k}
}

// storedKeys are the next in the database that the txn has not read.
func (t *txn) storedKeys(b *bucket, filter subject.Filter, after string) ([]named, error) {
	var keys []named
	table := numbered(tableKey, b.record.incarnation)
	prefix := append(table[:len(table):len(table)], filter.Prefix()...)
	from := prefix
	if after != "" && after >= filter.Prefix() {
		from = append(append(table[:len(table):len(table)], after...), 0)
	}
	err := t.db.Scan(from, prefixEnd(prefix), func(key, record []byte) (bool, error) {
		name := string(key[len(table):])
		switch {
		case b.keys[name] != nil:
		case filter.Match(name):
			k, err := decodeKey(record)
			if err != nil {
				return false, err
			}
			keys = append(keys, named{name, &k})
		default:
			keys = append(keys, named{name, nil})
		}
		return len(keys) <= keysMax, nil
	})
	return keys, err
}
