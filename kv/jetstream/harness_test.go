package jetstream

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// world carries plans out as package kv does, on a store in memory whose clock is the test's.
type world struct {
	*testing.T
	*Protocol
	store *store.Store
	index rpc.Index
	now   time.Time
	host  func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) // nil: no node serves consumers
	asked *Ask                                                  // what the last request had a consumer's host asked
	pulls *Pull                                                 // what it had one send
}

func newWorld(t *testing.T) *world {
	s, err := store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &world{T: t, Protocol: &Protocol{Prefix: "raftbus", Domain: "dom", Node: "n1"}, store: s, now: time.Unix(1_000_000, 0)}
}

// payloadMax is what messages of the tests may hold.
const payloadMax = 1 << 20

// send carries a request out, and returns what is answered.
func (w *world) send(subject, body string, headers ...string) []Reply {
	r := Request{Subject: subject, Data: []byte(body), Now: w.now, PayloadMax: payloadMax, Reply: "_INBOX.reply", Host: w.host}
	for i := 0; i < len(headers); i += 2 {
		if r.Header == nil {
			r.Header = map[string][]string{}
		}
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	return w.carryOut(w.Plan(r))
}

func (w *world) carryOut(p Plan) (sent []Reply) {
	for steps := 0; ; steps++ {
		require.Less(w, steps, 100, "a plan without end")
		switch {
		case p.Look != nil:
			p = p.Look(w.store)
		case p.Tell != nil:
			p = p.Tell(w.store.Last(p.Newest.Bucket, p.Newest.Key))
		case p.Search != nil:
			p = p.Search(w.store, always)
		case p.Stream != nil:
			p = p.Stream(w.store, always, func(page []Reply) bool {
				sent = append(sent, page...)
				return true
			})
		case p.Write != nil:
			p = p.Write.Done(w.store, w.apply(p.Write.Command.Encode()))
		default:
			if w.asked, w.pulls = p.Ask, p.Pull; p.Pull != nil || p.Ask != nil {
				return nil
			}
			return append(sent, p.Replies...)
		}
	}
}

func (w *world) apply(command []byte) store.Result {
	w.index++
	w.now = w.now.Add(time.Second)
	results, err := w.store.Apply([]rpc.Entry{{Index: w.index, Term: 1, Kind: rpc.EntryCommand, Time: w.now.UnixNano(), Data: command}})
	require.NoError(w, err)
	return results[0].(store.Result)
}

// ask requires one answer.
func (w *world) ask(subject, body string, headers ...string) Reply {
	w.Helper()
	replies := w.send(subject, body, headers...)
	require.Len(w, replies, 1, subject)
	return replies[0]
}

// says requires an answer with these bytes.
func (w *world) says(want, subject, body string, headers ...string) {
	w.Helper()
	reply := w.ask(subject, body, headers...)
	require.Empty(w, reply.Status, subject)
	require.Equal(w, want, string(reply.Data), subject)
}

// has requires an answer with these fields in JSON.
func (w *world) has(want, subject, body string, headers ...string) {
	w.Helper()
	reply := w.ask(subject, body, headers...)
	var wanted, got map[string]any
	require.NoError(w, json.Unmarshal([]byte(want), &wanted))
	require.NoError(w, json.Unmarshal(reply.Data, &got), "%s: %s", subject, reply.Data)
	for name := range got {
		if _, is := wanted[name]; !is {
			delete(got, name)
		}
	}
	require.Equal(w, wanted, got, "%s %s", subject, body)
}

// status requires an answer that is a status line.
func (w *world) status(want, subject, body string, headers ...string) {
	w.Helper()
	reply := w.ask(subject, body, headers...)
	require.Equal(w, Reply{Status: want}, reply, subject)
}

// refused requires an error in JSON, and no more fields than it must have.
func (w *world) refused(e *apiError, subject, body string, headers ...string) {
	w.Helper()
	reply := w.ask(subject, body, headers...)
	var got struct {
		Error *apiError `json:"error"`
	}
	require.NoError(w, json.Unmarshal(reply.Data, &got), "%s: %s", subject, reply.Data)
	require.Equal(w, e, got.Error, "%s %s %v", subject, body, headers)
}

// bucket makes a bucket as nats.go does, with changes of its configuration.
func (w *world) bucket(name string, changes ...string) {
	w.Helper()
	w.has(`{"did_create":true}`, "STREAM.CREATE.KV_"+name, config(name, changes...))
}

// config is what nats.go sends for a bucket, with changes.
func config(bucket string, changes ...string) string {
	fields := []string{
		`"name":"KV_` + bucket + `"`, `"subjects":["$KV.` + bucket + `.>"]`, `"retention":"limits"`, `"max_consumers":-1`, `"max_msgs":-1`, `"max_bytes":-1`,
		`"discard":"new"`, `"max_age":0`, `"max_msgs_per_subject":1`, `"max_msg_size":-1`, `"storage":"file"`, `"num_replicas":1`,
		`"duplicate_window":120000000000`, `"deny_delete":true`, `"allow_rollup_hdrs":true`, `"compression":"none"`, `"allow_direct":true`,
		`"mirror_direct":false`, `"consumer_limits":{}`,
	}
	var kept []string
	for _, field := range fields {
		name, _, _ := strings.Cut(field, ":")
		changed := false
		for _, change := range changes {
			changed = changed || strings.HasPrefix(change, name+":")
		}
		if !changed {
			kept = append(kept, field)
		}
	}
	return "{" + strings.Join(append(kept, changes...), ",") + "}"
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
