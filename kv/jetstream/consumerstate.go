package jetstream

// Consumers in the hub's terms, and what is told of them: section 7 of the specification.

import (
	"encoding/json"
	"math"
	"time"

	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
)

// ConsumerConfig reads the configuration of a consumer's record.
func ConsumerConfig(bucket string, record []byte) (watch.Config, error) {
	var c consumerConfig
	if err := json.Unmarshal(record, &c); err != nil {
		return watch.Config{}, err
	}
	filter, err := subject.Under(subjectPrefix+bucket, c.filters()...)
	if err != nil {
		return watch.Config{}, err
	}
	config := watch.Config{
		Policy: deliverPolicies[c.DeliverPolicy], StartSequence: c.OptStartSeq, Filter: filter, HeadersOnly: c.HeadersOnly, FlowControl: c.FlowControl, Durable: c.Durable != "" || c.acknowledges(),
		Heartbeat: int64(min(c.Heartbeat, ttlMax)), Inactive: int64(min(c.InactiveThreshold, thresholdMax)), // added to a time, they fit
	}
	if c.OptStartTime != nil {
		config.StartTime = nanosOf(*c.OptStartTime)
	}
	return config, nil
}

// nanosOf is a time as the log has it. One that it cannot have comes before, or after, all that it can.
func nanosOf(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// ConsumerEcho is what an answer about a consumer repeats: its configuration, and when it was made.
type ConsumerEcho struct {
	Config  json.RawMessage
	Created int64 // nanoseconds since 1970 UTC
}

// consumerInfoReply has the fields of nats-server, in its order.
type consumerInfoReply struct {
	Stream         string          `json:"stream_name"`
	Name           string          `json:"name"`
	Created        time.Time       `json:"created"`
	Config         json.RawMessage `json:"config"`
	Delivered      sequencePair    `json:"delivered"`
	AckFloor       sequencePair    `json:"ack_floor"`
	NumAckPending  int             `json:"num_ack_pending"`
	NumRedelivered int             `json:"num_redelivered"`
	NumWaiting     int             `json:"num_waiting"`
	NumPending     uint64          `json:"num_pending"`
	PushBound      bool            `json:"push_bound,omitempty"`
	Time           time.Time       `json:"ts"`
}

type sequencePair struct {
	Consumer uint64 `json:"consumer_seq"`
	Stream   uint64 `json:"stream_seq"`
}

type consumerReply struct {
	head
	consumerInfoReply
}

// ConsumerState is the answer of a consumer's host to whoever made it, or asked for its state.
func ConsumerState(s *watch.State, now time.Time) []byte {
	verb := consumerInfo
	if s.Made {
		verb = consumerCreate
	}
	if s.Missing {
		return refusal(verb, errUnavailable).Data // it went, or moved, while it was asked: who asks again is told which
	}
	echo, _ := s.Record.Echo.(ConsumerEcho)
	at := sequencePair{s.Sequence - s.Base, s.Stream} // clients add it to what is to come, and wait for so many messages
	return jsonReply(consumerReply{headOf(verb), consumerInfoReply{
		Stream: streamOf(s.Record.Bucket), Name: s.Record.Client(), Created: timeOf(echo.Created), Config: echo.Config, Delivered: at, AckFloor: at,
		NumWaiting: s.Pulls, NumPending: s.Pending, PushBound: s.Bound, Time: now.UTC(),
	}}).Data
}
