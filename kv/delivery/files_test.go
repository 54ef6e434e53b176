package delivery

// Pages that meet too many open files (F21): a consumer whose page fails is removed, and a client without heartbeats would never hear of it (W2).

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/watch"
)

// short is an engine whose views read nothing as often as left says: no file can be opened.
type short struct {
	engine.Engine
	left *atomic.Int64
	err  error
}

func newShort() short { return short{memengine.New(), new(atomic.Int64), syscall.EMFILE} }

func (s short) Open() (engine.DB, error) {
	db, err := s.Engine.Open()
	return shortDB{db, s}, err
}

type shortDB struct {
	engine.DB
	short short
}

func (d shortDB) NewView() engine.View { return shortView{d.DB.NewView(), d.short} }

type shortView struct {
	engine.View
	short short
}

func (v shortView) Get(key []byte) ([]byte, error) {
	if v.short.left.Add(-1) >= 0 {
		return nil, v.short.err
	}
	return v.View.Get(key)
}

func TestAWatchOutlivesTooManyFiles(t *testing.T) {
	e := newShort()
	r := rigOn(t, e)
	r.solo.bucket("app")
	r.line.listen("deliver.c")
	r.solo.consumer("app", "first") // what is made after it is served at once
	r.line.await(t, "answer.first", 1)
	r.solo.put("app", "a", "one")
	r.solo.put("app", "b", "two")
	e.left.Store(2)
	r.solo.do(command.Command{AddConsumer: &command.AddConsumer{
		Bucket: "app", Name: "c", Host: "n1", Boot: 7, Deliver: "deliver.c", Answer: "answer.c", Config: []byte(`{"deliver_policy":"all"}`),
	}})
	require.Len(t, r.line.await(t, "deliver.c", 2), 2)
	require.Len(t, r.line.got("answer.c"), 1)
	r.solo.put("app", "c", "three")
	r.line.await(t, "deliver.c", 3)
	require.Negative(t, e.left.Load(), "there were too many")
	require.Empty(t, *r.idle.Load())
}

// waiting is what came of a page.
type waiting struct {
	watch.Page
	took            time.Duration
	warned, refused int // lines of the log
}

// reading reads a page in a service of which there is nothing else, while too many files are open so many times.
func reading(t *testing.T, e short, times int64, meanwhile func(*Service, *errand)) (w waiting) {
	synctest.Test(t, func(t *testing.T) {
		n := soloOn(t, e)
		n.bucket("app")
		n.put("app", "a", "one")
		e.left.Store(times)
		var log bytes.Buffer
		s := &Service{o: Options{Store: n.store, Logger: slog.New(slog.NewTextHandler(&log, nil))}, began: time.Now(), stop: make(chan struct{})}
		read := &errand{Read: watch.Read{Bucket: "app", EntriesMax: 9, BytesMax: 1 << 10}}
		began := time.Now()
		time.AfterFunc(10*retryAfter+retryAfter/2, func() { meanwhile(s, read) })
		w.Page = s.page(read)
		w.took = time.Since(began)
		w.warned, w.refused = strings.Count(log.String(), "WARN"), strings.Count(log.String(), "ERROR")
	})
	return w
}

func TestAPageWaitsWhileTooManyFilesAreOpen(t *testing.T) {
	const always = 1 << 40
	nothing := func(*Service, *errand) {}
	w := reading(t, newShort(), 20, nothing)
	require.Len(t, w.Entries, 1)
	require.Equal(t, waiting{w.Page, 20 * retryAfter, 1, 0}, w)
	w = reading(t, newShort(), always, nothing)
	require.Equal(t, waiting{watch.Page{Failed: true}, filesPatience, 1, 1}, w, "another node may have fewer open")
	w = reading(t, newShort(), always, func(_ *Service, read *errand) { read.dropped.Store(true) })
	require.Equal(t, waiting{watch.Page{Failed: true}, 11 * retryAfter, 1, 0}, w, "its reader serves the next")
	w = reading(t, newShort(), always, func(s *Service, _ *errand) { close(s.stop) })
	require.Equal(t, waiting{watch.Page{Failed: true}, 10*retryAfter + retryAfter/2, 1, 0}, w, "Close waits for it")
	e := newShort()
	e.err = syscall.EIO
	require.Equal(t, waiting{watch.Page{Failed: true}, 0, 0, 1}, reading(t, e, 1, nothing), "that does not pass")
}
