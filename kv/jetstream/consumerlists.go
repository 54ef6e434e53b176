package jetstream

// Lists of consumers.

import (
	"encoding/json"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
)

type consumersReply struct {
	head
	paged
	Consumers []json.RawMessage `json:"consumers"`
}

func (p *Protocol) consumerNames(c call) Plan {
	return c.consumers(namesMax, func(_ *store.Store, name string) (json.RawMessage, error) { return jsonReply(name).Data, nil })
}

// consumerList tells how consumers were made. How far they are only their hosts know: CONSUMER.INFO asks them.
func (p *Protocol) consumerList(c call) Plan {
	return c.consumers(listMax, func(s *store.Store, name string) (json.RawMessage, error) {
		consumer, err := s.Consumer(c.bucket, watch.In(c.account, name))
		if err != nil {
			return nil, err
		}
		return jsonReply(consumerInfoReply{
			Stream: streamOf(c.bucket), Name: name, Created: timeOf(consumer.Created), Config: toldConfig(consumer.Config), Time: c.Now.UTC(),
		}).Data, nil
	})
}

// toldConfig is a consumer's configuration in a list. That of a native watch is none of JetStream's, and must not spoil the list.
func toldConfig(record []byte) json.RawMessage {
	if json.Valid(record) {
		return record
	}
	return json.RawMessage("{}")
}

// consumers tells a page of a bucket's consumers.
func (c call) consumers(limit int, tell teller) Plan {
	var body pageRequest
	if e := c.optional(&body); e != nil {
		return c.refuse(e)
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
		page, told, err := c.fill(s, list, tell)
		if err != nil {
			return c.refuse(readError(err))
		}
		return answer(jsonReply(consumersReply{headOf(c.verb), page, told}))
	})
}
