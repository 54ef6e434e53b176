package kv

// Imports, for `raftbus import`: a bucket is begun with the configuration of the stream that it comes from, given entries in order of
// sequence, compared with what was given, and ended. Until then nobody else writes to it, and no put to the bare subject of its name is
// listened to: the JetStream that it comes from may still be at work in the same account.

import (
	"encoding/hex"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// Bounds of one request.
const (
	importConfigMax  = 64 << 10
	importEntriesMax = 1_000
)

// importReply is where an import has got to.
type importReply struct {
	Bucket          string `json:"bucket"`
	Revision        uint64 `json:"revision"` // that the bucket has reached
	ClusterRevision uint64 `json:"cluster_revision"`
	Again           bool   `json:"again,omitempty"` // it had been begun before
}

func importPlan(c *call, order command.Command) plan {
	done := func(r store.Result) any { return importReply{c.bucket, r.Sequence, r.Revision, r.Again} }
	return plan{command: order.Encode(), done: done, bucket: order.OfBucket()}
}

func (s *Service) importBegin(c *call) (plan, *failure) {
	if len(c.msg.Data) > importConfigMax {
		return plan{}, BadRequest.says("the body may have %d bytes, and has %d", importConfigMax, len(c.msg.Data))
	}
	settings, err := jetstream.ImportSettings(s.prefix, c.msg.Data)
	if err != nil {
		return plan{}, BadRequest.says("the bucket cannot be here as it is there: %v", err)
	}
	if !s.first() && settings.Republish != nil {
		return plan{}, BadRequest.says("%s", jetstream.RepublishElsewhere)
	}
	return importPlan(c, command.Command{AddBucket: &command.AddBucket{Name: c.bucket, Settings: settings, Importing: true}}), nil
}

// importEntries takes the command itself as its body: values are bytes, and many.
func (s *Service) importEntries(c *call) (plan, *failure) {
	switch entries, is := command.CountImport(c.msg.Data); {
	case !is:
		return plan{}, BadRequest.says("the body must be an Import of package command")
	case entries > importEntriesMax:
		return plan{}, BadRequest.says("the body may have %d entries, and has %d", importEntriesMax, entries)
	}
	order, err := command.Decode(c.msg.Data)
	switch i := order.Import; {
	case err != nil:
		return plan{}, BadRequest.says("the body must be an Import of package command: %v", err)
	case i.Bucket != c.bucket || i.Done:
		return plan{}, BadRequest.says("the body must be an Import into bucket %s that does not end it", c.bucket)
	}
	if f := revisionFits(order.Import.Last); f != nil {
		return plan{}, f
	}
	for i := range order.Import.Entries {
		if f := s.checkImport(&order.Import.Entries[i]); f != nil {
			return plan{}, f
		}
	}
	return importPlan(c, order), nil
}

// importRevisionMax leaves a bucket more revisions than it will ever give: after the last there is one that no entry may have, and no node
// could carry out what is written then.
const importRevisionMax = 1 << 62

func revisionFits(revision uint64) *failure {
	if revision > importRevisionMax {
		return BadRequest.says("revisions may be up to %d, and one is %d: copy the entries into a new bucket", uint64(importRevisionMax), revision)
	}
	return nil
}

// checkImport refuses what could not be read again, and revisions that leave no room.
func (s *Service) checkImport(e *command.ImportEntry) *failure {
	if f := revisionFits(e.Sequence); f != nil {
		return f
	}
	if !names.ValidSubject(e.Key) {
		return BadKey.says("%q", e.Key)
	}
	if !jetstream.ImportFits(e) {
		return BadRequest.says("revision %d of %s: its headers cannot be read, or say another operation than it is", e.Sequence, e.Key)
	}
	if size, limit := len(e.Header)+len(e.Value), int(s.maxPayload())-jetstream.PayloadReserve; size > limit {
		return TooLarge.says("revision %d of %s has %d bytes, and the bus allows %d: raise max_payload of the NATS server", e.Sequence, e.Key, size, limit)
	}
	return nil
}

func (s *Service) importEnd(c *call) (plan, *failure) {
	var body struct {
		Revision uint64 `json:"revision"`
	}
	if f := c.json(&body, pageBytesMax); f != nil {
		return plan{}, f
	}
	p := importPlan(c, command.Command{Import: &command.Import{Bucket: c.bucket, After: body.Revision, Done: true}})
	p.made = c.bucket // to its clients: no other JetStream may have the stream now
	return p, nil
}

// sumsReply tells what is kept, by revision and sum.
type sumsReply struct {
	Bucket  string  `json:"bucket"`
	Entries []sumOf `json:"entries"`
	More    bool    `json:"more,omitempty"`
	After   uint64  `json:"after,omitempty"`
}

type sumOf struct {
	Revision uint64 `json:"revision"`
	SHA256   string `json:"sha256"`
}

// sumBytesMax bounds one sum in a reply.
const sumBytesMax = 120

// importSums tells the sums of the entries after a revision.
func (s *Service) importSums(c *call) (plan, *failure) {
	page := historyRequest{Limit: importEntriesMax}
	if f := c.json(&page, pageBytesMax); f != nil {
		return plan{}, f
	}
	if page.Limit < 1 || page.Limit > importEntriesMax {
		return plan{}, BadRequest.says("limit must be 1 to %d, and is %d", importEntriesMax, page.Limit)
	}
	return plan{read: func() (any, *failure, *plan) {
		limit := min(page.Limit, max(1, (int(s.maxPayload())-2*replyMarginBytes)/sumBytesMax))
		found, err := s.store.Page(store.Query{Bucket: c.bucket, From: page.from(), Max: limit, MaxBytes: int(s.maxPayload())})
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		reply := sumsReply{Bucket: c.bucket, Entries: []sumOf{}, More: !found.Done}
		for _, e := range found.Entries {
			i := command.ImportEntry{Key: e.Key, Sequence: e.Sequence, Op: e.Op, Value: e.Value, Header: e.Header, TTL: e.TTL}
			sum := i.Sum()
			reply.Entries = append(reply.Entries, sumOf{e.Sequence, hex.EncodeToString(sum[:])})
		}
		if reply.More {
			reply.After = found.Next - 1
		}
		return reply, nil, nil
	}}, nil
}
