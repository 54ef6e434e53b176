package jetstream

// Lists of consumers.

import (
	"encoding/json"

	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
)

type consumersReply struct {
	head
	paged
	Consumers []string `json:"consumers"`
}

func (p *Protocol) consumerNames(c call) Plan {
	return c.consumers(namesMax, func(_ *store.Store, page paged, list []string) Plan {
		reply := consumersReply{headOf(c.verb), page, []string{}}
		room := c.room()
		for _, name := range list {
			if room -= names.JSONBytesMax(name) + len(","); room < 0 {
				reply.Limit = len(reply.Consumers)
				break
			}
			reply.Consumers = append(reply.Consumers, name)
		}
		return answer(jsonReply(reply))
	})
}

type consumerListReply struct {
	head
	paged
	Consumers []json.RawMessage `json:"consumers"`
}

// consumerList tells how consumers were made. How far they are only their hosts know: CONSUMER.INFO asks them.
func (p *Protocol) consumerList(c call) Plan {
	return c.consumers(listMax, func(s *store.Store, page paged, list []string) Plan {
		reply := consumerListReply{headOf(c.verb), page, []json.RawMessage{}}
		room := c.room()
		for _, name := range list {
			consumer, err := s.Consumer(c.bucket, watch.In(c.account, name))
			if err == store.NoConsumer || err == store.NoBucket {
				continue // it went since the names were read
			}
			if err != nil {
				return c.refuse(readError(err))
			}
			text := jsonReply(consumerInfoReply{
				Stream: streamOf(c.bucket), Name: name, Created: timeOf(consumer.Created), Config: toldConfig(consumer.Config), Time: c.Now.UTC(),
			}).Data
			if room -= len(text) + len(","); room < 0 && len(reply.Consumers) > 0 {
				reply.Limit = len(reply.Consumers)
				break
			}
			reply.Consumers = append(reply.Consumers, text)
		}
		return answer(jsonReply(reply))
	})
}

// toldConfig is a consumer's configuration in a list. That of a native watch is none of JetStream's, and must not spoil the list.
func toldConfig(record []byte) json.RawMessage {
	if json.Valid(record) {
		return record
	}
	return json.RawMessage("{}")
}

// consumers finds a page of a bucket's consumers.
func (c call) consumers(limit int, reply func(*store.Store, paged, []string) Plan) Plan {
	var body listRequest
	if hasBody(c.Data) {
		if e := decode(c.Data, &body); e != nil {
			return c.refuse(e)
		}
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	return walking(func(s *store.Store, wanted func() bool) Plan {
		list := newListed(body.Offset, limit)
		read := func(after string) (store.Page, error) { return s.ConsumerNames(c.bucket, after, namesAt) }
		err := each(read, wanted, func(recorded string) {
			if name, account := watch.Parted(recorded); account == c.account { // made in this account, as it knows it
				list.take(name)
			}
		})
		if err != nil {
			return c.refuse(readError(err))
		}
		return reply(s, list.page(), list.names)
	})
}
