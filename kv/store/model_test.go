package store

// The model that the conformance suite holds the store to (machine_test.go): maps, and nothing kept that can be counted.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/raft/rpc"
)

type modelEntry struct {
	sequence, revision uint64
	op                 command.Op
	value, header      string
	time               int64
	ttl                time.Duration
}

type modelID struct {
	sequence, revision uint64
	time               int64
}

type modelBucket struct {
	name                           string
	incarnation, sequence, changed uint64
	created, lastTime              int64
	lastID                         string
	settings                       command.Settings
	importing                      bool
	keys                           map[string][]modelEntry
	ids                            map[string]modelID
	consumers                      map[string]Consumer
}

type model struct {
	index    rpc.Index
	time     int64
	revision uint64
	version  uint64 // that it was raised to
	buckets  map[string]*modelBucket
}

func (b *modelBucket) bytes() (sum uint64) {
	for key, entries := range b.keys {
		for _, e := range entries {
			sum += uint64(len(key) + len(e.value) + len(e.header) + 40)
		}
	}
	return sum
}

// over reports whether an entry's time is over: its own, or the bucket's.
func (b *modelBucket) over(e modelEntry, now int64) bool {
	switch age := time.Duration(now - e.time); {
	case e.ttl > 0 && age >= e.ttl:
		return true
	case e.ttl == command.Never || b.settings.TTL == 0:
		return false
	default:
		return age >= b.settings.TTL
	}
}

func (m *model) apply(c command.Command, index rpc.Index, at int64) Result {
	m.index, m.time = index, max(m.time, at)
	switch {
	case c.AddBucket != nil:
		return m.addBucket(c.AddBucket)
	case c.RemoveBucket != nil:
		if m.buckets[c.RemoveBucket.Name] == nil {
			return Result{Code: NoBucket}
		}
		m.revision++
		delete(m.buckets, c.RemoveBucket.Name)
		return Result{Revision: m.revision}
	case c.UpdateBucket != nil:
		return m.updateBucket(c.UpdateBucket)
	case c.PurgeBucket != nil:
		return m.purge(c.PurgeBucket)
	case c.Expire != nil:
		return m.expire(c.Expire)
	case c.AddConsumer != nil:
		return m.addConsumer(c.AddConsumer)
	case c.MoveConsumers != nil:
		return m.moveConsumers(c.MoveConsumers)
	case c.RemoveConsumer != nil:
		return m.removeConsumer(c.RemoveConsumer)
	case c.Import != nil:
		return m.imported(c.Import)
	case c.Raise != nil:
		m.version = c.Raise.Version
		return Result{Revision: m.revision}
	}
	return m.write(c.Write)
}

func (m *model) addBucket(c *command.AddBucket) Result {
	if b := m.buckets[c.Name]; b != nil {
		switch {
		case b.importing && !c.Importing:
			return Result{Code: Importing}
		case b.importing == c.Importing && (c.AcceptEqual || c.Importing) && b.settings.Equal(&c.Settings):
			return Result{Again: true, Sequence: b.sequence, Revision: b.incarnation}
		}
		return Result{Code: BucketExists}
	}
	m.revision++
	m.buckets[c.Name] = &modelBucket{
		name: c.Name, incarnation: m.revision, changed: m.revision, created: m.time, settings: c.Settings, importing: c.Importing,
		keys: map[string][]modelEntry{}, ids: map[string]modelID{}, consumers: map[string]Consumer{},
	}
	return Result{Revision: m.revision}
}

func (m *model) updateBucket(c *command.UpdateBucket) Result {
	b := m.buckets[c.Name]
	if b == nil {
		return Result{Code: NoBucket}
	}
	if b.importing {
		return Result{Code: Importing}
	}
	if c.Changed != 0 && c.Changed != b.changed {
		return Result{Code: SettingsChanged, Current: b.changed}
	}
	m.revision++
	maps.DeleteFunc(b.ids, func(_ string, id modelID) bool { return time.Duration(m.time-id.time) >= b.settings.Window() })
	b.settings, b.changed = c.Settings, m.revision
	for key := range b.keys {
		b.trim(key)
	}
	return Result{Revision: m.revision}
}

