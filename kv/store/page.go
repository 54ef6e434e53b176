package store

// Pages are what histories and watches are made of: a part of a bucket's entries, and how many there are in all, as of one moment.

import (
	"bytes"
	"sort"

	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Query asks for a page of the entries from the sequence From on whose keys match.
type Query struct {
	Bucket      string
	Incarnation uint64 // of the bucket; another is no bucket. 0: whichever it is
	From        uint64
	Since       int64 // if not 0: From is the first entry that is no older, nanoseconds since 1970 UTC
	Filter      subject.Filter
	// Which is judged as of the sequence AsOf, 0: the last. After it every entry counts.
	Which    Which
	AsOf     uint64
	NoValues bool // only their sizes are wanted
	Count    bool
	// Max and MaxBytes bound the page. One entry is always allowed, unless Max is 0: then only the count is wanted.
	Max, MaxBytes int
	// Wanted is asked now and then, while much is looked at, whether to go on; nil: to the end.
	Wanted func() bool
}

// Which says which of the entries count.
type Which uint8

const (
	// Every entry.
	Every Which = iota
	// NewestOfKey: those that have no newer entry of their key.
	NewestOfKey
	// NewestOfAll: the one with the highest sequence, for which the records of all keys may be read. From is found by it: from there on it is NewestOfKey.
	NewestOfAll
)

// EntryPage is what a Query found, in order of sequence.
type EntryPage struct {
	Entries []Entry
	Sizes   []int  // of their values
	From    uint64 // if Count was asked for: no lower than the first entry that is there
	Next    uint64 // everything before it was looked at
	Done    bool   // to the end
	Count   uint64 // if asked for: of all from From on
	Last    uint64 // the sequence of the bucket's last entry
	At      rpc.Index
}

// Bounds of what a page looks at: a range that is counted entry by entry, keys that are tried before a range is, and bytes of entries, beside scanMax: who reads
// it serves others only when it has ended.
const (
	countRangeMax = 2_000
	tryKeysMax    = 4_096
	rangeBytesMax = 16 << 20
)

// Page answers a query. The error is NoBucket, ErrClosed, ErrUnwanted, or one of the disk.
func (s *Store) Page(q Query) (p EntryPage, err error) {
	err = s.viewBucket(q.Bucket, func(v *bucketView) error {
		p, err = s.pageIn(v, q)
		return err
	})
	return p, err
}

func (s *Store) pageIn(v *bucketView, q Query) (p EntryPage, err error) {
	if q.Incarnation != 0 && q.Incarnation != v.record.incarnation {
		return p, NoBucket
	}
	p.Last, p.At = v.stats.sequence, v.at
	if q.AsOf == 0 || q.AsOf > p.Last {
		q.AsOf = p.Last
	}
	if err := v.page(&q, &p); err != nil || !q.Count {
		return p, err
	}
	return p, s.passOver(v, &p)
}

// passOver has what was counted begin with the first entry that is there: JetStream says of a new consumer that what came before was delivered.
func (s *Store) passOver(v *bucketView, p *EntryPage) error {
	state, err := s.stateOf(v)
	p.From, p.Next = max(p.From, state.First), max(p.Next, state.First)
	return err
}

func (v *bucketView) page(q *Query, p *EntryPage) (err error) {
	if q.Since != 0 {
		if q.From, err = v.since(q.Since); err != nil {
			return err
		}
	}
	pace := &pace{wanted: q.Wanted}
	if q.Which == NewestOfAll {
		if q.From, err = v.lastUpTo(q, pace); err != nil {
			return err
		}
		q.Which = NewestOfKey
	}
	p.From, p.Next = q.From, q.From
	found, listed := lowest{most: q.Max + 1}, false // one more says that more follows
	if q.Count && q.From <= p.Last {
		if p.Count, listed, err = v.count(q, pace, &found); err != nil {
			return err
		}
	}
	switch {
	case q.Max == 0:
		return nil
	case q.From > p.Last:
		p.Done = true
		return nil
	}
	if !listed {
		if listed, err = v.listed(q, pace, &found); err != nil {
			return err
		}
	}
	c := pager{q: q, p: p, v: v, pace: pace}
	if listed {
		return c.takeListed(found.sorted())
	}
	return c.takeRange()
}

// since is the sequence of the first entry that is no older than a time. Entries are in order of time.
func (v *bucketView) since(time int64) (uint64, error) {
	var failed error
	at := sort.Search(int(v.stats.sequence), func(n int) bool {
		e, err := v.first(uint64(n) + 1)
		if err != nil && err != NoEntry {
			failed = err
		}
		return err != nil || e.Time >= time
	})
	return uint64(at) + 1, failed
}

// lastUpTo is the sequence of the newest entry that matches, up to q.AsOf; if there is none from q.From on, what follows q.AsOf.
func (v *bucketView) lastUpTo(q *Query, p *pace) (uint64, error) {
	last := uint64(0)
	err := v.searchKeys(q.Filter, p, func(_ string, k *keyRecord) {
		if i := k.upTo(q.AsOf); i >= 0 {
			last = max(last, k.live[i].sequence)
		}
	})
	if last < max(q.From, 1) {
		last = max(q.From, q.AsOf+1)
	}
	return last, err
}

// count counts the entries that a query is about, and reports whether it has listed the lowest of them. Where few of many match, a page that passes over the
// others is long in coming to one.
func (v *bucketView) count(q *Query, p *pace, found *lowest) (n uint64, listed bool, err error) {
	last, whole := v.stats.sequence, q.Filter.All() && q.From <= 1
	few := len(q.Filter.Literals(tryKeysMax)) > 0
	switch {
	case whole && q.Which == Every:
		return v.stats.entries, false, nil
	case whole && q.Which == NewestOfKey && last-q.AsOf < countRangeMax:
		if n, all, err := v.countNewest(q, p); all || err != nil {
			return n, false, err
		}
	case q.Which == Every && !few && last-q.From < countRangeMax:
		low := lowest{most: found.most}
		if n, all, err := v.countRange(q, p, &low); all || err != nil {
			*found = low
			return n, true, err
		}
	}
	err = v.searchKeys(q.Filter, p, func(_ string, k *keyRecord) {
		list := k.within(q)
		n += uint64(len(list))
		found.add(list...)
	})
	return n, true, err
}

// countRange counts the entries that match, and lists the lowest, unless they are too large to look at all.
func (v *bucketView) countRange(q *Query, p *pace, found *lowest) (n uint64, all bool, err error) {
	all, err = v.eachIfSmall(q.From, v.stats.sequence, p, func(e Entry) error {
		if q.Filter.Match(e.Key) {
			n++
			found.add(e.Sequence)
		}
		return nil
	})
	return n, all, err
}

// countNewest counts the newest entry of each key as of q.AsOf, and all after it, unless those are too large to look at all: of keys that have none after it that is one.
func (v *bucketView) countNewest(q *Query, p *pace) (n uint64, all bool, err error) {
	n = v.stats.keys + v.stats.deleted
	written := map[string]bool{}
	all, err = v.eachIfSmall(q.AsOf+1, v.stats.sequence, p, func(e Entry) error {
		if written[e.Key] {
			return nil
		}
		written[e.Key] = true
		k, err := readKey(v.r, v.record.incarnation, e.Key)
		if err == nil {
			n += uint64(len(k.within(q))) - 1
		}
		return err
	})
	return n, all, err
}

// eachIfSmall visits entries by sequence, as eachInRange, and ends where they have more bytes than may be looked at: then it was not all.
func (v *bucketView) eachIfSmall(from, to uint64, p *pace, visit func(Entry) error) (all bool, err error) {
	passed := 0
	err = v.eachInRange(from, to, p, func(e Entry) (bool, error) {
		passed += len(e.Header) + len(e.Value)
		if passed > rangeBytesMax {
			return false, nil
		}
		return true, visit(e)
	})
	return passed <= rangeBytesMax, err
}

// eachInRange visits entries by sequence. Their bytes are the engine's.
func (v *bucketView) eachInRange(from, to uint64, p *pace, visit func(Entry) (bool, error)) error {
	incarnation := v.record.incarnation
	return v.r.Scan(entryKey(incarnation, from), entryKey(incarnation, to+1), func(key, record []byte) (bool, error) {
		if err := p.pass(len(record)); err != nil {
			return false, err
		}
		e, err := asEntry(key, record)
		if err != nil {
			return false, err
		}
		return visit(e)
	})
}

// listed lists the lowest sequences that a query is about, if the keys tell them in short: when it is about few keys, or there are few.
func (v *bucketView) listed(q *Query, p *pace, found *lowest) (listed bool, err error) {
	switch {
	case len(q.Filter.Literals(tryKeysMax)) > 0:
		return true, v.searchKeys(q.Filter, p, func(_ string, k *keyRecord) { found.add(k.within(q)...) })
	case q.Which == Every:
		return false, nil
	}
	looked, few := 0, true
	table := numbered(tableKey, v.record.incarnation)
	from := append(table[:len(table):len(table)], q.Filter.Prefix()...)
	err = v.r.Scan(from, prefixEnd(from), func(key, record []byte) (bool, error) {
		if looked++; looked > tryKeysMax {
			few = false
			return false, nil
		}
		if err := p.pass(len(record)); err != nil {
			return false, err
		}
		if !q.Filter.Match(string(key[len(table):])) {
			return true, nil
		}
		k, err := decodeKey(record)
		found.add(k.within(q)...)
		return true, err
	})
	return few, err
}

// within are the key's sequences that a query is about, falling.
func (k *keyRecord) within(q *Query) (list []uint64) {
	for i := len(k.live) - 1; i >= 0 && k.live[i].sequence >= q.From; i-- {
		if list = append(list, k.live[i].sequence); q.Which != Every && k.live[i].sequence <= q.AsOf {
			break
		}
	}
	return list
}

// upTo is the index of the key's newest entry up to a sequence; -1 if it has none.
func (k *keyRecord) upTo(sequence uint64) int {
	i := len(k.live) - 1
	for i >= 0 && k.live[i].sequence > sequence {
		i--
	}
	return i
}

// pager fills a page.
type pager struct {
	q       *Query
	p       *EntryPage
	v       *bucketView
	pace    *pace
	bytes   int
	visited int
	passed  int // bytes of what was visited
}

func (c *pager) takeListed(sequences []uint64) error {
	for _, s := range sequences {
		e, err := readEntry(c.v.r, c.v.record.incarnation, s)
		if err == nil {
			err = c.pace.pass(len(e.Header) + len(e.Value))
		}
		if err != nil || !c.visit(e) || !c.add(e, false) {
			return err
		}
	}
	c.finish()
	return nil
}

func (c *pager) takeRange() error {
	full := false
	err := c.v.eachInRange(c.q.From, c.p.Last, c.pace, func(e Entry) (bool, error) {
		if full = !c.visit(e); full {
			return false, nil
		}
		wanted, err := c.wants(e)
		if err != nil || !wanted {
			return true, err
		}
		full = !c.add(e, true)
		return !full, nil
	})
	if err == nil && !full {
		c.finish()
	}
	return err
}

// visit counts an entry that is looked at; false if the page has looked at enough.
func (c *pager) visit(e Entry) bool {
	if c.visited == scanMax || c.passed >= rangeBytesMax {
		c.p.Next = e.Sequence
		return false
	}
	c.visited++
	c.passed += len(e.Header) + len(e.Value)
	return true
}

func (c *pager) finish() { c.p.Next, c.p.Done = c.p.Last+1, true }

// wants reports whether an entry counts.
func (c *pager) wants(e Entry) (bool, error) {
	if !c.q.Filter.Match(e.Key) || c.q.Which == Every || e.Sequence > c.q.AsOf {
		return c.q.Filter.Match(e.Key), nil
	}
	k, err := readKey(c.v.r, c.v.record.incarnation, e.Key)
	if err != nil {
		return false, err
	}
	i := k.upTo(c.q.AsOf)
	return i >= 0 && k.live[i].sequence == e.Sequence, nil
}

// add takes an entry along; false if the page is full. Borrowed bytes are copied, and a header that would keep the value of its record.
func (c *pager) add(e Entry, borrowed bool) bool {
	size := len(e.Value)
	if c.q.NoValues {
		e.Value = nil
	}
	weight := len(e.Key) + len(e.Header) + len(e.Value)
	if n := len(c.p.Entries); n >= c.q.Max || n > 0 && c.bytes+weight > c.q.MaxBytes {
		c.p.Next = e.Sequence
		return false
	}
	if borrowed || c.q.NoValues {
		e.Value, e.Header = bytes.Clone(e.Value), bytes.Clone(e.Header)
	}
	c.bytes += weight
	c.p.Entries, c.p.Sizes = append(c.p.Entries, e), append(c.p.Sizes, size)
	return true
}
