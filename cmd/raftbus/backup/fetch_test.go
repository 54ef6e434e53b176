package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/kv/command"
)

// deaf is a node that loses questions: each chunk is given once it was asked for so often.
type deaf struct {
	mu    sync.Mutex
	asked map[int]int
	gives map[int]int // zero: never
}

func (d *deaf) handle(m *nats.Msg) {
	var q question
	_ = json.Unmarshal(m.Data, &q)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked[q.Chunk]++; d.asked[q.Chunk] == d.gives[q.Chunk] {
		_ = m.Respond([]byte{byte(q.Chunk)})
	}
}

// heard is how often it was asked for each chunk until now.
func (d *deaf) heard(t *testing.T, from *nats.Conn) (list []int) {
	t.Helper()
	require.NoError(t, from.PublishRequest(Subject("raftbus", "n1"), "nowhere", []byte(`{"chunk":99}`)))
	require.Eventually(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.asked[99] == 0 {
			return false
		}
		delete(d.asked, 99)
		list = list[:0]
		for k := range len(d.asked) {
			list = append(list, d.asked[k])
		}
		return true
	}, 10*time.Second, time.Millisecond)
	return list
}

// A silence makes the next one longer, and has what was under way then asked for again as soon as the way is known to be open, once: else each of
// those chunks would cost a silence of its own, or all of them be asked for with each that comes.
func TestWhatWasUnderWayAtASilenceIsAskedForOnceMore(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t, embedded.Options{})
	connect := func() *nats.Conn {
		return natstest.Connect(t, server)
	}
	client, listening := connect(), connect()
	node := &deaf{asked: map[int]int{}, gives: map[int]int{0: 3, 1: 2}}
	_, err := listening.Subscribe(Subject("raftbus", "n1"), node.handle)
	require.NoError(t, err)
	require.NoError(t, listening.Flush())
	f, err := Source{Conn: client, Prefix: "raftbus", Node: "n1", Patience: time.Minute, wait: 20 * time.Millisecond}.follow(&begun{Ahead: 4})
	require.NoError(t, err)
	defer f.close()
	_, err = f.chunk(t.Context(), 0)
	require.NoError(t, err)
	require.Greater(t, f.wait, f.first, "there were silences")
	require.Equal(t, []int{2, 2, 2}, node.heard(t, client)[1:], "what was lost too")
	f.wait = time.Minute
	_, err = f.chunk(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 2, 1}, node.heard(t, client)[1:], "they are on their way, and another is asked for")
}

// While records of the base pass that are gone, and nothing of the state is asked for, the node hears that the backup goes on: else it would let go of the
// state of an increment over a large bucket that was removed.
func TestANodeIsNotForgottenWhileTheBasePasses(t *testing.T) {
	w := newWorld(t)
	w.fill(100, 10)
	base := w.file(nil)
	w.apply(command.Command{RemoveBucket: &command.RemoveBucket{Name: "app"}})
	asked, err := w.conn.SubscribeSync(Subject("raftbus", "n1"))
	require.NoError(t, err)
	s := w.source()
	s.Base, s.stay = bytes.NewReader(base), -1
	_, err = s.Fetch(t.Context(), io.Discard, quiet)
	require.NoError(t, err)
	again := 0
	for {
		m, err := asked.NextMsg(10 * time.Second)
		require.NoError(t, err)
		var q question
		require.NoError(t, json.Unmarshal(m.Data, &q))
		if q.Over {
			break
		}
		if q.Backup != "" && q.Chunk == 0 {
			again++
		}
	}
	require.Greater(t, again, 100, "one for each record, and one for the chunk")
}

// What came is held against what the node says that it sent (D1).
func TestWhatTheNodeDidNotSendIsNoBackup(t *testing.T) {
	w := newWorld(t)
	for sent, want := range map[string]error{"the state": nil, "another state": ErrBadFile} {
		sub, err := w.conn.Subscribe(Subject("raftbus", "n2"), func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Data: []byte("the state"), Header: nats.Header{headerDigest: {fmt.Sprintf("%x", sha256.Sum256([]byte(sent)))}}})
		})
		require.NoError(t, err)
		s := w.source()
		s.Node = "n2"
		require.ErrorIs(t, s.chunks(t.Context(), &begun{Ahead: 1}, io.Discard), want)
		require.NoError(t, sub.Unsubscribe())
	}
}

// What an increment lacks is in its base: a base of another cluster, or of a later moment, has other things.
func TestABaseIsOfTheSameClusterAndNotLater(t *testing.T) {
	base := &Head{Cluster: "a", Index: 7}
	for _, c := range []struct {
		head Head
		want error
	}{
		{Head{Cluster: "a", Index: 7}, nil},
		{Head{Cluster: "a", Index: 8}, nil},
		{Head{Cluster: "a", Index: 6}, ErrBase},
		{Head{Cluster: "b", Index: 8}, ErrBase},
	} {
		require.ErrorIs(t, fits(base, &c.head), c.want)
	}
	behind, ahead := newWorld(t), newWorld(t)
	ahead.fill(1, 10)
	s := behind.source() // it need not have reached any entry
	s.Base = bytes.NewReader(ahead.file(nil))
	var out bytes.Buffer
	_, err := s.Fetch(t.Context(), &out, quiet)
	require.ErrorIs(t, err, ErrBase)
	require.Zero(t, out.Len())
}