func (b *modelBucket) trim(key string) {
	for len(b.keys[key]) > int(max(b.settings.History, 1)) {
		b.drop(key, 0)
	}
}

func (b *modelBucket) drop(key string, which int) {
	entries := b.keys[key]
	if e := entries[which]; e.sequence == b.sequence {
		b.lastTime = e.time
	}
	if b.keys[key] = slices.Delete(slices.Clone(entries), which, which+1); len(entries) == 1 {
		delete(b.keys, key)
	}
}

func (m *model) purge(c *command.PurgeBucket) (r Result) {
	b := m.buckets[c.Name]
	if b == nil {
		return Result{Code: NoBucket}
	}
	if b.importing {
		return Result{Code: Importing}
	}
	match := func(string) bool { return true }
	if c.Filter != "" {
		f, err := subject.Parse(c.Filter)
		if err != nil {
			return Result{Code: BadFilter}
		}
		match = f.Match
	}
	if c.Keep > 0 && (c.Filter == "" || strings.ContainsAny(c.Filter, "*>")) {
		return Result{Code: BadFilter}
	}
	for key, entries := range b.keys {
		if !match(key) {
			continue
		}
		for _, e := range entries {
			if c.Below > 0 && e.sequence >= c.Below || len(b.keys[key]) <= int(c.Keep) {
				break
			}
			b.drop(key, 0)
			r.Count++
		}
	}
	return r
}

func (m *model) expire(c *command.Expire) (r Result) {
	for _, item := range c.Items {
		b := m.buckets[item.Bucket]
		if b == nil || b.incarnation != item.Incarnation || b.importing {
			continue
		}
		which := slices.IndexFunc(b.keys[item.Key], func(e modelEntry) bool { return e.sequence == item.Sequence })
		if which < 0 || !b.over(b.keys[item.Key][which], m.time) {
			continue
		}
		r.Count++
		ttl := b.settings.MarkerTTL.Truncate(time.Second)
		if e := b.keys[item.Key][which]; ttl == 0 || len(b.keys[item.Key]) > 1 || e.op == command.Purge {
			b.drop(item.Key, which)
			continue
		}
		b.drop(item.Key, which)
		text := fmt.Sprintf("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: %v\r\nNats-Rollup: sub\r\n\r\n", ttl)
		m.add(b, item.Key, modelEntry{op: command.Purge, header: text, ttl: ttl, sequence: b.sequence + 1, time: m.time}, "")
	}
	return r
}

func (m *model) add(b *modelBucket, key string, e modelEntry, id string) {
	m.revision++
	b.sequence, e.revision = e.sequence, m.revision
	b.keys[key] = append(slices.Clone(b.keys[key]), e)
	b.trim(key)
	b.lastID, b.lastTime = id, e.time
	if id != "" {
		b.ids[id] = modelID{e.sequence, e.revision, e.time}
	}
}

