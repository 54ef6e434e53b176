package sim

// The checkers of message ids, expiry and watches must be able to fire.

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A retry that is done again, one that is answered something else, and one that counts as done after its window.
func TestRetriesWithAMessageID(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1, 1)
	s.trade.ledger.buckets["b0"], s.trade.ledger.settings["b0"] = true, command.Settings{DuplicateWindow: time.Second}
	enter := func(index rpc.Index, at time.Duration, r store.Result) func() {
		o := s.trade.newOp(0)
		o.bucket, o.key = "b0", "k0"
		o.write = &command.Command{Write: &command.Write{Bucket: "b0", Key: "k0", Value: []byte(o.name), MsgID: "x"}}
		return func() {
			s.trade.applied(&rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(at), Data: o.write.Encode()}, r)
		}
	}
	first := store.Result{Sequence: 1, Revision: 1}
	s.broken("C4", enter(1, 0, store.Result{Again: true, Sequence: 1, Revision: 1})) // nothing was done
	enter(1, 0, first)()
	s.broken("C4", enter(2, time.Second-1, store.Result{Sequence: 2, Revision: 2}))
	s.trade.ledger.revision = 1
	s.broken("C4", enter(2, time.Second-1, store.Result{Again: true, Sequence: 2, Revision: 2}))
	s.broken("C4", enter(2, time.Second-1, store.Result{Code: store.KeyExists}))
	again := first
	again.Again = true
	enter(2, time.Second-1, again)()
	s.broken("C4", enter(3, time.Second, again)) // its window is over
	enter(3, time.Second, store.Result{Sequence: 2, Revision: 2})()
}

// What expires too early, or more than once, or not at all.
func TestWhatExpires(t *testing.T) {
	s := newStage(t)
	s.plan.expires = true
	s.committed(1, 1, 1, 1)
	l := s.trade.ledger
	l.buckets["b0"], l.made["b0"], l.settings["b0"] = true, 7, command.Settings{AllowTTL: true, TTL: 2 * time.Second, MarkerTTL: time.Second}
	write := &command.Write{Bucket: "b0", Key: "k0", TTL: time.Second}
	l.time = 10
	l.wrote(&rpc.Entry{Index: 1, Term: 1}, &op{}, write, store.Result{Sequence: 1, Revision: 1})
	l.revision = 1
	expire := func(index rpc.Index, at time.Duration, incarnation, count uint64) func() {
		c := command.Command{Expire: &command.Expire{Items: []command.ExpireItem{{Bucket: "b0", Incarnation: incarnation, Sequence: 1, Key: "k0"}}}}
		e := &rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(at), Data: c.Encode()}
		return func() { s.trade.applied(e, store.Result{Count: count}) }
	}
	s.broken("F24", expire(2, time.Second+9, 7, 1)) // its time is not over
	expire(2, time.Second+9, 7, 0)()
	s.broken("F24", expire(3, time.Second+10, 6, 1)) // that of another bucket of the name
	require.False(t, s.overdue())
	l.time = int64(3 * time.Second)
	require.True(t, s.overdue())
	expire(3, time.Second+10, 7, 1)()
	require.Equal(t, uint64(2), l.newest("b0", "k0"), "the marker")
	s.broken("F24", expire(4, 3*time.Second, 7, 1)) // it is gone already
	require.False(t, s.overdue())
	l.time = int64(5 * time.Second)
	require.True(t, s.overdue(), "markers end too")
	forever := living{ttl: command.Never}
	_, ends := forever.over(&command.Settings{TTL: time.Second})
	require.False(t, ends)
}

