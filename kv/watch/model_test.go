package watch

// A bucket as the specification has it, simple and slow: what a hub is fed, what it reads, and what is right.

import (
	"slices"
)

const testBucket = uint64(7)

// model is a bucket. Each of its changes returns what the feed tells of it.
type model struct {
	history  int
	sequence uint64
	index    uint64
	live     []Entry // in order of sequence
	stored   map[uint64]Entry
	since    map[string]uint64 // the index at which a key came to be there
	records  map[string]Record
	created  uint64
	look     int // entries that a page looks at which does not count; 0: any number
}

func newModel(history int) *model {
	return &model{history: history, stored: map[uint64]Entry{}, since: map[string]uint64{}, records: map[string]Record{}}
}

func (m *model) applied(changes ...Change) Applied {
	m.index++
	return Applied{m.index, changes}
}

// put stores an entry, and drops what history keeps no longer.
func (m *model) put(key, value string) Applied {
	m.sequence++
	if len(m.ofKey(key)) == 0 {
		m.since[key] = m.index + 1
	}
	e := Entry{Key: key, Sequence: m.sequence, Time: int64(m.sequence) * 1000, Value: []byte(value), Size: len(value)}
	m.live = append(m.live, e)
	m.stored[e.Sequence] = e
	changes := []Change{Stored{testBucket, e}}
	for of := m.ofKey(key); len(of) > m.history; of = m.ofKey(key) {
		changes = append(changes, m.drop(of[0]))
	}
	return m.applied(changes...)
}

func (m *model) ofKey(key string) (list []uint64) {
	for _, e := range m.live {
		if e.Key == key {
			list = append(list, e.Sequence)
		}
	}
	return list
}

// drop drops an entry that is there.
func (m *model) drop(sequence uint64) Change {
	i := slices.IndexFunc(m.live, func(e Entry) bool { return e.Sequence == sequence })
	e := m.live[i]
	m.live = slices.Delete(m.live, i, i+1)
	d := Dropped{Incarnation: testBucket, Key: e.Key, Sequence: sequence}
	for _, s := range m.ofKey(e.Key) {
		if s > sequence {
			d.NextOfThisKey = s
			break
		}
	}
	return d
}

// expire drops one entry without a trace.
func (m *model) expire(sequence uint64) Applied { return m.applied(m.drop(sequence)) }

// purge drops all entries at once.
func (m *model) purge() Applied {
	m.live = nil
	return m.applied(Purged{testBucket})
}

// place makes a consumer.
func (m *model) place(r Record) Applied {
	m.created++
	r.Incarnation, r.Bucket, r.Created, r.Changed, r.Start = testBucket, "b", m.created, m.created, m.sequence
	m.records[r.Name] = r
	return m.applied(Placed{r})
}

// change gives a consumer another configuration.
func (m *model) change(r Record) Applied {
	m.created++
	r.Changed = m.created
	m.records[r.Name] = r
	return m.applied(Placed{r})
}

// move gives a consumer to another host.
func (m *model) move(name, host string, boot uint64) Applied {
	r := m.records[name]
	r.Host, r.Boot, r.Moved = host, boot, m.sequence
	r.Generation++
	m.records[name] = r
	return m.applied(Placed{r})
}

func (m *model) remove(name string) Applied {
	delete(m.records, name)
	return m.applied(Removed{Ref{testBucket, name}})
}

func (m *model) all() (list []Record) {
	for _, r := range m.records {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Record) int { return int(a.Created) - int(b.Created) })
	return list
}

// matching are the entries that a read is about.
func (m *model) matching(r Read) (list []Entry) {
	for _, e := range m.live {
		if e.Sequence >= r.From && r.Filter.Match(e.Key) && m.counts(e, r) {
			list = append(list, e)
		}
	}
	if r.Mode == NewestOfAll {
		old := 0
		for ; old < len(list) && list[old].Sequence <= r.AsOf; old++ {
		}
		list = list[max(old-1, 0):]
	}
	return list
}

func (m *model) counts(e Entry, r Read) bool {
	if r.Mode != NewestOfKey || e.Sequence > r.AsOf {
		return true
	}
	return !slices.ContainsFunc(m.live, func(other Entry) bool {
		return other.Key == e.Key && other.Sequence > e.Sequence && other.Sequence <= r.AsOf
	})
}

// page does a read.
func (m *model) page(r Read) Page {
	if r.AsOf == 0 {
		r.AsOf = m.sequence
	}
	p := Page{From: r.From, Last: m.sequence, Applied: m.index}
	if r.FromTime != 0 {
		p.From = m.sequence + 1
		for _, e := range slices.Backward(m.live) {
			if e.Time >= r.FromTime {
				p.From = e.Sequence
			}
		}
		r.From = p.From
	}
	list := m.matching(r)
	if r.Mode == NewestOfAll {
		p.From = max(r.From, r.AsOf+1)
		if len(list) > 0 {
			p.From = min(p.From, list[0].Sequence)
		}
	}
	if r.Count {
		p.Count = uint64(len(list))
	}
	p.Next = p.From
	if r.EntriesMax == 0 {
		return p
	}
	end := m.lookedUpTo(r)
	bytes := 0
	for _, e := range list {
		if e.Sequence >= end {
			break
		}
		if n := len(p.Entries); n > 0 && (n == r.EntriesMax || bytes+e.bytes() > r.BytesMax) {
			return p
		}
		if r.NoValues {
			e.Value = nil
		}
		p.Entries = append(p.Entries, e)
		p.Next = e.Sequence + 1
		bytes += e.bytes()
	}
	p.Done = end > m.sequence
	p.Next = max(r.From, end)
	return p
}

// lookedUpTo is the sequence before which a read looks at what there is.
func (m *model) lookedUpTo(r Read) uint64 {
	from := 0
	for from < len(m.live) && m.live[from].Sequence < r.From {
		from++
	}
	if r.Count || m.look == 0 || from+m.look >= len(m.live) {
		return m.sequence + 1
	}
	return m.live[from+m.look].Sequence
}