func (m *model) write(w *command.Write) Result {
	b := m.buckets[w.Bucket]
	if b == nil {
		return Result{Code: NoBucket}
	}
	if b.importing {
		return Result{Code: Importing}
	}
	if id, known := b.ids[w.MsgID]; known && time.Duration(m.time-id.time) < b.settings.Window() {
		return Result{Again: true, Sequence: id.sequence, Revision: id.revision}
	}
	var newest modelEntry
	entries := b.keys[w.Key]
	if len(entries) > 0 {
		newest = entries[len(entries)-1]
	}
	hasValue := len(entries) > 0 && newest.op == command.Put
	switch {
	case b.settings.MaxValueSize > 0 && len(w.Value) > int(b.settings.MaxValueSize):
		return Result{Code: ValueTooLarge, Limit: b.settings.MaxValueSize}
	case b.settings.MaxMessageSize > 0 && len(w.Header)+len(w.Value) > int(b.settings.MaxMessageSize):
		return Result{Code: MessageTooLarge, Limit: b.settings.MaxMessageSize}
	case w.TTL != 0 && !b.settings.AllowTTL:
		return Result{Code: TTLDisabled}
	case w.Condition == command.IfAbsent && hasValue:
		return Result{Code: KeyExists, Current: newest.sequence}
	case w.Condition == command.IfPresent && !hasValue:
		return Result{Code: KeyNotFound}
	case w.Condition == command.IfSequence && newest.sequence != w.Sequence:
		return Result{Code: WrongRevision, Current: newest.sequence}
	case w.LastSequence != nil && *w.LastSequence != b.sequence:
		return Result{Code: WrongLastSequence, Current: b.sequence}
	case w.LastMsgID != "" && w.LastMsgID != b.lastID:
		return Result{Code: WrongLastID, MsgID: b.lastID}
	}
	e := modelEntry{op: w.Op, value: string(w.Value), header: string(w.Header), ttl: w.TTL, sequence: b.sequence + 1, time: m.time}
	if least := b.settings.MarkerTTL; b.settings.History > 1 && e.ttl > 0 && e.ttl < least {
		e.ttl = least
		e.header = strings.Replace(e.header, "Nats-TTL: x\r\n", fmt.Sprintf("Nats-TTL: %d\r\n", least/time.Second), 1)
	}
	before, after := *m, *b
	after.keys = maps.Clone(b.keys)
	after.ids = maps.Clone(b.ids)
	switch w.Rollup {
	case command.RollupKey:
		delete(after.keys, w.Key)
	case command.RollupBucket:
		clear(after.keys)
	}
	m.add(&after, w.Key, e, w.MsgID)
	headerMax, most := 0, b.settings.MaxBytes
	if m.version >= 3 {
		headerMax, most = 256, max(most, b.bytes())
	}
	mark := w.Op != command.Put && len(w.Header) <= headerMax && len(w.Value) == 0 && entries != nil
	if b.settings.MaxBytes > 0 && !mark && after.bytes() > most {
		*m = before
		return Result{Code: BucketFull, Limit: b.settings.MaxBytes}
	}
	*b = after
	return Result{Sequence: b.sequence, Revision: m.revision}
}

func (m *model) imported(c *command.Import) Result {
	b := m.buckets[c.Bucket]
	switch {
	case b == nil:
		return Result{Code: NoBucket}
	case !b.importing:
		return Result{Code: NotImporting, Current: b.sequence}
	case c.After != b.sequence:
		return Result{Code: WrongLastSequence, Current: b.sequence}
	}
	at := b.sequence
	for _, e := range c.Entries {
		if e.Sequence <= at {
			return Result{Code: BadImport}
		}
		at = e.Sequence
	}
	for _, e := range c.Entries {
		switch e.Rollup {
		case command.RollupKey:
			delete(b.keys, e.Key)
		case command.RollupBucket:
			if len(b.keys) > 0 {
				b.lastTime = 0
			}
			clear(b.keys)
		}
		m.add(b, e.Key, modelEntry{op: e.Op, value: string(e.Value), header: string(e.Header), ttl: e.TTL, sequence: e.Sequence, time: min(max(e.Time, b.lastTime), m.time)}, "")
	}
	if c.Last > b.sequence {
		b.sequence, b.lastTime = c.Last, max(1, min(max(c.LastTime, b.lastTime), m.time))
	}
	if c.Done {
		m.revision++
		b.importing, b.changed = false, m.revision
	}
	return Result{Sequence: b.sequence, Revision: m.revision}
}

