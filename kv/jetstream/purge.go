package jetstream

import (
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
)

// STREAM.PURGE: entries go without a trace.

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
	if hasBody(c.Data) {
		if e := decode(c.Data, &body); e != nil {
			return c.refuse(e)
		}
	}
	if body.Sequence > 0 && body.Keep > 0 {
		return c.refuse(errBadRequest)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	filter, e := c.filter(body.Filter)
	if e != nil {
		return c.refuse(e)
	}
	purge := command.PurgeBucket{Name: c.bucket, Keep: body.Keep, Below: body.Sequence}
	if patterns := filter.Strings(); len(patterns) > 0 {
		purge.Filter = patterns[0]
	} else if body.Filter != "" { // it matches no key of the bucket
		return c.look(func(*store.Store, store.BucketInfo) Plan { return c.purged(0) })
	}
	if _, one := filter.Literal(); body.Keep > 0 && !one {
		return c.keeping(purge, filter)
	}
	return c.purging(purge, 0)
}

// filter is a subject pattern as one for the bucket's keys.
func (c call) filter(pattern string) (subject.Filter, *apiError) {
	if pattern == "" {
		return subject.Filter{}, nil
	}
	filter, err := subject.Under(subjectPrefix+c.bucket, pattern)
	if err != nil {
		return filter, errBadRequest.says("bad request: %v", err)
	}
	return filter, nil
}

// keeping purges what is older than the newest entries of many keys.
func (c call) keeping(purge command.PurgeBucket, filter subject.Filter) Plan {
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		from, err := s.KeepFrom(c.bucket, filter, purge.Keep)
		switch {
		case err != nil:
			return c.refuse(readError(err))
		case from == 0:
			return c.purged(0)
		}
		purge.Keep, purge.Below = 0, from
		return c.purging(purge, 0)
	})
}

// purging logs a purge, part after part. One that is refused in the middle is not answered: it was done in part (C5).
func (c call) purging(purge command.PurgeBucket, before uint64) Plan {
	return Plan{Write: &Write{Command: command.Command{PurgeBucket: &purge}, Done: func(_ *store.Store, r store.Result) Plan {
		switch {
		case r.Code != store.Done && before > 0:
			return Plan{}
		case r.Code != store.Done:
			return c.refuse(failure(r))
		case r.Rest != nil:
			purge.After, purge.Through = r.Rest.After, r.Rest.Through
			return c.purging(purge, before+r.Count)
		}
		return c.purged(before + r.Count)
	}}}
}

func (c call) purged(n uint64) Plan { return answer(jsonReply(purgeReply{headOf(c.verb), true, n})) }
