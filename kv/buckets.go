package kv

// What a leader knows of the buckets without reading. Python and .NET put to the bare subject $KV.<bucket>.<key>, and the leader listens
// there for each bucket by itself: another JetStream of the account may have other buckets, whose clients must neither wait for us in
// vain nor pass their traffic through us.
//
// A leader lists the buckets once, and again if its state is replaced; later changes come with what is applied. What is not known to be there is asked
// of the store after a ReadIndex, so the list decides nothing.

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// buckets are the buckets that are known to be there. Its methods may be called by several goroutines, and do not wait.
type buckets struct {
	mu      sync.Mutex
	follows bool // somebody listens: what changes is kept
	listed  bool
	known   map[string]bool // whether it takes roll-ups
	todo    []string        // buckets that the subscriptions have not followed yet
	since   []bucketChange  // what came while the list was read
	resets  uint64          // how often another state took the place of the one that they are of
}

type bucketChange struct {
	name      string
	is        bool // there
	noRollups bool
}

// has reports whether a bucket is known to be there.
func (b *buckets) has(name string) bool { return b.takes(name, false) }

// takes reports whether a bucket is known to be there, and to take a put: one that rolls up is refused by some.
func (b *buckets) takes(name string, rollup bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	rollups, is := b.known[name]
	return is && (rollups || !rollup)
}

// forget begins anew.
func (b *buckets) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follows, b.listed, b.known, b.todo, b.since = true, false, map[string]bool{}, nil, nil
}

// rest keeps nothing of what changes: nobody listens, and who will lists anew. What was known still tells how those are taken that came before.
func (b *buckets) rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follows, b.todo, b.since = false, nil, nil
}

// change takes in a change that was applied.
func (b *buckets) change(c bucketChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.follows {
		return
	}
	if !b.listed {
		b.since = append(b.since, c)
	}
	b.set(c)
}

func (b *buckets) set(c bucketChange) {
	if _, was := b.known[c.name]; was != c.is {
		b.todo = append(b.todo, c.name)
	}
	if c.is {
		b.known[c.name] = !c.noRollups
	} else {
		delete(b.known, c.name)
	}
}

// relist has the buckets listed anew: another state has taken the place of the one that they are of.
func (b *buckets) relist() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resets++
	b.listed, b.since = false, nil
}

// add takes in a list of the buckets, of the state after so many resets. What has changed since it was begun counts more.
func (b *buckets) add(list []bucketChange, of uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of != b.resets {
		return
	}
	since := b.since
	b.listed, b.since = true, nil
	gone := maps.Clone(b.known)
	for _, c := range list {
		delete(gone, c.name)
		b.set(c)
	}
	for name := range gone {
		b.set(bucketChange{name: name})
	}
	for _, c := range since {
		b.set(c)
	}
}

// wantsList reports whether the buckets are to be listed, and after how many resets.
func (b *buckets) wantsList() (wanted bool, of uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.listed, b.resets
}

// changes takes the buckets that the subscriptions have not followed yet.
func (b *buckets) changes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	todo := b.todo
	b.todo = nil
	return todo
}

// putBack puts buckets back that the subscriptions have not followed.
func (b *buckets) putBack(todo []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.follows {
		b.todo = append(todo, b.todo...)
	}
}

// follower hears what was applied, on the node's goroutine.
func (s *Service) follower(batch store.Batch) {
	s.reflects.Store(&moment{batch.At, batch.Time})
	if !isLeading(s.epoch.Load()) {
		return
	}
	if batch.Reset { // who is needed leads while it installs (L8)
		s.buckets.relist()
		s.rouse()
	}
	for i := range batch.Events {
		switch e := &batch.Events[i]; e.Kind {
		case store.Stored:
			s.republish(e)
		case store.BucketAdded, store.BucketUpdated:
			s.buckets.change(there(e.Bucket, e.Settings, e.Importing))
			s.rouse() // who made it may have asked another account's service
		case store.BucketRemoved:
			s.buckets.change(bucketChange{name: e.Bucket})
			s.rouse()
		}
	}
}

// there is a bucket that is there. One that is being imported is not yet, for those who do not ask the store.
func there(name string, settings *command.Settings, importing bool) bucketChange {
	return bucketChange{name, !importing, !jetstream.TakesRollups(settings)}
}

// list lists the buckets, if that is to be done.
func (s *Service) list() {
	wanted, of := s.buckets.wantsList()
	if !wanted {
		return
	}
	var list []bucketChange
	err := s.store.EachBucket(func(name string, settings *command.Settings, importing bool) {
		list = append(list, there(name, settings, importing))
	})
	if err != nil {
		s.logger.Warn("the buckets cannot be listed; trying again", "err", err)
		return
	}
	s.buckets.add(list, of)
}

// followFor bounds how long the keeper follows at a time: what is overdue is answered by it too (L9).
const followFor = 50 * time.Millisecond

// follow makes the subscriptions what the buckets ask for. They may be many, and each waits for NATS's client: who stops listening waits for one of
// them, as does who leads no more; and after a while the rest is left to the next look.
func (s *Service) follow() {
	todo := s.buckets.changes()
	for began := time.Now(); len(todo) > 0 && s.listensNow(); todo = todo[1:] {
		if s.followOne(todo[0]); time.Since(began) >= s.followFor {
			todo = todo[1:]
			break
		}
	}
	if len(todo) > 0 {
		s.buckets.putBack(todo)
		s.rouse()
	}
}

// listensNow reports whether the service listens for the epoch that it is.
func (s *Service) listensNow() bool {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	return s.subs != nil && s.listensFor == s.epoch.Load()
}

// followed has NATS know what became of a bucket before a client does: who hears that it is there finds it listening, and who hears that it is
// gone finds no responders. The keeper may have begun with that, and not come to the bucket, or not to the end.
func (s *Service) followed(name string) {
	left := s.followOne(name)
	if left == s.toldLeft.Load() {
		return
	}
	if err := s.flush(context.Background()); err != nil {
		s.logger.Debug("NATS may not know yet that nobody listens to a bucket that is gone", "err", err)
	}
	s.toldLeft.Store(left)
}

// followOne makes a bucket's subscription what is known of it now, and returns how often a bucket's own subject was left.
func (s *Service) followOne(name string) (left uint64) {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.subs == nil || s.defaultAPI { // not listening, or to all of them
		return s.left
	}
	sub, has := s.bare[name]
	switch is := s.buckets.has(name); {
	case is && !has:
		sub, err := s.subscribeTo("$KV."+name+".>", func(m *nats.Msg, epoch uint64) { s.jetStream(s.protocol, m, epoch, m.Subject, true) })
		if err != nil {
			s.logger.Warn("cannot listen to a bucket's own subject: clients that put there are not heard", "bucket", name, "err", err)
			break
		}
		s.bare[name] = sub
	case !is && has:
		delete(s.bare, name)
		s.left++
		if err := sub.Unsubscribe(); err != nil {
			s.logger.Debug("unsubscribe", "err", err)
		}
	}
	return s.left
}

// all are the subscriptions.
func (s *Service) all() []subscription {
	list := append([]subscription{}, s.subs...)
	for sub := range maps.Values(s.bare) {
		list = append(list, sub)
	}
	return list
}
