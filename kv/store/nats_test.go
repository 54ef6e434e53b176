package store

// What expires when, and what it leaves, compared with a real NATS server: the same messages, and a look at both after a while. The
// store is told what time it is by the server's messages.

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
)

type lifetime struct {
	history   int
	ttl       time.Duration
	markerTTL time.Duration
	messages  []nats.Header
	looks     []time.Duration // after the last message
}

var lifetimes = map[string]lifetime{
	"a TTL raised to that of markers": {history: 5, markerTTL: 2 * time.Second, messages: []nats.Header{{"Nats-TTL": {"1s"}}}, looks: times(500, 2500, 4500)},
	"history 1 raises none":           {history: 1, markerTTL: 2 * time.Second, messages: []nats.Header{{"Nats-TTL": {"1"}}}, looks: times(500, 1500, 3500)},
	"the older value comes back":      {history: 5, markerTTL: time.Second, messages: []nats.Header{nil, {"Nats-TTL": {"1s"}}}, looks: times(500, 1500)},
	"purges leave no marker":          {history: 5, markerTTL: time.Second, messages: []nats.Header{nil, {"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}, "Nats-TTL": {"1s"}}}, looks: times(500, 1500)},
	"nor when they age":               {history: 5, ttl: time.Second, markerTTL: time.Second, messages: []nats.Header{{"KV-Operation": {"PURGE"}}}, looks: times(500, 1500)},
	"a purge without rollup":          {history: 5, markerTTL: time.Second, messages: []nats.Header{nil, {"KV-Operation": {"PURGE"}}}, looks: times(100)},
	"deletes leave one":               {history: 5, ttl: time.Second, markerTTL: 2 * time.Second, messages: []nats.Header{nil, nil, {"KV-Operation": {"DEL"}}}, looks: times(500, 1500, 4500)},
	"a marker ages too":               {history: 5, ttl: time.Second, markerTTL: 9 * time.Second, messages: []nats.Header{nil}, looks: times(500, 1500, 2500)},
	"without markers":                 {history: 5, ttl: time.Second, messages: []nats.Header{nil, {"Nats-TTL": {"never"}}, nil}, looks: times(500, 1500)},
	"the earlier wins":                {history: 5, ttl: 2 * time.Second, messages: []nats.Header{{"Nats-TTL": {"1s"}}, {"Nats-TTL": {"3s"}}}, looks: times(500, 1500, 2500)},
	"a marker of odd time":            {history: 1, markerTTL: 1500 * time.Millisecond, messages: []nats.Header{{"Nats-TTL": {"1s"}}}, looks: times(500, 1500)},
	"a TTL that is a minute":          {history: 5, markerTTL: time.Hour, messages: []nats.Header{{"A": {"b"}, "Nats-TTL": {"1m"}}}, looks: times(500)},
}

func times(milliseconds ...int) (list []time.Duration) {
	for _, ms := range milliseconds {
		list = append(list, time.Duration(ms)*time.Millisecond)
	}
	return list
}

// stored is a message as either has it. The client sends headers in any order.
type stored struct {
	Sequence uint64
	Header   []string
	Time     time.Time
}

func newStored(sequence uint64, header []byte, at time.Time) stored {
	lines := strings.Split(string(header), "\r\n")
	slices.Sort(lines)
	return stored{sequence, lines, at}
}

func TestWhatExpiresIsAsOfANATSServer(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(10*time.Second))
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	number := 0
	t.Run("lifetimes", func(t *testing.T) {
		for name, l := range lifetimes {
			number++
			stream := fmt.Sprintf("S%d", number)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l.compare(t, nc, stream)
			})
		}
	})
}

func ask(t *testing.T, nc *nats.Conn, subject string, body, into any) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	reply, err := nc.Request(subject, data, 5*time.Second)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(reply.Data, into))
}

// What the server has expires by the real clock. Both are compared if it has all messages, and was looked at, within sentMax of the first, when nothing
// is over yet; and if no later look is late by more than lateMax. Else they live through it anew, for triesMax at most.
const (
	sentMax  = 400 * time.Millisecond
	lateMax  = 200 * time.Millisecond
	triesMax = 2 * time.Minute
)

// compared is what both have at a time.
type compared struct {
	theirs, ours []stored
	what         string
}

// compare compares both, again where the machine took its time.
func (l *lifetime) compare(t *testing.T, nc *nats.Conn, stream string) {
	for began, tries := time.Now(), 0; !l.compareOnce(t, nc, fmt.Sprintf("%s-%d", stream, tries)); tries++ {
		require.Less(t, time.Since(began), triesMax, "this machine is too busy to tell")
	}
}

// compareOnce reports whether the machine was on time.
func (l *lifetime) compareOnce(t *testing.T, nc *nats.Conn, stream string) bool {
	stalls := stalltest.During(t)
	list, onTime := l.live(t, nc, stream)
	differs := slices.ContainsFunc(list, func(c compared) bool { return !reflect.DeepEqual(c.theirs, c.ours) })
	if !onTime || differs && stalls.Longest() >= lateMax {
		return false
	}
	for _, c := range list {
		require.Equal(t, c.theirs, c.ours, c.what)
	}
	return true
}

