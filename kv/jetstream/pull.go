package jetstream

// Pull consumers: section 7.6 of the specification. Package watch serves the requests for messages; what they say is read and checked here.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
)

// waitingDefault is how many requests may wait at a pull consumer that does not say.
const waitingDefault = 512

// checkPull checks what only a pull consumer has, and what it cannot have.
func (c *consumerConfig) checkPull() *apiError {
	switch {
	case c.Heartbeat > 0:
		return errHeartbeatOfPull
	case c.FlowControl:
		return errFlowOfPull
	case c.MaxExpires != 0 && c.MaxExpires < time.Millisecond:
		return errSmallExpires
	}
	return nil
}

// isPull reports whether messages go to who asks for them.
func (c *consumerConfig) isPull() bool { return c.DeliverSubject == "" }

// deliver is the deliver subject in the record.
func (c *consumerConfig) deliver() string {
	if c.isPull() {
		return watch.PullDeliver
	}
	return c.DeliverSubject
}

// Pull has a pull consumer's host serve a request for messages. A plan with one has the answer that is given where the host cannot.
type Pull struct {
	Consumer store.Consumer
	Request  watch.Pulled
}

// consumerNext passes a request for messages on to the consumer's host. As on a real server a status is all that can be answered.
func (p *Protocol) consumerNext(c call) Plan {
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		consumer, err := s.Consumer(c.bucket, watch.Given(c.account, c.consumer))
		if err != nil {
			return answer(status(statusNone))
		}
		var config consumerConfig
		if consumer.Deliver != watch.PullDeliver || json.Unmarshal(consumer.Config, &config) != nil {
			return answer(status(statusPush))
		}
		request, refused := config.next(c.Data)
		if refused != "" {
			return answer(status(refused))
		}
		if request.Reply = c.Reply; !names.Literal(c.Reply) || len(c.Reply) > DeliverBytesMax || TooManyTokens(c.Reply) {
			return answer(status(fmt.Sprintf("400 Bad Request - the reply subject may have no wildcards, %d bytes and %d tokens", DeliverBytesMax, DeliverTokensMax)))
		}
		return Plan{Pull: &Pull{consumer, request}, Replies: []Reply{status(statusNone)}}
	})
}

// nextRequest is the body of CONSUMER.MSG.NEXT. What priority groups have beside means nothing without one.
type nextRequest struct {
	Expires       time.Duration `json:"expires"`
	Batch         int           `json:"batch"`
	MaxBytes      int           `json:"max_bytes"`
	NoWait        bool          `json:"no_wait"`
	Heartbeat     time.Duration `json:"idle_heartbeat"`
	MinPending    int64         `json:"min_pending"`
	MinAckPending int64         `json:"min_ack_pending"`
	ID            string        `json:"id"`
	Priority      int           `json:"priority"`
}

// next reads a request for messages: an object, a number, or nothing. What a consumer does not take is refused with a status.
func (c *consumerConfig) next(data []byte) (request watch.Pulled, refused string) {
	body, err := parseNext(data)
	if err != nil {
		return request, fmt.Sprintf("400 Bad Request - %v", err)
	}
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{c.MaxBatch > 0 && body.Batch > c.MaxBatch, fmt.Sprintf("409 Exceeded MaxRequestBatch of %d", c.MaxBatch)},
		{c.MaxExpires > 0 && body.Expires > c.MaxExpires, fmt.Sprintf("409 Exceeded MaxRequestExpires of %v", c.MaxExpires)},
		{c.MaxBytes > 0 && body.MaxBytes > c.MaxBytes, fmt.Sprintf("409 Exceeded MaxRequestMaxBytes of %v", c.MaxBytes)},
		{body.MinPending != 0 || body.MinAckPending != 0, "400 Bad Request - Not a Overflow Priority consumer"},
		{body.ID != "", "400 Bad Request - Not a Pinned Client Priority consumer"},
		{body.Priority < 0 || body.Priority > 9, "400 Bad Request - Priority must be between 0 and 9"},
	} {
		if wrong.is {
			return request, wrong.text
		}
	}
	return watch.Pulled{
		Batch: body.Batch, Bytes: max(body.MaxBytes, 0), NoWait: body.NoWait, Waiting: c.MaxWaiting,
		Expires: int64(min(body.Expires, ttlMax)), Heartbeat: int64(max(body.Heartbeat, 0)), // added to a time, they fit
	}, ""
}

// Forsaken is what is answered to a message that a node drops since it leads no more: to a request for messages that waits for as long as there are none.
// It changes nothing, so it may be carried out by another leader too, and its client may have no heartbeats. It is told what nats-server tells who waits
// then, on which clients ask again at once. Who wants what is there now does not wait in JetStream either, and some take any status for the end (nats.ex).
func Forsaken(subject string, data []byte) (r Reply, told bool) {
	if !strings.HasPrefix(subject, "$JS.") || !strings.Contains(subject, ".API.CONSUMER.MSG.NEXT.") {
		return r, false
	}
	body, err := parseNext(data)
	return status(statusDeposed), err == nil && (!body.NoWait || body.Expires > 0)
}

func parseNext(data []byte) (body nextRequest, err error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		body.Batch = 1
	case data[0] == '{':
		if err = json.Unmarshal(data, &body); err == nil && body.Heartbeat > 0 && body.Heartbeat > body.Expires/2 {
			err = errors.New("heartbeat value too large")
		}
	default:
		if body.Batch, err = strconv.Atoi(string(data)); err != nil {
			body.Batch, err = 1, nil
		}
	}
	return body, err
}
