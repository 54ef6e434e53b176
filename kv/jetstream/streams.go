package jetstream

// The operations on streams: section 6 of the specification.

import (
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
)

// streamInfoReply is what is told of a stream. Replies leave out what their operation does not tell.
type streamInfoReply struct {
	Config  *streamConfig `json:"config"`
	Created time.Time     `json:"created"`
	State   streamState   `json:"state"`
	Domain  string        `json:"domain,omitempty"`
	Cluster *clusterInfo  `json:"cluster,omitempty"`
	Now     time.Time     `json:"ts"`
}

type streamState struct {
	Messages    uint64            `json:"messages"`
	Bytes       uint64            `json:"bytes"`
	FirstSeq    uint64            `json:"first_seq"`
	FirstTime   time.Time         `json:"first_ts"`
	LastSeq     uint64            `json:"last_seq"`
	LastTime    time.Time         `json:"last_ts"`
	NumSubjects uint64            `json:"num_subjects,omitempty"`
	Subjects    map[string]uint64 `json:"subjects,omitempty"`
	NumDeleted  uint64            `json:"num_deleted,omitempty"`
	Consumers   uint64            `json:"consumer_count"`
}

type clusterInfo struct {
	Name   string `json:"name,omitempty"`
	Leader string `json:"leader,omitempty"`
}

func (p *Protocol) info(b store.State, now time.Time) streamInfoReply {
	return streamInfoReply{Config: configOf(b.Name, b.Settings).told(), Created: timeOf(b.Created), State: stateOf(b), Domain: p.Domain, Now: now.UTC()}
}

func stateOf(b store.State) streamState {
	return streamState{
		Messages: b.Entries, Bytes: b.Bytes, FirstSeq: b.First, FirstTime: timeOf(b.FirstTime), LastSeq: b.Sequence,
		LastTime: timeOf(b.LastTime), NumSubjects: b.Keys + b.Deleted, NumDeleted: b.Gaps, Consumers: b.Consumers,
	}
}

// timeOf is a time of the log; that of what there is not is the zero time.
func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

type createReply struct {
	head
	streamInfoReply
	DidCreate bool `json:"did_create,omitempty"`
}

func (p *Protocol) streamCreate(c call) Plan {
	config, e := c.config(p.Prefix)
	if e != nil {
		return c.refuse(e)
	}
	if e := config.checkAccount(c.account, nil); e != nil {
		return p.unchanged(c, config, e)
	}
	return Plan{Write: &Write{
		Command: command.Command{AddBucket: &command.AddBucket{Name: c.bucket, Settings: config.settings(), AcceptEqual: true}},
		Done: func(s *store.Store, r store.Result) Plan {
			if r.Code != store.Done && (r.Code != store.BucketExists || !config.is(c.bucket, s)) {
				return c.refuse(failure(r))
			}
			return p.created(c, s, config)
		},
	}}
}

// unchanged answers who may not make the bucket that it asks for: with the error, unless the bucket is there just so. Applications make theirs each time
// that they start.
func (p *Protocol) unchanged(c call, config *streamConfig, e *apiError) Plan {
	return Plan{Look: func(s *store.Store) Plan {
		b, err := s.Bucket(c.bucket)
		switch {
		case err != nil && err != store.NoBucket:
			return c.refuse(readError(err))
		case err != nil || !config.is(c.bucket, s):
			return c.refuse(e)
		case b.Importing:
			return c.refuse(errImporting)
		}
		return p.created(c, s, config).telling(c.bucket)
	}}
}

func (p *Protocol) created(c call, s *store.Store, config *streamConfig) Plan {
	reply := createReply{head: headOf(c.verb), streamInfoReply: p.told(c, s, config), DidCreate: true}
	reply.Domain = "" // as nats-server
	return answer(jsonReply(reply))
}

// is reports whether a bucket is as a complete configuration says, as far as one can: it may bound its values, and not messages.
func (c *streamConfig) is(bucket string, s *store.Store) bool {
	b, err := s.Bucket(bucket)
	if err != nil {
		return false
	}
	settings := c.over(b.Settings)
	return settings.Equal(&b.Settings)
}

// told is the stream as it is after a command that made or changed it. If it is gone already, it is as it was asked for.
func (p *Protocol) told(c call, s *store.Store, config *streamConfig) streamInfoReply {
	if b, err := s.State(c.bucket); err == nil {
		return p.info(b, c.Now)
	}
	return streamInfoReply{Config: config.told(), Created: c.Now.UTC(), Domain: p.Domain, Now: c.Now.UTC()}
}

// config reads the configuration that a request has.
func (c call) config(prefix string) (*streamConfig, *apiError) {
	var body configRequest
	if e := decode(c.Data, &body); e != nil {
		return nil, e
	}
	if e := body.checkWords(); e != nil {
		return nil, e
	}
	switch {
	case body.Name == "" && c.verb == streamUpdate:
		return nil, invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'")
	case body.Name != c.stream:
		return nil, errStreamMismatch
	case len(body.Subjects) == 0 && c.verb == streamUpdate && c.bucket != "": // a bucket's are always the same
		body.Subjects, body.partial = []string{subjectsOf(c.bucket)}, true
	}
	return &body.streamConfig, body.complete(prefix, c.bucket)
}

type updateReply struct {
	head
	streamInfoReply
}

func (p *Protocol) streamUpdate(c call) Plan {
	config, e := c.config(p.Prefix)
	if e != nil {
		return c.refuse(e)
	}
	return p.updating(c, config, updatesMax)
}

