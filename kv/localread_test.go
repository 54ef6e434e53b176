package kv

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// interposed is an engine with something done after each record that is read.
type interposed struct {
	engine.Engine
	after func()
}

type interposedDB struct {
	engine.DB
	engine *interposed
}

func (e *interposed) Open() (engine.DB, error) {
	db, err := e.Engine.Open()
	return interposedDB{db, e}, err
}

func (db interposedDB) Get(key []byte) ([]byte, error) {
	value, err := db.DB.Get(key)
	db.engine.after()
	return value, err
}

// A read at level local may show more than it says that it reflects, and never less: what is applied while it reads is nothing that it shows.
func TestALocalReadClaimsNoLaterMomentThanItShows(t *testing.T) {
	reads := &interposed{Engine: memengine.New(), after: func() {}}
	s, err := store.Open(store.Options{Engine: reads, ManualFlush: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	n := newSolo(s)
	r := newRig(t, func(o *Options) { o.Store, o.Node = s, n })
	apply := func(c command.Command) {
		at := s.Applied().Index + 1
		_, err := s.Apply([]rpc.Entry{{Index: at, Term: 1, Kind: rpc.EntryCommand, Time: int64(at), Data: c.Encode()}})
		require.NoError(t, err)
	}
	put := func(value string) {
		apply(command.Command{Write: &command.Write{Bucket: "app", Key: "k", Value: []byte(value)}})
	}
	apply(command.Command{AddBucket: &command.AddBucket{Name: "app"}})
	put("first")
	for last := 1; ; last++ {
		count := 0
		reads.after = func() {
			if count++; count == last { // after each of the records that the read looks at
				put("next")
			}
		}
		answer, _, _ := r.service.getLocally(&call{bucket: "app", key: "k"}).read()
		if count < last {
			require.Greater(t, last, 2, "the key's record and its entry were read")
			return
		}
		reply := answer.(localReply)
		require.LessOrEqual(t, reply.Applied, reply.ClusterRevision, "each entry gives one revision")
	}
}

// The voters' clocks may be put back: what a read shows is then as new as can be, and not of the future.
func TestNoLocalReadIsOfTheFuture(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("kv.put.app.k", "v")
	r.node.behind.Store(int64(time.Hour))
	var reply localReply
	require.NoError(t, json.Unmarshal(r.ask("kv.get.app.k", "", headerRead, readLocal).Data, &reply))
	require.Equal(t, readLocal, reply.Read)
	require.Zero(t, reply.AgeMS)
}