func (m *model) addConsumer(c *command.AddConsumer) Result {
	b := m.buckets[c.Bucket]
	if b == nil {
		return Result{Code: NoBucket}
	}
	old, known := b.consumers[c.Name]
	switch equal := string(old.Config) == string(c.Config) && old.Deliver == c.Deliver; {
	case !known && c.Mode == command.UpdateOnly:
		return Result{Code: NoConsumer}
	case !known:
		b.consumers[c.Name] = Consumer{
			Bucket: c.Bucket, Incarnation: b.incarnation, Name: c.Name, Config: c.Config, Deliver: c.Deliver, Host: c.Host, Boot: c.Boot,
			Generation: 1, Added: m.index, Changed: m.index, Created: m.time, Start: b.sequence,
			Answer: c.Answer,
		}
		return Result{Sequence: b.sequence}
	case c.Mode == command.AddOnly && !equal:
		return Result{Code: ConsumerExists}
	case c.Mode != command.AddOnly:
		old.Config, old.Deliver, old.Answer, old.Changed = c.Config, c.Deliver, c.Answer, m.index
		if m.version >= 3 {
			old.ChangedAt = m.time
		}
		b.consumers[c.Name] = old
	}
	return Result{Again: true, Sequence: old.Start}
}

func (m *model) moveConsumers(c *command.MoveConsumers) (r Result) {
	for _, move := range c.Moves {
		b := m.buckets[move.Bucket]
		if b == nil {
			continue
		}
		if old, known := b.consumers[move.Name]; known && old.Added == move.Added && old.Generation == move.Generation {
			old.Host, old.Boot, old.Generation = move.Host, move.Boot, old.Generation+1
			old.Moved, old.MovedAt = b.sequence, m.time
			b.consumers[move.Name] = old
			r.Count++
		}
	}
	return r
}

func (m *model) removeConsumer(c *command.RemoveConsumer) Result {
	b := m.buckets[c.Bucket]
	if b == nil {
		return Result{Code: NoBucket}
	}
	old, known := b.consumers[c.Name]
	if !known || c.Added != 0 && c.Added != old.Added || c.Changed != 0 && c.Changed != old.Changed {
		return Result{Code: NoConsumer}
	}
	delete(b.consumers, c.Name)
	return Result{}
}

// all are a bucket's entries in order of sequence.
func (b *modelBucket) all() []Entry {
	list := []Entry{}
	for key, entries := range b.keys {
		for _, e := range entries {
			list = append(list, e.entry(key))
		}
	}
	slices.SortFunc(list, func(x, y Entry) int { return int(x.Sequence) - int(y.Sequence) })
	return list
}

func (e modelEntry) entry(key string) Entry {
	entry := Entry{Key: key, Op: e.op, Value: []byte(e.value), Sequence: e.sequence, Revision: e.revision, Time: e.time, TTL: e.ttl}
	if e.header != "" {
		entry.Header = []byte(e.header)
	}
	return entry
}

// requireSame compares all that can be read of a store with the model.
func (m *model) requireSame(t require.TestingT, s *Store) {
	page, err := s.Buckets("", "", 1000)
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(m.buckets)), slices.Sorted(slices.Values(page.Names)))
	var consumers []Consumer
	at, err := s.EachConsumer(func(c Consumer) bool { consumers = append(consumers, c); return true })
	require.NoError(t, err)
	require.Equal(t, s.Applied().Index, at)
	for name, b := range m.buckets {
		b.requireSame(t, s, name)
		b.requireReadsBySequence(t, s, name)
		for _, c := range b.consumers {
			require.Contains(t, consumers, c)
			got, err := s.Consumer(name, c.Name)
			require.NoError(t, err)
			require.Equal(t, c, got)
			consumers = slices.DeleteFunc(consumers, func(x Consumer) bool { return x.Name == c.Name && x.Bucket == name })
		}
	}
	require.Empty(t, consumers)
	m.requireDue(t, s, m.time)
	m.requireDue(t, s, m.time+int64(2*time.Second))
}

