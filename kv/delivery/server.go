package delivery

// The goroutine that steps the hub: it collects what has happened, and carries out what the hub asks for.

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// server is the goroutine that steps the hub.
type server struct {
	*Service
	hub     *watch.Hub
	errands map[uint64]*errand // under way, by the read's number
	learned []watch.Event      // what the leaf connection knew of subjects that began to be watched: it goes before all else
	wanted  uint64             // the hub's changes of buckets that the inbox knows
	waits   bool               // as the inbox knows
	at      rpc.Index          // as of the last step
	loaded  rpc.Index          // all up to there was taken from the store: what of it comes later is known
	fresh   bool               // the inbox wants the entries of all buckets, since the consumers were taken from the store
	looked  int64              // when it was last looked who is idle
	largest int                // message of the leaf connection, as the hub knows
	told    time.Time          // when it was last logged that entries are left out
	refused notSent            // messages that the connection did not take
}

const (
	// retryAfter is how long a store is left alone that could not be read: it is closed, or about to stop the node.
	retryAfter = 100 * time.Millisecond
	// filesPatience is how long a page is tried again that meets too many open files: for as long as what is applied is (F21).
	filesPatience = time.Minute
	// longest is how long the server sleeps at most.
	longest = time.Hour
	// tellEvery is how often it is logged at most that entries are left out, or that pages wait: they may be many, and of many watchers.
	tellEvery = time.Minute
)

func (s *Service) serve(hub *watch.Hub) {
	v := &server{Service: s, hub: hub, errands: map[uint64]*errand{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.inbox.bell:
		case <-s.room:
		case <-timer.C:
		}
		for wake := time.Duration(0); wake == 0; {
			if s.stops() {
				return
			}
			wake = v.step()
			timer.Reset(wake)
		}
	}
}

// step steps the hub once, and says after what time it is to be stepped again if nothing happens before.
func (v *server) step() time.Duration {
	events, err := v.events()
	if err != nil {
		return retryAfter
	}
	effects := v.hub.Step(v.now(), v.leaf.Room(), append(v.carries(), events...)...)
	v.send(effects.Send)
	v.leave(effects.LeftOut)
	v.follow(effects.Watch)
	v.read(effects)
	look := v.publish()
	if effects.Again || len(v.learned) > 0 || effects.WantRoom && v.up.Load() && !v.leaf.AwaitRoom() {
		return 0
	}
	if effects.Wake == 0 {
		return look
	}
	return min(max(time.Duration(effects.Wake-v.now()), time.Millisecond), look)
}

// events are what has happened since the last step.
func (v *server) events() ([]watch.Event, error) {
	t := v.inbox.take()
	v.at = t.at
	list := v.learned
	v.learned = nil
	if t.stale {
		reset, err := v.load()
		if err != nil {
			v.learned = list
			v.inbox.again(t)
			return nil, err
		}
		v.place(func(p *watch.Placer) { p.Reset(reset.Records) })
		v.fresh = true
		list = append(list, reset)
		v.loaded = rpc.Index(reset.Index)
	}
	for _, i := range after(t.items, v.loaded) {
		if i.batch == nil {
			list = append(list, v.home(i.told()))
			continue
		}
		changes := Changes(i.batch, v.o.Logger)
		v.place(func(p *watch.Placer) { p.Apply(changes) })
		list = append(list, watch.Applied{Index: uint64(i.batch.At), Changes: changes})
	}
	return append(list, watch.Applied{Index: uint64(t.at)}), nil
}

// load takes the consumers from the store.
func (v *server) load() (watch.Reset, error) {
	reset, err := Load(v.o.Store, string(v.o.Node), v.o.Boot, v.o.Logger)
	if err != nil && !errors.Is(err, store.ErrClosed) {
		v.o.Logger.Error("the consumers cannot be read", "err", err)
	}
	return reset, err
}

// send publishes what the hub says. What does not go out because the connection is gone, the hub will hear of.
func (v *server) send(list []watch.Send) {
	for i := range list {
		m := &list[i]
		if m.State != nil {
			m.Body = answer(m.State)
		}
		if err := v.leaf.Publish(m.Subject, m.Reply, m.Header, m.Body); err != nil && v.up.Load() {
			v.refused.tell(v.o.Logger, m.Subject, err)
		}
	}
}

// notSent counts messages that were not sent, and tells of them from time to time: one watcher may be sent everything there is.
type notSent struct {
	messages uint64
	told     time.Time
}

func (n *notSent) tell(logger *slog.Logger, subject string, err error) {
	n.messages++
	if now := time.Now(); now.Sub(n.told) >= tellEvery {
		n.told = now
		logger.Warn("a message to a watcher was not sent", "subject", subject, "err", err, "so_far", n.messages)
	}
}

