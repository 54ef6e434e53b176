package jetstream

// STREAM.PURGE: entries go without a trace.

import (
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
)

type purgeRequest struct {
	Sequence uint64 `json:"seq"`
	Filter   string `json:"filter"`
	Keep     uint64 `json:"keep"`
}

type purgeReply struct {
	head
	Success bool   `json:"success,omitempty"`
	Purged  uint64 `json:"purged"`
}

func (p *Protocol) streamPurge(c call) Plan {
	var body purgeRequest
	if e := c.optional(&body); e != nil {
		return c.refuse(e)
	}
	if body.Sequence > 0 && body.Keep > 0 {
		return c.refuse(errBadRequest)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	filter := c.filter(body.Filter)
	purge := command.PurgeBucket{Name: c.bucket, Keep: body.Keep, Below: body.Sequence}
	if patterns := filter.Strings(); len(patterns) > 0 {
		purge.Filter = patterns[0]
	} else if body.Filter != "" { // it matches no key of the bucket
		return c.look(func(*store.Store, store.BucketInfo) Plan { return c.purged(0) })
	}
	if _, one := filter.Literal(); body.Keep > 0 && !one {
		return c.keeping(purge, filter)
	}
	return c.purging(purge, progress{})
}

// filter is a subject pattern as one for the bucket's keys. What is no pattern matches nothing.
func (c call) filter(pattern string) subject.Filter {
	if pattern == "" {
		return subject.Filter{}
	}
	filter, err := subject.Under(subjectPrefix+c.bucket, pattern)
	if err != nil {
		filter, _ = subject.Under(subjectPrefix+c.bucket, c.stream) // which is of no key
	}
	return filter
}

// keeping purges what is older than the newest entries of many keys.
func (c call) keeping(purge command.PurgeBucket, filter subject.Filter) Plan {
	return c.search(func(s *store.Store, wanted func() bool) Plan {
		from, of, err := s.KeepFrom(c.bucket, filter, purge.Keep, wanted)
		switch {
		case err != nil:
			return c.refuse(readError(err))
		case from == 0:
			return c.purged(0)
		}
		purge.Keep, purge.Below = 0, from
		purge.Of(of, s.Open())
		return c.purging(purge, progress{})
	})
}

// progress is how far a purge has come.
type progress struct {
	removed uint64
	parts   int
}

// isStill reports whether a bucket is still the one that was purged in part. In a cluster that is not open to commands that name it, one that is
// removed and made anew while the next part is being logged is purged.
func isStill(s *store.Store, bucket string, incarnation uint64) bool {
	info, err := s.Bucket(bucket)
	return err == nil && info.Incarnation == incarnation
}

// purging logs a purge, part after part. One that is refused in the middle is not answered, nor one that a planned move ends: it was done in part (C5).
func (c call) purging(purge command.PurgeBucket, so progress) Plan {
	return Plan{Write: &Write{Command: command.Command{PurgeBucket: &purge}, Rest: so.parts > 0, Done: func(s *store.Store, r store.Result) Plan {
		if r.Code != store.Done && so.removed > 0 {
			return Plan{}
		}
		if r.Code != store.Done {
			return c.refuse(failure(r))
		}
		so.removed, so.parts = so.removed+r.Count, so.parts+1
		if r.Rest == nil {
			return c.purged(so.removed)
		}
		if !isStill(s, c.bucket, r.Rest.Incarnation) {
			return Plan{}
		}
		purge.After, purge.Through = r.Rest.After, r.Rest.Through
		purge.Of(r.Rest.Incarnation, s.Open())
		return c.purging(purge, so)
	}}}
}

func (c call) purged(n uint64) Plan { return answer(jsonReply(purgeReply{headOf(c.verb), true, n})) }
