package command

// Commands on whole buckets.

import (
	"strings"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

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
	// Incarnation, if not 0, is that of the bucket: one that was made anew under the name is left as it is. From version 3 on, see Of.
	Incarnation uint64
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

func (a *AddBucket) fields(w *wire.Walk) {
	wire.Text(w, 1, &a.Name)
	a.Settings.Field(w, 2)
	wire.Boolean(w, 3, &a.AcceptEqual)
	wire.Boolean(w, 4, &a.Importing)
}

func (r *RemoveBucket) fields(w *wire.Walk) { wire.Text(w, 1, &r.Name) }

func (u *UpdateBucket) fields(w *wire.Walk) {
	wire.Text(w, 1, &u.Name)
	u.Settings.Field(w, 2)
	wire.Number(w, 3, &u.Changed)
}

func (p *PurgeBucket) fields(w *wire.Walk) {
	wire.Text(w, 1, &p.Name)
	wire.Text(w, 2, &p.Filter)
	wire.Number(w, 3, &p.Keep)
	wire.Number(w, 4, &p.Below)
	wire.Text(w, 5, &p.After)
	wire.Number(w, 6, &p.Through)
	wire.Number(w, 7, &p.Incarnation)
}

// Of names the incarnation of the bucket that is meant, where the cluster is open to a version whose commands may.
func (p *PurgeBucket) Of(incarnation, open uint64) {
	if open >= purgeOfOne {
		p.Incarnation = incarnation
	}
}

// purgeOfOne is the version since which a purge may name an incarnation.
const purgeOfOne = 3

func (p *PurgeBucket) version() uint64 {
	if p.Incarnation > 0 {
		return purgeOfOne
	}
	return 0
}

// Lowers reports whether keys may have more entries than they are to keep, in a bucket that has had other settings.
func (u *UpdateBucket) Lowers(old *Settings) bool {
	return max(old.History, 1) > max(u.Settings.History, 1)
}

// Wide reports whether the purge may look at many keys. One of all that there is looks at none.
func (p *PurgeBucket) Wide() bool {
	return p.Below > 0 && p.Filter == "" || p.Through > 0 || strings.ContainsAny(p.Filter, "*>")
}

func (e *Expire) fields(w *wire.Walk) {
	wire.Messages(w, 1, "expire item", &e.Items, func(i *ExpireItem) { i.fields(w) })
}

func (i *ExpireItem) fields(w *wire.Walk) {
	wire.Text(w, 1, &i.Bucket)
	wire.Number(w, 2, &i.Incarnation)
	wire.Number(w, 3, &i.Sequence)
	wire.Text(w, 4, &i.Key)
}