// live has both live through it, with a new stream, and returns what they had then. onTime: it was looked when it was to be.
func (l *lifetime) live(t *testing.T, nc *nats.Conn, stream string) (list []compared, onTime bool) {
	l.make(t, nc, stream)
	f := open(t, newMemory())
	defer f.close()
	settings := command.Settings{History: uint64(l.history), TTL: l.ttl, MarkerTTL: l.markerTTL, AllowTTL: true}
	l.apply(f, 1, addBucket("app", settings))
	var first, last time.Time // when the server had them
	for i, h := range l.messages {
		reply, err := nc.RequestMsg(&nats.Msg{Subject: stream + ".k", Header: h}, 5*time.Second)
		require.NoError(t, err)
		require.NotContains(t, string(reply.Data), "error")
		messages := serverHas(t, nc, stream)
		if len(messages) == 0 { // it is over by now
			return nil, false
		}
		if last = messages[len(messages)-1].Time; i == 0 {
			first = last
		}
		if time.Since(first) > sentMax {
			return nil, false
		}
		l.apply(f, last.UnixNano(), write(asWrite(t, h)))
		list = append(list, compared{messages, l.storeHas(f), "at once"})
	}
	for _, look := range l.looks {
		at := last.Add(look)
		time.Sleep(time.Until(at)) // the server's clock is the time: there is nothing to wait for but it
		if time.Since(at) > lateMax {
			return nil, false
		}
		l.expire(t, f, last, at)
		theirs, ours := serverHas(t, nc, stream), l.storeHas(f)
		for range 40 { // the server is not always quick, nor is the machine: then both go on
			if slices.EqualFunc(theirs, ours, stored.is) {
				break
			}
			time.Sleep(10 * time.Millisecond)
			l.expire(t, f, at, time.Now())
			theirs, ours = serverHas(t, nc, stream), l.storeHas(f)
		}
		list = append(list, compared{withoutTime(theirs), withoutTime(ours), look.String()})
	}
	return list, true
}

// make makes the server's stream.
func (l *lifetime) make(t *testing.T, nc *nats.Conn, stream string) {
	var made struct{ Error *server.ApiError }
	config := map[string]any{
		"name": stream, "subjects": []string{stream + ".>"}, "max_msgs_per_subject": l.history, "max_age": l.ttl, "allow_msg_ttl": true,
		"allow_rollup_hdrs": true, "storage": "memory",
	}
	if l.markerTTL > 0 {
		config["subject_delete_marker_ttl"] = l.markerTTL
	}
	ask(t, nc, "$JS.API.STREAM.CREATE."+stream, config, &made)
	require.Nil(t, made.Error)
}

// expire has what is over by a time expire, as the leader does, which looks every 10 ms.
func (l *lifetime) expire(t *testing.T, f feeder, from, to time.Time) {
	for now := from.UnixNano(); now <= to.UnixNano(); now += int64(10 * time.Millisecond) {
		items, err := f.store.Due(now, 100)
		require.NoError(t, err)
		l.apply(f, now, command.Command{Expire: &command.Expire{Items: items}})
	}
}

// apply applies a command at a time.
func (l *lifetime) apply(f feeder, at int64, c command.Command) {
	index := f.store.Applied().Index + 1
	results, err := f.store.Apply([]rpc.Entry{{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: at, Data: c.Encode()}})
	require.NoError(f.t, err)
	require.Equal(f.t, Done, results[0].(Result).Code)
}

// asWrite is a message as the JetStream door makes a command of it.
func asWrite(t *testing.T, h nats.Header) command.Write {
	w := command.Write{Bucket: "app", Key: "k"}
	if h != nil {
		m := nats.Msg{Subject: "x", Header: h}
		w.Header = []byte("NATS/1.0\r\n")
		for _, name := range []string{"A", "KV-Operation", "Nats-Rollup", "Nats-TTL"} {
			if value := m.Header.Get(name); value != "" {
				w.Header = fmt.Appendf(w.Header, "%s: %s\r\n", name, value)
			}
		}
		w.Header = append(w.Header, "\r\n"...)
	}
	switch h.Get("KV-Operation") {
	case "PURGE":
		w.Op = command.Purge
	case "DEL":
		w.Op = command.Delete
	}
	if h.Get("Nats-Rollup") == "sub" {
		w.Rollup = command.RollupKey
	}
	w.TTL = map[string]time.Duration{"": 0, "1": time.Second, "1s": time.Second, "3s": 3 * time.Second, "1m": time.Minute, "never": command.Never}[h.Get("Nats-TTL")]
	return w
}

func serverHas(t *testing.T, nc *nats.Conn, stream string) []stored {
	list := []stored{}
	for from := uint64(1); ; {
		var reply struct {
			Message *struct {
				Sequence uint64    `json:"seq"`
				Header   []byte    `json:"hdrs"`
				Time     time.Time `json:"time"`
			}
		}
		ask(t, nc, "$JS.API.STREAM.MSG.GET."+stream, map[string]any{"seq": from, "next_by_subj": stream + ".k"}, &reply)
		if reply.Message == nil {
			return list
		}
		list = append(list, newStored(reply.Message.Sequence, reply.Message.Header, reply.Message.Time))
		from = reply.Message.Sequence + 1
	}
}

func (l *lifetime) storeHas(f feeder) []stored {
	page, err := f.store.Page(Query{Bucket: "app", Max: 100, MaxBytes: 1 << 20})
	require.NoError(f.t, err)
	list := []stored{}
	for _, e := range page.Entries {
		list = append(list, newStored(e.Sequence, e.Header, time.Unix(0, e.Time).UTC()))
	}
	return list
}

// is reports whether both are one message, whenever it came.
func (s stored) is(other stored) bool {
	return s.Sequence == other.Sequence && slices.Equal(s.Header, other.Header)
}

func withoutTime(list []stored) []stored {
	for i := range list {
		list[i].Time = time.Time{}
	}
	return list
}