// carries tells the hub how large a message the connection takes, when that has changed: max_payload may be lowered below what is stored.
func (v *server) carries() []watch.Event {
	bytes := v.leaf.MaxPayload()
	if bytes == 0 || bytes == v.largest {
		return nil
	}
	v.largest = bytes
	return []watch.Event{watch.Carries{Bytes: bytes}}
}

// leave tells what watchers were not sent.
func (v *server) leave(list []watch.LeftOut) {
	if len(list) == 0 {
		return
	}
	all := v.leftOut.Add(uint64(len(list)))
	if now := time.Now(); now.Sub(v.told) >= tellEvery {
		v.told = now
		e := &list[0]
		v.o.Logger.Error("watchers are not sent what is larger than max_payload of NATS: raise that, or write the key anew", "bucket", e.Bucket, "key", e.Key,
			"revision", e.Sequence, "bytes", e.Bytes, "max_payload", v.largest, "left_out", all)
	}
}

// follow has the leaf connection watch subjects, or no longer.
func (v *server) follow(list []watch.Watch) {
	for _, w := range list {
		if w.Ended {
			v.leaf.Unwatch(w.Subject)
		} else {
			v.learned = append(v.learned, watch.Interest{Subject: w.Subject, Listened: v.leaf.Watch(w.Subject)})
		}
	}
}

// publish makes known what others want to know of the hub, and says after what time it is to be asked again at the latest.
func (v *server) publish() time.Duration {
	if v.hub.BucketChanges() != v.wanted || v.hub.Waiting() != v.waits || v.fresh {
		if v.inbox.want(v.hub.Buckets(), v.hub.Waiting(), v.at) {
			v.wanted, v.waits, v.fresh = v.hub.BucketChanges(), v.hub.Waiting(), false
		}
	}
	v.serving.Store(int64(v.hub.Serving()))
	now := v.now()
	if ago := now - v.looked; ago < watch.AnnounceEvery { // somebody may be idle since, and nothing else may happen for long
		return time.Duration(watch.AnnounceEvery - ago)
	}
	v.looked = now
	idle := v.hub.Idle(watch.IdleMax)
	v.idle.Store(&idle)
	return longest
}

// errand is a page that a reader is to bring.
type errand struct {
	watch.Read
	dropped atomic.Bool // nobody waits for it any more
}

// read sends for pages, and has readers leave alone what is wanted no more.
func (v *server) read(effects *watch.Effects) {
	for _, read := range effects.Reads {
		e := &errand{Read: read}
		v.errands[read.ID] = e
		v.reads <- e // there is room for as many as the hub has under way
	}
	for _, id := range effects.Dropped {
		if e := v.errands[id]; e != nil {
			e.dropped.Store(true)
		}
	}
}

// home takes a page off those that are under way.
func (v *server) home(e watch.Event) watch.Event {
	if page, is := e.(watch.PageRead); is {
		delete(v.errands, page.Read)
	}
	return e
}

// reader reads pages of the store.
func (s *Service) reader() {
	for {
		select {
		case <-s.stop:
			return
		case read := <-s.reads:
			s.inbox.surely(watch.PageRead{Read: read.ID, Page: s.page(read)})
		}
	}
}

// stops reports whether the service is being closed.
func (s *Service) stops() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// page reads a page. One that fails ends its consumer, of which a client may never hear (W2): what passes is waited for.
func (s *Service) page(read *errand) watch.Page {
	wanted := func() bool { return !read.dropped.Load() && !s.stops() }
	page, err := Page(s.o.Store, &read.Read, wanted)
	for began := time.Now(); store.TooManyFiles(err) && time.Since(began) < filesPatience; {
		s.tellWait(read.Bucket, err)
		if s.rest(retryAfter); !wanted() {
			return page
		}
		page, err = Page(s.o.Store, &read.Read, wanted)
	}
	if err != nil && !errors.Is(err, store.NoBucket) && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnwanted) {
		s.o.Logger.Error("a page for a watcher cannot be read", "bucket", read.Bucket, "err", err)
	}
	return page
}

// tellWait tells from time to time that pages wait.
func (s *Service) tellWait(bucket string, err error) {
	told, now := s.waited.Load(), s.now()
	if (told == 0 || now-told >= int64(tellEvery)) && s.waited.CompareAndSwap(told, now) {
		s.o.Logger.Warn("watchers wait for what is read for them: too many files are open: raise the limit of open files (LimitNOFILE); who waits a minute is given up", "bucket", bucket, "err", err)
	}
}

// rest lets time pass, unless the service is being closed.
func (s *Service) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.stop:
	case <-timer.C:
	}
}
