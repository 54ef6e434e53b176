// Package importer copies a bucket of a JetStream into a raftbus bucket: its settings and all entries that are kept, with their revisions,
// headers, times and markers. It reads by NATS's own client, and writes and compares by the native subjects bucket.import_*; what may
// be copied, and what the copy is, is decided there.
package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv/command"
)

// Options say what is copied from where to where.
type Options struct {
	From   *nats.Conn
	Domain string // of the JetStream; empty: none
	Bucket string

	Into   *nats.Conn
	Prefix string // of raftbus
	Name   string // of the bucket there

	// KeepOpen leaves the import open, so that it can be gone on with.
	KeepOpen bool
	// Patience is how long raftbus may have no leader, or the JetStream nothing to say.
	Patience time.Duration
	Progress func(Progress) // nil: nobody looks
}

// Progress is how far a copy is.
type Progress struct {
	Checking    bool   // else copying
	Done, Total uint64 // entries; Total is an estimate
	Bytes       uint64
}

// Summary is what an import has done.
type Summary struct {
	Bucket   string  `json:"bucket"`
	From     string  `json:"from"`
	Copied   uint64  `json:"copied"`   // entries, this time
	Entries  uint64  `json:"entries"`  // compared, one by one
	Bytes    uint64  `json:"bytes"`    // of their keys, headers and values
	Revision uint64  `json:"revision"` // that the bucket has reached
	SHA256   string  `json:"sha256"`   // over the sums of all entries, in order of revision
	Expired  uint64  `json:"expired"`  // entries that the JetStream has not any more since they were copied
	Resumed  bool    `json:"resumed"`
	Open     bool    `json:"open"` // it can be gone on with; until it is ended, the bucket can only be read
	Seconds  float64 `json:"seconds"`
}

var (
	// ErrNoBucket: the JetStream has no such bucket.
	ErrNoBucket = errors.New("no such bucket")
	// ErrNoJetStream: nobody answers where the bucket should be.
	ErrNoJetStream = errors.New("no JetStream answers")
	// ErrTooLarge: raftbus' bus does not carry an entry.
	ErrTooLarge = errors.New("too large")
	// ErrDiffers: what raftbus has is not what the JetStream has.
	ErrDiffers = errors.New("the copy differs")
)

// roundsMax is how often what was written meanwhile is copied too.
const roundsMax = 5

// Run copies a bucket, compares the copy, and ends the import. An import that was broken off is gone on with.
func Run(ctx context.Context, o Options) (Summary, error) {
	began := time.Now()
	into, from := askers(o)
	c := &copying{
		options: o, from: source{conn: o.From, asker: from, domain: o.Domain, bucket: o.Bucket, patience: o.Patience},
		into: Target{Conn: o.Into, Asker: into, Prefix: o.Prefix, Bucket: o.Name, Patience: o.Patience},
		sum:  Summary{Bucket: o.Name, From: "KV_" + o.Bucket, Open: true},
	}
	err := c.run(ctx)
	c.sum.Seconds = time.Since(began).Seconds()
	return c.sum, err
}

// askers ask over the two connections; a connection has one, since it takes its error handler.
func askers(o Options) (into, from *native.Asker) {
	into = native.NewAsker(o.Into)
	if o.From == o.Into {
		return into, into
	}
	return into, native.NewAsker(o.From)
}

type copying struct {
	options Options
	from    source
	into    Target
	sum     Summary
	reached uint64 // the revision that the copy has reached
}

func (c *copying) run(ctx context.Context) error {
	if c.from.is(ctx, c.options.Prefix) && same(&c.into, c.options.From) {
		return fmt.Errorf("%w on %s>, but raftbus itself: name the JetStream's domain with --from-domain, its NATS with --from-nats", ErrNoJetStream, c.from.apiPrefix())
	}
	info, err := c.from.info(ctx)
	if err != nil {
		return err
	}
	c.from.allowTTL = info.limits.AllowTTL // as the copy's settings say, should it change
	begun, err := c.into.Begin(ctx, info.Config)
	if err != nil {
		return err
	}
	c.reached, c.sum.Resumed = begun.Revision, begun.Again
	if err := c.follow(ctx, info); err != nil {
		return err
	}
	c.sum.Revision = c.reached
	if c.options.KeepOpen {
		return nil
	}
	if err := c.into.End(ctx, c.reached); err != nil {
		return err
	}
	c.sum.Open = false
	return nil
}