// What watchers get twice, late, or not at all, and what they are told too early.
func TestWhatWatchersGet(t *testing.T) {
	s := newStage(t)
	b, l := s.watchers.book, s.trade.ledger
	l.buckets["b0"], l.settings["b0"] = true, command.Settings{History: 2}
	b.began("b0", true, 7)
	put := func(key string, revision uint64) {
		w := &command.Write{Bucket: "b0", Key: key, Value: fmt.Append(nil, revision)}
		l.add(&rpc.Entry{}, w, store.Result{Sequence: revision, Revision: revision})
	}
	for i, key := range []string{"a", "b", "a", "a", "c"} { // revision 1 goes with the history of a
		put(key, uint64(i+1))
	}
	made := 0
	watches := func(key, config string) *subscriber {
		made++
		o := &subscriber{all: s.watchers, bucket: "b0", key: key, consumer: fmt.Sprint(made)}
		c := &command.AddConsumer{Bucket: "b0", Name: o.consumer, Config: []byte(config)}
		b.applied(&rpc.Entry{}, c, store.Result{Sequence: uint64(len(b.now["b0"].entries))})
		return o
	}
	gets := func(o *subscriber, key string, revision uint64) func() {
		return func() { b.delivered(o, key, revision, fmt.Sprint(revision)) }
	}
	all := watches("", `{"deliver_policy":"all"}`)
	s.broken("W2", gets(all, "a", 3)) // not b
	s.broken("W1", gets(all, "c", 2)) // another key
	s.broken("W1", func() { b.delivered(all, "b", 2, "3") })
	s.broken("W1", gets(all, "c", 6))
	gets(all, "b", 2)()
	s.broken("W1", gets(all, "b", 2))
	s.broken("W4", func() { b.marked(all, 3) })
	s.broken("W2", gets(all, "a", 4))
	require.False(t, s.watchers.book.complete(all))
	for i, key := range []string{"a", "a", "c"} {
		gets(all, key, uint64(i+3))()
	}
	b.marked(all, 5)
	s.broken("W4", func() { b.marked(all, 6) })
	require.True(t, b.complete(all))

	newest := watches("", `{"deliver_policy":"last_per_subject"}`)
	s.broken("W2", gets(newest, "a", 4)) // b is the newest of its key
	gets(newest, "b", 2)()
	gets(newest, "a", 4)()
	one := watches("a", `{"deliver_policy":"all"}`)
	s.broken("W1", gets(one, "b", 2))
	s.broken("W2", gets(one, "a", 4))
	b.marked(one, 2)
	resumes := watches("", `{"deliver_policy":"by_start_sequence","opt_start_seq":4}`)
	s.broken("W3", gets(resumes, "a", 3))
	s.broken("W2", gets(resumes, "c", 5))
	gets(resumes, "a", 4)()
	fresh := watches("", `{"deliver_policy":"new"}`)
	b.marked(fresh, 5)
	put("b", 6)
	require.False(t, b.complete(fresh))
	s.broken("W4", func() { b.marked(fresh, 6) })
	b.began("b0", false, 0)
	require.True(t, b.complete(fresh), "there is no bucket")
	b.marked(resumes, 6)
	s.broken("W1", gets(&subscriber{consumer: "none"}, "a", 3))
}

// A subscriber comes back when something is missing, and takes nothing that is out of order.
func TestSubscribersNoticeWhatIsMissing(t *testing.T) {
	s := newStage(t)
	for _, n := range s.list {
		n.process = nil // nobody is there to answer
	}
	o := &subscriber{all: s.watchers, bucket: "b0", policy: "all"}
	o.create()
	require.Equal(t, 1, o.lives)
	send := func(header, reply string) {
		o.hear(&watch.Send{Subject: o.deliver, Reply: reply, Header: []byte(header)})
	}
	send("", "$JS.ACK.KV_b0."+o.consumer+".1.1.2.0.0@$KV.b0.k") // the second message
	require.Equal(t, 2, o.lives)
	require.Zero(t, o.last)
	send("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 1\r\n\r\n", "")
	require.Equal(t, 3, o.lives)
	require.False(t, s.watchers.listens("_INBOX.w0-2"))
	require.True(t, s.watchers.listens("_INBOX.w0-3"))
	var config map[string]any
	require.NoError(t, json.Unmarshal(o.config(), &config))
	require.Equal(t, "by_start_sequence", config["deliver_policy"])
	require.EqualValues(t, 1, config["opt_start_seq"])
}