// updatesMax bounds how often an update is tried that others forestall.
const updatesMax = 4

// updating logs an update of the settings as they are; if they change before it is applied, it is checked again.
func (p *Protocol) updating(c call, config *streamConfig, tries int) Plan {
	return c.look(func(_ *store.Store, old store.BucketInfo) Plan {
		before := configOf(old.Name, old.Settings)
		now := config.keeping(before)
		e := now.checkUpdate(before)
		if e == nil {
			e = now.checkAccount(c.account, before.Republish)
		}
		if e != nil {
			return c.refuse(e)
		}
		update := command.UpdateBucket{Name: c.bucket, Settings: now.over(old.Settings), Changed: old.Changed}
		return Plan{Write: &Write{Command: command.Command{UpdateBucket: &update}, Old: &old.Settings, Done: func(s *store.Store, r store.Result) Plan {
			switch {
			case r.Code == store.Done:
				return answer(jsonReply(updateReply{headOf(c.verb), p.told(c, s, now)}))
			case r.Code == store.SettingsChanged && tries > 1:
				return p.updating(c, config, tries-1)
			}
			return c.refuse(failure(r))
		}}}
	})
}

type paged struct {
	Total  int `json:"total"`
	Offset int `json:"offset"`
	Limit  int `json:"limit"`
}

type infoRequest struct {
	Offset         int    `json:"offset"`
	DeletedDetails bool   `json:"deleted_details"`
	SubjectsFilter string `json:"subjects_filter"`
}

type infoReply struct {
	head
	paged
	streamInfoReply
}

func (p *Protocol) streamInfo(c call) Plan {
	var body infoRequest
	if e := c.optional(&body); e != nil {
		return c.refuse(e)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	if body.SubjectsFilter != "" {
		return Plan{Search: func(s *store.Store, wanted func() bool) Plan { return p.informed(s, c, body, wanted).telling(c.bucket) }}
	}
	return Plan{Look: func(s *store.Store) Plan { return p.informed(s, c, body, always).telling(c.bucket) }}
}

func (p *Protocol) informed(s *store.Store, c call, body infoRequest, wanted func() bool) Plan {
	told := func(b store.State) infoReply {
		reply := infoReply{head: headOf(c.verb), streamInfoReply: p.info(b, c.Now)}
		reply.Cluster = &clusterInfo{Name: p.Prefix, Leader: p.Node}
		return reply
	}
	if body.SubjectsFilter == "" {
		b, err := s.State(c.bucket)
		if err != nil {
			return c.refuse(readError(err))
		}
		return answer(jsonReply(told(b)))
	}
	offset := max(body.Offset, 0)
	b, list, all, err := s.Subjects(c.bucket, c.filter(body.SubjectsFilter), offset, subjectsMax, c.PayloadMax, wanted)
	if err != nil {
		return c.refuse(readError(err))
	}
	reply := told(b)
	reply.count(c, list, all, offset)
	return answer(jsonReply(reply))
}

// subjectsMax is how many subjects one reply tells of.
const subjectsMax = 100_000

// count tells how many messages subjects have, which are those after an offset of so many that a filter matches.
func (r *infoReply) count(c call, list []store.Subject, all store.Matched, offset int) {
	if all.Keys == 0 {
		return
	}
	r.paged = paged{Total: all.Keys, Offset: offset, Limit: c.subjectsLimit(all, c.room()-len(jsonReply(r.Config).Data))}
	r.State.Subjects = map[string]uint64{}
	for _, k := range list[:min(len(list), r.Limit)] {
		r.State.Subjects[subjectOf(c.bucket, k.Key)] = k.Entries
	}
}

// subjectsLimit is how many subjects each page of a list has, by what all take: nats.java goes on after as many as a page's limit says, and nats.js asks
// for all further pages by the limit of the first.
func (c call) subjectsLimit(all store.Matched, room int) int {
	beside := len(subjectOf(c.bucket, "")) + len(`:18446744073709551615,`)
	if all.Bytes+all.Keys*beside <= room {
		return subjectsMax
	}
	return max(1, min(subjectsMax, room/(all.Longest+beside)))
}

type successReply struct {
	head
	Success bool `json:"success"`
}

func (p *Protocol) streamDelete(c call) Plan {
	if !isEmpty(c.Data) {
		return c.refuse(errNotEmpty)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	return Plan{Write: &Write{
		Command: command.Command{RemoveBucket: &command.RemoveBucket{Name: c.bucket}},
		Done: func(_ *store.Store, r store.Result) Plan {
			if r.Code != store.Done {
				return c.refuse(failure(r))
			}
			return answer(jsonReply(successReply{headOf(c.verb), true}))
		},
	}}
}

// trouble is the answer when a command was surely not logged.
func (v verb) trouble(t Trouble) Reply {
	if v == consumerCreate && t == Full {
		return v.refuse(errConsumersFull)
	}
	return v.refuse(troubleError(t))
}

func troubleError(t Trouble) *apiError {
	switch t {
	case Full:
		return errNoStorage
	case TooLarge:
		return errMessageTooLarge
	case Taken:
		return errSubjectsOverlap.says("subjects overlap with an existing stream: another JetStream of this account has it, choose another bucket name")
	}
	return errUnavailable
}

// failure is a bucket's refusal of a command.
func failure(r store.Result) *apiError {
	switch r.Code {
	case store.NoBucket:
		return errNoStream
	case store.BucketExists:
		return errStreamExists
	case store.Importing:
		return errImporting
	case store.ReadOnly:
		return errReadOnly
	}
	return errBadRequest.says("bad request: %v", r.Code)
}
