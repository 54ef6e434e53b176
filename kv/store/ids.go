package store

// Message ids: a write whose id was written within its bucket's window, by the log's time, is answered as then and not done again
// (C4). Ids are kept twice: by id, to be found, and by sequence, which is the order of time, to be forgotten.

import (
	"math"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// idRecord is what an id was answered.
type idRecord struct {
	sequence uint64 // 0: the id is not there
	revision uint64
	time     int64
}

// ids are the ids that a txn has read or changed in a bucket.
type ids struct {
	byID  map[string]idRecord
	added []idOrder           // in order of sequence
	gone  map[uint64]struct{} // sequences whose id was forgotten, or given to a later one
}

// idOrder is an id in the order of time.
type idOrder struct {
	sequence uint64
	id       string
	time     int64
}

const (
	// idsForgottenMax bounds how many ids one write forgets.
	idsForgottenMax = 64
	// idSlack lets ids outlive the window by a part of it, so that they are forgotten many at a time.
	idSlack = 16
)

// Answered is what a write of the message id that was done in a bucket would be answered: that it was done, Again, as then. Without one it is empty. The
// error is NoBucket, ErrClosed, or one of the disk.
func (s *Store) Answered(bucket, id string) (then Result, err error) {
	err = s.viewBucket(bucket, func(v *bucketView) error {
		data, err := v.r.Get(idKey(v.record.incarnation, id))
		if err != nil {
			return err
		}
		known, err := decodeID(data)
		if known.holds(v.bucket, v.time) {
			then = known.answer()
		}
		return err
	})
	return then, err
}

// answer is what a write of the id is answered that was done.
func (r idRecord) answer() Result {
	return Result{Again: true, Sequence: r.sequence, Revision: r.revision}
}

// holds reports whether an id is there, and its bucket's window not over at a time of the log.
func (r idRecord) holds(b *bucket, now int64) bool {
	return r.sequence != 0 && r.time > max(now-int64(b.record.settings.Window()), b.record.idsSince)
}

// duplicate finds what a message id was answered; false if it is new, or its window is over.
func (t *txn) duplicate(b *bucket, id string) (Result, bool, error) {
	known, err := t.idRecord(b, id)
	if err != nil || !known.holds(b, t.state.time) {
		return Result{}, false, err
	}
	return known.answer(), true, nil
}

func (t *txn) idRecord(b *bucket, id string) (idRecord, error) {
	if known, read := b.ids.byID[id]; read || b.stats.ids == 0 {
		return known, nil
	}
	data, err := t.db.Get(idKey(b.record.incarnation, id))
	if err != nil {
		return idRecord{}, err
	}
	known, err := decodeID(data)
	if err == nil {
		b.ids.set(id, known)
	}
	return known, err
}

func (i *ids) set(id string, r idRecord) {
	if i.byID == nil {
		i.byID, i.gone = map[string]idRecord{}, map[uint64]struct{}{}
	}
	i.byID[id] = r
}

// keepID remembers the message id of the entry just added, if it has one, and forgets those whose time is long over.
func (t *txn) keepID(b *bucket, id string) error {
	if id != "" {
		if err := t.setID(b, id); err != nil {
			return err
		}
	}
	if b.stats.ids == 0 || t.state.time-b.stats.idsOldest < b.idLife() {
		return nil
	}
	return t.forgetIDs(b)
}

func (b *bucket) idLife() int64 {
	window := int64(b.record.settings.Window())
	return window + min(window/idSlack, math.MaxInt64-window) // a client may give the longest window that there is
}

func (t *txn) setID(b *bucket, id string) error {
	before, err := t.idRecord(b, id)
	if err != nil {
		return err
	}
	if before.sequence > 0 {
		t.batch.Delete(idOrderKey(b.record.incarnation, before.sequence))
		b.ids.gone[before.sequence] = struct{}{}
		b.stats.ids--
	}
	if b.stats.ids == 0 {
		b.stats.idsFrom, b.stats.idsOldest = b.stats.sequence, t.state.time
	}
	b.stats.ids++
	r := idRecord{sequence: b.stats.sequence, revision: t.state.revision, time: t.state.time}
	o := idOrder{sequence: r.sequence, id: id, time: r.time}
	b.ids.set(id, r)
	b.ids.added = append(b.ids.added, o)
	t.batch.Set(idKey(b.record.incarnation, id), r.encode())
	t.batch.Set(idOrderKey(b.record.incarnation, r.sequence), o.encode())
	return nil
}

// forgetIDs forgets the next ids whose window is over. What it does follows from the ids that are there, wherever they are.
func (t *txn) forgetIDs(b *bucket) error {
	oldest, err := t.oldestIDs(b)
	if err != nil {
		return err
	}
	window := int64(b.record.settings.Window())
	for _, o := range oldest {
		b.stats.idsFrom, b.stats.idsOldest = o.sequence, o.time
		if t.state.time-o.time < window {
			return nil
		}
		t.batch.Delete(idKey(b.record.incarnation, o.id))
		t.batch.Delete(idOrderKey(b.record.incarnation, o.sequence))
		b.ids.set(o.id, idRecord{})
		b.ids.gone[o.sequence] = struct{}{}
		b.stats.ids--
	}
	if b.stats.ids == 0 {
		b.stats.idsFrom, b.stats.idsOldest = 0, 0
	}
	return nil
}

// oldestIDs are the next ids in order of time: first those in the database, which this batch's are all after.
func (t *txn) oldestIDs(b *bucket) ([]idOrder, error) {
	list := make([]idOrder, 0, idsForgottenMax)
	end := prefixEnd(numbered(tableIDOrder, b.record.incarnation))
	err := t.db.Scan(idOrderKey(b.record.incarnation, b.stats.idsFrom), end, func(key, value []byte) (bool, error) {
		o, err := decodeIDOrder(key, value)
		if _, gone := b.ids.gone[o.sequence]; gone || err != nil {
			return true, err
		}
		list = append(list, o)
		return len(list) < idsForgottenMax, nil
	})
	for _, o := range b.ids.added {
		if _, gone := b.ids.gone[o.sequence]; !gone && len(list) < idsForgottenMax {
			list = append(list, o)
		}
	}
	return list, err
}

func (r *idRecord) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	r.fields(&w)
	return w.Bytes()
}

func decodeID(b []byte) (r idRecord, err error) {
	w := wire.Read(b)
	for w.Next() {
		r.fields(&w)
	}
	return r, w.Err
}

func (r *idRecord) fields(w *wire.Walk) {
	wire.Number(w, 1, &r.sequence)
	wire.Number(w, 2, &r.revision)
	wire.Number(w, 3, &r.time)
}

func (o *idOrder) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	o.fields(&w)
	return w.Bytes()
}

func decodeIDOrder(key, record []byte) (idOrder, error) {
	numbers, err := numbersIn(key, 2, false)
	if err != nil {
		return idOrder{}, err
	}
	o, w := idOrder{sequence: numbers[1]}, wire.Read(record)
	for w.Next() {
		o.fields(&w)
	}
	return o, w.Err
}

func (o *idOrder) fields(w *wire.Walk) {
	wire.Text(w, 1, &o.id)
	wire.Number(w, 2, &o.time)
}