// follow copies and compares until nothing is left to copy and nothing differs.
func (c *copying) follow(ctx context.Context, info *streamInfo) error {
	for round := 1; ; round++ {
		if err := c.copyRest(ctx, info); err != nil {
			return err
		}
		difference, err := c.compare(ctx, info)
		if err != nil {
			return err
		}
		if info, err = c.from.info(ctx); err != nil {
			return err
		}
		switch {
		case difference == "" && info.State.LastSeq == c.reached:
			return nil
		case round == roundsMax && difference != "":
			return fmt.Errorf("%w: %s: if clients still write to or purge KV_%s, stop them; remove bucket %s of raftbus and import it again",
				ErrDiffers, difference, c.options.Bucket, c.options.Name)
		case round == roundsMax:
			return fmt.Errorf("KV_%s is written to faster than it can be compared: stop its writers, and import it again to go on", c.options.Bucket)
		}
	}
}

// Bounds of one request.
const (
	batchEntriesMax = 500
	batchBytesMax   = 256 << 10
)

// copyRest copies what comes after what was copied, and has the bucket reach the JetStream's last revision.
func (c *copying) copyRest(ctx context.Context, info *streamInfo) error {
	if info.State.LastSeq < c.reached {
		return fmt.Errorf("%w: KV_%s has reached revision %d, and bucket %s of raftbus %d: it comes from elsewhere; remove it, or name another with --to",
			ErrDiffers, c.options.Bucket, info.State.LastSeq, c.options.Name, c.reached)
	}
	if info.State.LastSeq > c.reached {
		batch, size, bytesMax := []command.ImportEntry{}, 0, c.into.batchBytes()
		send := func() error {
			err := c.send(ctx, command.Import{Entries: batch})
			batch, size = batch[:0], 0
			return err
		}
		err := c.from.each(ctx, c.reached+1, func(e command.ImportEntry) (bool, error) {
			if len(batch) > 0 && (len(batch) == batchEntriesMax || size+e.Size() > bytesMax) {
				if err := send(); err != nil {
					return false, err
				}
			}
			batch, size = append(batch, e), size+e.Size()
			c.sum.Copied++
			c.tell(Progress{Done: c.sum.Copied, Total: max(info.State.Messages, c.sum.Copied)}, &e)
			return true, nil
		})
		if err == nil && len(batch) > 0 {
			err = send()
		}
		if err != nil {
			return err
		}
	}
	if info.State.LastSeq > c.reached {
		return c.send(ctx, command.Import{Last: info.State.LastSeq, LastTime: info.State.LastTime.UnixNano()})
	}
	return nil
}

func (c *copying) send(ctx context.Context, i command.Import) error {
	i.Bucket, i.After = c.options.Name, c.reached
	reached, err := c.into.Import(ctx, i)
	if err == nil {
		c.reached = reached
	}
	return err
}

func (c *copying) tell(p Progress, e *command.ImportEntry) {
	c.sum.Bytes += size(e)
	p.Bytes = c.sum.Bytes
	if c.options.Progress != nil {
		c.options.Progress(p)
	}
}

func size(e *command.ImportEntry) uint64 { return uint64(len(e.Key) + len(e.Header) + len(e.Value)) }

// compare reads everything again and compares it, entry by entry, with what raftbus has. It says what the first difference is.
func (c *copying) compare(ctx context.Context, info *streamInfo) (string, error) {
	have := c.into.sums(ctx)
	all := sha256.New()
	c.sum.Entries, c.sum.Bytes, c.sum.Expired = 0, 0, 0
	first := ""
	differs := func(format string, args ...any) {
		if first == "" {
			first = fmt.Sprintf(format, args...)
		}
	}
	gone := func(revision uint64) {
		if c.sum.Expired++; !info.expires() {
			differs("the JetStream has no revision %d any more", revision)
		}
	}
	err := c.from.each(ctx, 1, func(e command.ImportEntry) (bool, error) {
		if e.Sequence > c.reached {
			return false, nil
		}
		ours, err := have.at(e.Sequence, gone)
		if err != nil {
			return false, err
		}
		sum := e.Sum()
		all.Write(sum[:])
		switch {
		case ours == "":
			differs("raftbus has no revision %d, of key %s", e.Sequence, e.Key)
		case ours != hex.EncodeToString(sum[:]):
			differs("revision %d is another one in raftbus: in the JetStream it is of key %s", e.Sequence, e.Key)
		}
		c.sum.Entries++
		c.tell(Progress{Checking: true, Done: c.sum.Entries, Total: max(info.State.Messages, c.sum.Entries)}, &e)
		return true, nil
	})
	if err == nil {
		_, err = have.at(1<<64-1, gone)
	}
	c.sum.SHA256 = hex.EncodeToString(all.Sum(nil))
	return first, err
}
