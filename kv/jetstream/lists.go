package jetstream

// What is told of all streams: the account, and lists.

import (
	"encoding/json"
	"errors"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
)

const (
	namesMax = 1024
	listMax  = 256
)

type pageRequest struct {
	Offset int `json:"offset"`
}

type streamsRequest struct {
	pageRequest
	Subject string `json:"subject"`
}

type streamsReply struct {
	head
	paged
	Streams []json.RawMessage `json:"streams"`
}

func (p *Protocol) streamNames(c call) Plan {
	return c.streams(namesMax, func(_ *store.Store, bucket string) (json.RawMessage, error) {
		return jsonReply(streamOf(bucket)).Data, nil
	})
}

func (p *Protocol) streamList(c call) Plan {
	return c.streams(listMax, func(s *store.Store, bucket string) (json.RawMessage, error) {
		info, err := s.State(bucket)
		if err != nil {
			return nil, err
		}
		return jsonReply(p.info(info, c.Now)).Data, nil
	})
}

// streams tells a page of the buckets that a request asks for.
func (c call) streams(limit int, tell teller) Plan {
	var body streamsRequest
	if e := c.optional(&body); e != nil {
		return c.refuse(e)
	}
	if len(body.Subject) > DeliverBytesMax { // it is compared with those of all buckets
		return c.refuse(errBadRequest.says("bad request: the subject has %d bytes, and may have %d", len(body.Subject), DeliverBytesMax))
	}
	return walking(func(s *store.Store, wanted func() bool) Plan {
		list := newListed(body.Offset, limit)
		err := eachBucket(s, wanted, func(name string) {
			if body.Subject == "" || subject.Overlap(body.Subject, subjectsOf(name)) {
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
		return answer(jsonReply(streamsReply{headOf(c.verb), page, told}))
	})
}

type accountReply struct {
	head
	Memory         uint64        `json:"memory"`
	Storage        uint64        `json:"storage"`
	ReservedMemory uint64        `json:"reserved_memory"`
	ReservedStore  uint64        `json:"reserved_storage"`
	Streams        uint64        `json:"streams"`
	Consumers      uint64        `json:"consumers"`
	Limits         accountLimits `json:"limits"`
	Domain         string        `json:"domain,omitempty"`
	API            apiStats      `json:"api"`
}

type accountLimits struct {
	MaxMemory            int  `json:"max_memory"`
	MaxStore             int  `json:"max_storage"`
	MaxStreams           int  `json:"max_streams"`
	MaxConsumers         int  `json:"max_consumers"`
	MaxAckPending        int  `json:"max_ack_pending"`
	MemoryMaxStreamBytes int  `json:"memory_max_stream_bytes"`
	StoreMaxStreamBytes  int  `json:"storage_max_stream_bytes"`
	MaxBytesRequired     bool `json:"max_bytes_required"`
}

type apiStats struct {
	Level  int    `json:"level"`
	Total  uint64 `json:"total"`
	Errors uint64 `json:"errors"`
}

// HeaderPrefix is in the answer to INFO, with the prefix of the cluster's subjects: so that a node knows its own cluster.
const HeaderPrefix = "Rb-Prefix"

func (p *Protocol) accountInfo(c call) Plan {
	return walking(func(s *store.Store, wanted func() bool) Plan {
		account := accountReply{head: headOf(c.verb), Domain: p.Domain, API: apiStats{Level: level}, Limits: accountLimits{-1, -1, -1, -1, -1, -1, -1, false}}
		if err := account.total(s, wanted); err != nil {
			return c.refuse(readError(err))
		}
		reply := jsonReply(account)
		reply.Header = map[string][]string{HeaderPrefix: {p.Prefix}}
		return answer(reply)
	})
}

// total adds up all buckets.
func (r *accountReply) total(s *store.Store, wanted func() bool) error {
	var failed error
	err := eachBucket(s, wanted, func(name string) {
		info, err := s.Bucket(name)
		switch {
		case err == nil:
			r.Streams++
			r.Storage += info.Bytes
			r.Consumers += info.Consumers
		case err != store.NoBucket: // else it went since the names were read
			failed = err
		}
	})
	return errors.Join(err, failed)
}