func (b *modelBucket) requireSame(t require.TestingT, s *Store, name string) {
	want := BucketInfo{
		Name: name, Settings: b.settings, Created: b.created, Incarnation: b.incarnation, Changed: b.changed,
		Sequence: b.sequence, Bytes: b.bytes(), Consumers: uint64(len(b.consumers)), Importing: b.importing,
	}
	var present []string
	for key, entries := range b.keys {
		want.Entries += uint64(len(entries))
		e := entries[len(entries)-1]
		last, err := s.Last(name, key)
		require.NoError(t, err)
		require.Equal(t, e.entry(key), last)
		got, err := s.Get(name, key)
		if e.op != command.Put {
			want.Deleted++
			require.ErrorIs(t, err, KeyNotFound)
			continue
		}
		want.Keys++
		present = append(present, key)
		require.NoError(t, err)
		require.Equal(t, e.entry(key), got)
	}
	info, err := s.Bucket(name)
	require.NoError(t, err)
	require.Equal(t, want, info)
	slices.Sort(present)
	page, err := s.Keys(name, "", "", 1000)
	require.NoError(t, err)
	require.Equal(t, present, page.Names)
	require.False(t, page.More)
}

func (b *modelBucket) requireReadsBySequence(t require.TestingT, s *Store, name string) {
	at, all := s.Applied().Index, b.all()
	state, err := s.State(name)
	require.NoError(t, err)
	want := State{At: at, BucketInfo: state.BucketInfo}
	if b.sequence > 0 {
		want.First = b.sequence + 1
	}
	if len(all) > 0 {
		want.First, want.FirstTime, want.LastTime = all[0].Sequence, all[0].Time, b.lastTime
		want.Gaps = b.sequence + 1 - want.First - uint64(len(all))
	}
	require.Equal(t, want, state)
	for _, p := range []string{">", "k.*", "*", "k", "none"} {
		filter, err := subject.Parse(p)
		require.NoError(t, err)
		from := b.sequence / 2
		matching := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return e.Sequence < from || !filter.Match(e.Key) })
		page, err := s.Page(Query{Bucket: name, From: from, Filter: filter, Max: 1000, MaxBytes: 1 << 20})
		require.NoError(t, err)
		require.Equal(t, append([]Entry(nil), matching...), page.Entries)
		require.Equal(t, EntryPage{Entries: page.Entries, Sizes: page.Sizes, From: from, Next: b.sequence + 1, Done: true, Last: b.sequence, At: at}, page)
	}
}

// requireDue checks that all that is over at a time is found, and nothing else, and that nobody is told to look too late.
func (m *model) requireDue(t require.TestingT, s *Store, now int64) {
	var want []command.ExpireItem
	soonest := int64(never)
	for name, b := range m.buckets {
		if b.importing {
			continue
		}
		for key, entries := range b.keys {
			for _, e := range entries {
				if e.ttl > 0 && e.ttl < 1<<62 {
					soonest = min(soonest, e.time+int64(e.ttl))
				}
				if e.ttl != command.Never && b.settings.TTL > 0 && b.settings.TTL < 1<<62 {
					soonest = min(soonest, e.time+int64(b.settings.TTL))
				}
				if b.over(e, now) {
					want = append(want, command.ExpireItem{Bucket: name, Incarnation: b.incarnation, Sequence: e.sequence, Key: key})
				}
			}
		}
	}
	next, any, err := s.NextDue()
	require.NoError(t, err)
	require.Equal(t, any, next != never)
	require.LessOrEqual(t, next, soonest)
	items, err := s.Due(now, 1000)
	require.NoError(t, err)
	require.ElementsMatch(t, want, items)
	next, _, err = s.NextDue()
	require.NoError(t, err)
	require.Equal(t, len(want) > 0, next <= now, "asked again for nothing")
}
