package store

// How entries expire: by a command that names them, at the log's time. What is named and not over, or not there any more, stays as it
// is, so a leader whose clock is ahead does no harm (F24).

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/wire"
)

func (t *txn) expire(c *command.Expire) (Result, error) {
	var r Result
	for i := range c.Items {
		count, err := t.expireItem(&c.Items[i])
		if err != nil {
			return r, err
		}
		r.Count += count
	}
	return r, nil
}

// expireItem removes an entry that is over. An item without a sequence stands for what a lower history has no place for.
func (t *txn) expireItem(item *command.ExpireItem) (uint64, error) {
	b, err := t.bucket(item.Bucket)
	if err != nil || b == nil || b.record.incarnation != item.Incarnation || b.record.importing {
		return 0, err
	}
	if item.Sequence == 0 {
		if !b.record.trimming {
			return 0, nil
		}
		return t.trim(b)
	}
	k, err := t.key(b, item.Key)
	if err != nil {
		return 0, err
	}
	for which, l := range k.live {
		if l.sequence != item.Sequence {
			continue
		}
		over, err := t.isOver(b, l)
		if err != nil || !over {
			return 0, err
		}
		return 1, t.end(b, item.Key, k, which)
	}
	return 0, nil
}

// isOver reports whether an entry's time is over: its own, or its bucket's, whichever is first.
func (t *txn) isOver(b *bucket, l live) (bool, error) {
	if l.due > 0 && l.due <= t.state.time {
		return true, nil
	}
	ttl := int64(b.record.settings.TTL)
	if ttl <= 0 {
		return false, nil
	}
	written, never, err := t.lifeOf(b, l)
	return !never && t.state.time-written >= ttl, err
}

// end removes an entry that is over. If it was the key's last, and no purge, a marker takes its place where the bucket wants one.
func (t *txn) end(b *bucket, key string, k *keyRecord, which int) error {
	ttl := b.record.markerTTL()
	if ttl <= 0 || len(k.live) > 1 || k.live[which].op == command.Purge {
		return t.remove(b, key, k, which)
	}
	marker := entryRecord{key: key, op: command.Purge, header: markerHeader(ttl), ttl: ttl, time: t.state.time}
	return t.add(b, k, &marker, b.stats.sequence+1, command.RollupKey, "")
}

// keepDue remembers when an entry's own time is over.
func (t *txn) keepDue(b *bucket, l live, key string) {
	if l.due == 0 {
		return
	}
	t.batch.Set(dueKey(b.record.incarnation, l.due, l.sequence), wire.AppendBytes(nil, tagDueKey, key))
	b.stats.due++
	if b.firstDue == 0 || l.due < b.firstDue {
		b.firstDue = l.due
	}
}

// tagDueKey is the key's name, the one field of a record of tableDue.
const tagDueKey = 1<<3 | wire.Bytes

// decodeDue reads when which entry of which key is over.
func decodeDue(key, record []byte) (at int64, sequence uint64, name string, err error) {
	numbers, err := numbersIn(key, 3, false)
	if err != nil {
		return 0, 0, "", err
	}
	err = wire.Each(record, func(f wire.Field) error {
		if f.Tag == tagDueKey {
			name = string(f.Data)
		}
		return nil
	})
	return int64(numbers[1]), numbers[2], name, err
}

const headerTTL = "Nats-TTL"

func markerHeader(ttl time.Duration) []byte {
	return fmt.Appendf(nil, "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n%s: %s\r\nNats-Rollup: sub\r\n\r\n", headerTTL, ttl)
}

// withTTL is a block of headers that says another TTL, if it says one: as a NATS server has it, in whole seconds and at the end.
func withTTL(header []byte, ttl time.Duration) []byte {
	crlf := []byte("\r\n")
	var kept []byte
	found := false
	for line := range bytes.SplitAfterSeq(bytes.TrimSuffix(header, crlf), crlf) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && string(name) == headerTTL {
			found = true
			continue
		}
		kept = append(kept, line...)
	}
	if !found {
		return header
	}
	kept = append(kept, headerTTL+": "...)
	kept = strconv.AppendInt(kept, int64(ttl/time.Second), 10)
	return append(kept, "\r\n\r\n"...)
}