// An answer to who has one, or has given up, is held to what is true too.
func TestAnswersThatComeLate(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1, 1)
	s.trade.ledger.buckets["b0"] = true
	var revision uint64
	entered := func(index rpc.Index) *op {
		revision++
		o := s.trade.newOp(0)
		o.bucket, o.key = "b0", "k0"
		o.write = &command.Command{Write: &command.Write{Bucket: "b0", Key: "k0", Value: []byte(o.name)}}
		r := store.Result{Sequence: revision, Revision: revision}
		s.trade.applied(&rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Data: o.write.Encode()}, r)
		s.watch.at(index).result = r
		return o
	}
	done := func(index rpc.Index) answer {
		return answer{outcome: answered, result: store.Result{Sequence: uint64(index), Revision: uint64(index)}, at: rpc.EntryID{Term: 1, Index: index}}
	}
	tell := func(o *op, a answer) func() {
		return func() { a.op = o; s.trade.hear(a) }
	}

	a, b := entered(1), entered(2)
	tell(a, done(1))()
	tell(a, done(1))()
	other := done(1)
	other.result.Code = store.KeyExists
	s.broken("C4", tell(a, done(2)))
	s.broken("C4", tell(a, other))
	s.broken("C5", tell(a, answer{outcome: notDone}))

	s.trade.giveUp(b)
	s.broken("C2", tell(b, done(1)))
	s.broken("C5", tell(b, answer{outcome: notDone}))
	require.Equal(t, rpc.Index(1), s.trade.reached)
	tell(b, done(2))()
	require.Equal(t, rpc.Index(2), s.trade.reached, "what begins from now on comes after it")

	nowhere := s.trade.newOp(0)
	nowhere.bucket, nowhere.key, nowhere.write = "b0", "k0", b.write
	s.trade.giveUp(nowhere)
	tell(nowhere, answer{outcome: notDone})()
	s.broken("C5", tell(nowhere, done(2)))
	s.broken("C5", func() { nowhere.appliedAt = 3; tell(nowhere, answer{outcome: notDone})() })

	read := s.trade.newOp(0)
	read.bucket, read.key, read.low = "b0", "k0", 1
	got := func(o *op, index uint64) answer {
		return answer{outcome: answered, found: true, entry: store.Entry{Value: []byte(o.name), Sequence: index, Revision: index}}
	}
	tell(read, got(a, 1))()
	tell(read, got(b, 2))()
	read.low = 2
	s.broken("C1", tell(read, got(a, 1)))
}

// What is there at the end is compared with all that the ledger knows of it.
func TestTheStateAtTheEnd(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1, 1, 1)
	l := s.trade.ledger
	state, err := store.Open(store.Options{Engine: engine.NewGather(memengine.New(), gatherBytes), ManualFlush: true})
	require.NoError(t, err)
	var index rpc.Index
	apply := func(c command.Command) {
		o := s.trade.newOp(0)
		if o.bucket, o.key = "b0", "k0"; c.Write != nil {
			c.Write.Value = []byte(o.name)
		} else {
			c.AddBucket.Settings.Description = o.name
		}
		index++
		e := rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index), Data: c.Encode()}
		results, err := state.Apply([]rpc.Entry{e})
		require.NoError(t, err)
		s.trade.applied(&e, results[0])
	}
	s.trade.finish(state) // there is nothing
	apply(command.Command{AddBucket: &command.AddBucket{Name: "b0", Settings: command.Settings{History: 3}}})
	apply(command.Command{Write: &command.Write{Bucket: "b0", Key: "k0"}})
	apply(command.Command{Write: &command.Write{Bucket: "b0", Key: "k0", Op: command.Delete}})
	s.trade.finish(state)
	apply(command.Command{Write: &command.Write{Bucket: "b0", Key: "k0"}})
	s.trade.finish(state)

	at := place("b0", "k0")
	for what, spoil := range map[string]func(){
		"the bucket":    func() { l.buckets["b0"] = false },
		"the last":      func() { l.last["b0"]++ },
		"a key":         func() { l.keys[at] = nil },
		"history":       func() { l.live[at] = l.live[at][1:] },
		"an old value":  func() { l.live[at][0].value = "x" },
		"when":          func() { l.live[at][1].at++ },
		"a delete":      func() { l.live[at][1].op = command.Purge },
		"the revisions": func() { l.live[at][0].revision++ },
	} {
		buckets, last, keys, live := l.buckets["b0"], l.last["b0"], l.keys[at], append([]living(nil), l.live[at]...)
		spoil()
		t.Log(what)
		s.broken("C2", func() { s.trade.finish(state) })
		l.buckets["b0"], l.last["b0"], l.keys[at], l.live[at] = buckets, last, keys, live
	}
	s.trade.finish(state)
}
