package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/subject"
)

// scans counts the records that scans visit.
type scans struct {
	engine.DB
	visited *int
}

func (s scans) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	return s.DB.Scan(from, to, func(key, value []byte) (bool, error) {
		*s.visited++
		return visit(key, value)
	})
}

// A step is part of an Apply, for which all wait: it reads little more than the keys that it deals with, and not all that it may look at (Q12). They
// are the same wherever what is read at a time ends, and whatever the batch has read or changed before (I5).
func TestAStepReadsLittleMoreThanItDealsWith(t *testing.T) {
	const keys = 2 * cursorKeys
	f := open(t, newMemory())
	batch := []command.Command{addBucket("app", command.Settings{})}
	for i := range keys {
		batch = append(batch, put("app", name(i), "v"))
	}
	f.apply(batch...)
	db, _, err := f.store.use()
	require.NoError(t, err)
	for _, known := range [][]int{nil, {0, 5, cursorKeys, keys - 1}, {2, keys / 3}} {
		for _, stopAt := range []int{1, 3, cursorKeys - 1, cursorKeys, cursorKeys + 1, keys - 1, keys, keys + 1} {
			read, names := 0, []string(nil)
			tx := newTxn(scans{db, &read}, *f.store.current.Load(), &f.store.recent)
			b, err := tx.bucket("app")
			require.NoError(t, err)
			for _, i := range known {
				_, err := tx.key(b, name(i))
				require.NoError(t, err)
			}
			next, more, err := tx.eachKey(b, subject.Filter{}, "", func(name string, _ *keyRecord) (bool, error) {
				names = append(names, name)
				return len(names) < stopAt, nil
			})
			require.NoError(t, err)
			require.Len(t, names, min(stopAt, keys))
			for i, is := range names {
				require.Equal(t, name(i), is)
			}
			require.Equal(t, stopAt < keys, more)
			if more {
				require.Equal(t, name(stopAt-1), next)
			}
			require.LessOrEqual(t, read, stopAt+cursorKeys+len(known))
			tx.batch.Close()
		}
	}
	db.release()
	f.close()
}
