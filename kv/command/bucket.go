package command

// Commands on whole buckets.

import "github.com/raftbus/raftbus/kv/internal/wire"

// AddBucket makes a bucket, unless one of that name exists.
type AddBucket struct {
	Name     string
	Settings Settings
	// AcceptEqual takes a bucket that exists with equal settings for one that was just made.
	AcceptEqual bool
	// Importing makes a bucket that takes entries by Import only, until one ends that. One that exists and is being imported, with equal
	// settings, was made by the same command before.
	Importing bool
}

// RemoveBucket removes a bucket and all its entries.
type RemoveBucket struct {
	Name string
}

// UpdateBucket gives a bucket other settings.
type UpdateBucket struct {
	Name     string
	Settings Settings
	// Changed is when, as BucketInfo.Changed of package store, the settings had last changed that the new ones were made from:
	// if they have changed since, the update is refused. 0 asks nothing.
	Changed uint64
}

// PurgeBucket removes entries without a trace. One command does a bounded part; its result says where the next goes on.
type PurgeBucket struct {
	Name string
	// Filter is a subject pattern that the keys must match; "" is all.
	Filter string
	// Keep is how many of a key's newest entries stay. The filter must then be one key.
	Keep uint64
	// Below, if not 0, has only entries go whose sequence is lower.
	Below uint64
	// After and Through go on with a purge that an earlier command has begun: with the keys after one, and with entries up to a
	// sequence.
	After   string
	Through uint64
}

// Expire removes entries whose time is over, by the log's time.
type Expire struct {
	Items []ExpireItem
}

// ExpireItem names an entry that is thought to be over.
type ExpireItem struct {
	Bucket      string
	Incarnation uint64
	Sequence    uint64
	Key         string
}

const (
	tagName        = 1<<3 | wire.Bytes
	tagSettings    = 2<<3 | wire.Bytes
	tagAcceptEqual = 3<<3 | wire.Varint
	tagImporting   = 4<<3 | wire.Varint
	tagChanged     = 3<<3 | wire.Varint

	tagFilter  = 2<<3 | wire.Bytes
	tagKeep    = 3<<3 | wire.Varint
	tagBelow   = 4<<3 | wire.Varint
	tagAfter   = 5<<3 | wire.Bytes
	tagThrough = 6<<3 | wire.Varint

	tagItem            = 1<<3 | wire.Bytes
	tagItemBucket      = 1<<3 | wire.Bytes
	tagItemIncarnation = 2<<3 | wire.Varint
	tagItemSequence    = 3<<3 | wire.Varint
	tagItemKey         = 4<<3 | wire.Bytes
)

func (a *AddBucket) encode() []byte {
	b := wire.AppendBytes(nil, tagName, a.Name)
	b = wire.AppendBytes(b, tagSettings, a.Settings.Append(nil))
	b = wire.AppendBool(b, tagAcceptEqual, a.AcceptEqual)
	return wire.AppendBool(b, tagImporting, a.Importing)
}

func decodeAddBucket(data []byte) (*AddBucket, error) {
	var a AddBucket
	err := wire.Each(data, func(f wire.Field) (err error) {
		switch f.Tag {
		case tagName:
			a.Name = string(f.Data)
		case tagSettings:
			a.Settings, err = DecodeSettings(f.Data)
		case tagAcceptEqual:
			a.AcceptEqual = f.Uint != 0
		case tagImporting:
			a.Importing = f.Uint != 0
		default:
			err = unknownField("add_bucket", f.Tag)
		}
		return err
	})
	return &a, err
}

func (r *RemoveBucket) encode() []byte { return wire.AppendBytes(nil, tagName, r.Name) }

func decodeRemoveBucket(data []byte) (*RemoveBucket, error) {
	var r RemoveBucket
	err := wire.Each(data, func(f wire.Field) error {
		if f.Tag != tagName {
			return unknownField("remove_bucket", f.Tag)
		}
		r.Name = string(f.Data)
		return nil
	})
	return &r, err
}

func (u *UpdateBucket) encode() []byte {
	b := wire.AppendBytes(nil, tagName, u.Name)
	b = wire.AppendBytes(b, tagSettings, u.Settings.Append(nil))
	return wire.AppendUint(b, tagChanged, u.Changed)
}

func decodeUpdateBucket(data []byte) (*UpdateBucket, error) {
	var u UpdateBucket
	err := wire.Each(data, func(f wire.Field) (err error) {
		switch f.Tag {
		case tagName:
			u.Name = string(f.Data)
		case tagSettings:
			u.Settings, err = DecodeSettings(f.Data)
		case tagChanged:
			u.Changed = f.Uint
		default:
			err = unknownField("update_bucket", f.Tag)
		}
		return err
	})
	return &u, err
}

func (p *PurgeBucket) encode() []byte {
	b := wire.AppendBytes(nil, tagName, p.Name)
	b = wire.AppendBytes(b, tagFilter, p.Filter)
	b = wire.AppendUint(b, tagKeep, p.Keep)
	b = wire.AppendUint(b, tagBelow, p.Below)
	b = wire.AppendBytes(b, tagAfter, p.After)
	return wire.AppendUint(b, tagThrough, p.Through)
}

func decodePurgeBucket(data []byte) (*PurgeBucket, error) {
	var p PurgeBucket
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagName:
			p.Name = string(f.Data)
		case tagFilter:
			p.Filter = string(f.Data)
		case tagKeep:
			p.Keep = f.Uint
		case tagBelow:
			p.Below = f.Uint
		case tagAfter:
			p.After = string(f.Data)
		case tagThrough:
			p.Through = f.Uint
		default:
			return unknownField("purge_bucket", f.Tag)
		}
		return nil
	})
	return &p, err
}

func (e *Expire) encode() []byte {
	var b, one []byte
	for i := range e.Items {
		item := &e.Items[i]
		one = wire.AppendBytes(one[:0], tagItemBucket, item.Bucket)
		one = wire.AppendUint(one, tagItemIncarnation, item.Incarnation)
		one = wire.AppendUint(one, tagItemSequence, item.Sequence)
		one = wire.AppendBytes(one, tagItemKey, item.Key)
		b = wire.AppendMessage(b, tagItem, one)
	}
	return b
}

func decodeExpire(data []byte) (*Expire, error) {
	var e Expire
	err := wire.Each(data, func(f wire.Field) error {
		if f.Tag != tagItem {
			return unknownField("expire", f.Tag)
		}
		item, err := decodeExpireItem(f.Data)
		e.Items = append(e.Items, item)
		return err
	})
	return &e, err
}

func decodeExpireItem(data []byte) (ExpireItem, error) {
	var item ExpireItem
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagItemBucket:
			item.Bucket = string(f.Data)
		case tagItemIncarnation:
			item.Incarnation = f.Uint
		case tagItemSequence:
			item.Sequence = f.Uint
		case tagItemKey:
			item.Key = string(f.Data)
		default:
			return unknownField("expire item", f.Tag)
		}
		return nil
	})
	return item, err
}
