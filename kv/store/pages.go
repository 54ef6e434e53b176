package store

// Reads of many entries, page by page, each of one moment however long it takes: no more than a page is in memory at a time, and who is given one
// says whether there is to be another.

import (
	"cmp"
	"errors"
	"slices"

	"github.com/raftbus/raftbus/kv/subject"
)

// Pages answers a query page by page, all of one moment, until take wants no more. Max and MaxBytes bound a page, and Count is told with the first.
// The error is as that of Page.
func (s *Store) Pages(q Query, take func(*EntryPage) bool) error {
	return s.viewBucket(q.Bucket, func(v *bucketView) error {
		for {
			p, err := s.pageIn(v, q)
			if err != nil || !take(&p) || p.Done {
				return err
			}
			q.From, q.Since, q.Count = p.Next, 0, false
		}
	})
}

// ErrTooMany says that more keys match than may.
var ErrTooMany = errors.New("too many keys match")

// Lasts asks for the newest entry of each key that matches, of any op, as of one point in the bucket's history.
type Lasts struct {
	Bucket string
	Filter subject.Filter
	AsOf   uint64 // the sequence; 0: the last
	Before *int64 // if not nil: as of the last entry that is older, nanoseconds since 1970 UTC
	From   uint64 // entries before it are not told
	Most   int    // keys that may match
	// MaxBytes bounds a page. One entry is always allowed.
	MaxBytes int
	// Wanted is as a Query's.
	Wanted func() bool
}

// Lasts answers in order of sequence, page by page, all of one moment, until take wants no more. Each page has in Count how many are told in all,
// and in Last the sequence as of which they are the newest. The error is NoEntry if no key has an entry as of then, ErrTooMany, or as that of Page.
func (s *Store) Lasts(q Lasts, take func(*EntryPage) bool) error {
	return s.viewBucket(q.Bucket, func(v *bucketView) error {
		asOf, err := v.asOf(&q)
		if err != nil {
			return err
		}
		p := &pace{wanted: q.Wanted}
		list, err := v.lasts(&q, asOf, p)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(sequence uint64) bool { return sequence < q.From })
		of := Query{Max: len(list), MaxBytes: q.MaxBytes}
		for {
			page := EntryPage{Count: uint64(of.Max), Last: asOf, At: v.at}
			c := pager{q: &of, p: &page, v: v, pace: p}
			if err := c.takeListed(list); err != nil || !take(&page) || page.Done {
				return err
			}
			list = list[len(page.Entries):]
		}
	})
}

// asOf is the sequence of the bucket's history that is asked about. The error is NoEntry if nothing was there yet.
func (v *bucketView) asOf(q *Lasts) (uint64, error) {
	if q.Before == nil {
		return cmp.Or(q.AsOf, v.stats.sequence), nil
	}
	at, err := v.since(*q.Before)
	if err != nil {
		return 0, err
	}
	if next, err := v.first(at); err != NoEntry {
		return next.Sequence - 1, err
	}
	return v.stats.sequence, nil
}

// lasts lists the sequences of the newest entries as of one, rising. The error is NoEntry or ErrTooMany.
func (v *bucketView) lasts(q *Lasts, asOf uint64, p *pace) (list []uint64, err error) {
	many := false
	err = v.searchSome(q.Filter, p, func(_ string, k *keyRecord) bool {
		i := k.upTo(asOf)
		if many = i >= 0 && len(list) == q.Most; i >= 0 {
			list = append(list, k.live[i].sequence)
		}
		return !many
	})
	switch {
	case err != nil:
		return nil, err
	case many:
		return nil, ErrTooMany
	case len(list) == 0:
		return nil, NoEntry
	}
	slices.Sort(list)
	return list, nil
}
