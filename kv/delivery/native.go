package delivery

// Native watches are consumers too: their records say so, and what was asked for.

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
)

// Native is the configuration of a native watch, as its record has it.
type Native struct {
	Keys        []string      `json:"keys,omitempty"` // patterns; none: all keys
	Policy      watch.Policy  `json:"policy,omitempty"`
	From        uint64        `json:"from,omitempty"` // the first revision wanted, for DeliverByStartSequence
	NoValues    bool          `json:"no_values,omitempty"`
	FlowControl bool          `json:"flow_control,omitempty"`
	Heartbeat   time.Duration `json:"heartbeat,omitempty"`
}

// nativeMark begins the configurations of native watches, and no other: clients of JetStream give theirs as JSON.
var nativeMark = []byte("native ")

// Config is the configuration as a record has it.
func (n Native) Config() ([]byte, error) {
	body, err := json.Marshal(n)
	return append(nativeMark[:len(nativeMark):len(nativeMark)], body...), err
}

const (
	// idleAfter is how long a native watch outlives its last subscriber.
	idleAfter = 5 * time.Second
	// heartbeatMax is for ever enough, and fits when it is added to a time.
	heartbeatMax = 100 * 365 * 24 * time.Hour
)

// nativeConfig reads a configuration; false if it is not that of a native watch.
func nativeConfig(record []byte) (config watch.Config, is bool, err error) {
	body, is := bytes.CutPrefix(record, nativeMark)
	if !is {
		return watch.Config{}, false, nil
	}
	var n Native
	if err := json.Unmarshal(body, &n); err != nil {
		return watch.Config{}, true, err
	}
	filter, err := subject.Parse(n.Keys...)
	return watch.Config{
		Native: true, Policy: n.Policy, StartSequence: n.From, Filter: filter, HeadersOnly: n.NoValues, FlowControl: n.FlowControl,
		Heartbeat: int64(min(n.Heartbeat, heartbeatMax)), Inactive: int64(idleAfter),
	}, true, err
}

// nativeEcho marks the records of native watches for their answers.
type nativeEcho struct{}

type nativeReply struct {
	Bucket          string `json:"bucket"`
	Watch           string `json:"watch"`
	Sequence        uint64 `json:"sequence"`
	Revision        uint64 `json:"revision"`
	ClusterRevision uint64 `json:"cluster_revision"` // at which the bucket was made: of one made anew it is another
	Pending         uint64 `json:"pending"`
}

// nativeState tells that a watch has begun: which number its events follow, the bucket's revision, which bucket of the name it is, and how many
// events are of what is there now.
func nativeState(s *watch.State) []byte {
	body, _ := json.Marshal(nativeReply{s.Record.Bucket, s.Record.Client(), s.Sequence, s.Record.Start, s.Record.Incarnation, s.Pending}) // never fails: numbers and names
	return body
}

// configOf reads what a consumer's record asks for.
func configOf(c *store.Consumer) (watch.Config, any, error) {
	if config, native, err := nativeConfig(c.Config); native {
		return config, nativeEcho{}, err
	}
	return jetStreamConfig(c)
}
