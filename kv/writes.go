package kv

// How messages become commands. Only what follows from the message alone is refused here.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// headerExpected carries the revision that the key's newest entry must have. The name is that of NATS.
const headerExpected = "Nats-Expected-Last-Subject-Sequence"

const (
	// headerMsgID has a write done once, however often it is sent within the bucket's window.
	headerMsgID = "Nats-Msg-Id"
	// headerTTL has a write's value end by itself.
	headerTTL = "Nats-TTL"
)

// headersRefused would change what a write means, and are for KV clients' subjects: to ignore one would break what its sender
// relies on.
var headersRefused = []string{
	"KV-Operation", "Nats-Rollup", "Nats-Expected-Stream", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Msg-Id",
}

func (s *Service) put(c *call) (plan, *failure) {
	expected, given, f := c.expected()
	if f != nil {
		return plan{}, f
	}
	return s.write(c, command.Write{Value: c.msg.Data}, expected, given)
}

func (s *Service) create(c *call) (plan, *failure) {
	if _, given, f := c.expected(); f != nil || given {
		return plan{}, BadRequest.says("create takes no header %s: it succeeds only if the key has no value", headerExpected)
	}
	return s.write(c, command.Write{Value: c.msg.Data}, 0, true)
}

func (s *Service) update(c *call) (plan, *failure) {
	expected, given, f := c.expected()
	if f != nil {
		return plan{}, f
	}
	if !given {
		return plan{}, BadRequest.says("update needs the header %s with the revision that the key has", headerExpected)
	}
	return s.write(c, command.Write{Value: c.msg.Data}, expected, true)
}

// delete of a key without a value is refused and writes nothing: whoever retries a delete learns that it was done.
func (s *Service) delete(c *call) (plan, *failure) {
	return s.remove(c, command.Write{Op: command.Delete, Condition: command.IfPresent})
}

// purge of a key drops its history too, also that of a key which was deleted. One that has no entry is refused.
func (s *Service) purge(c *call) (plan, *failure) {
	purging, f := s.remove(c, command.Write{Op: command.Purge, Rollup: command.RollupKey})
	if f != nil {
		return plan{}, f
	}
	return plan{writes: true, read: func() (any, *failure, *plan) {
		if err := s.purgeable(c); err != nil {
			return nil, readFailure(err, c), nil
		}
		return nil, nil, &purging
	}}, nil
}

// purgeable is nil if the key has an entry, or had one that a purge of the same message id dropped, whose own entry may have ended since (C4).
func (s *Service) purgeable(c *call) error {
	_, err := s.store.Last(c.bucket, c.key)
	id := c.msg.Header.Get(headerMsgID)
	if err != store.NoEntry || id == "" {
		return err
	}
	then, failed := s.store.Answered(c.bucket, id)
	switch {
	case failed != nil:
		return failed
	case then.Again:
		return nil
	}
	return err
}

// unlessDone is what comes of a write that is refused: what one of its message id was answered that was done (C4), or why it is refused.
func (s *Service) unlessDone(bucket, id string, refused *failure) (store.Result, *failure) {
	if id == "" {
		return store.Result{}, refused
	}
	switch then, err := s.store.Answered(bucket, id); {
	case err != nil && err != store.NoBucket:
		return then, ReadFailed.says("%v", err)
	case then.Again:
		return then, nil
	}
	return store.Result{}, refused
}

func (s *Service) remove(c *call, w command.Write) (plan, *failure) {
	expected, given, f := c.expected()
	if f != nil {
		return plan{}, f
	}
	if f := c.emptyBody(); f != nil {
		return plan{}, f
	}
	if given && expected == 0 {
		return plan{}, BadRequest.says("%s with the expected revision 0: a key without a value has nothing to lose", c.kind)
	}
	return s.write(c, w, expected, given)
}

// write completes a write: an expected revision of 0 means that the key has no value, as in create.
func (s *Service) write(c *call, w command.Write, expected uint64, given bool) (plan, *failure) {
	if f := s.checkWrite(c, &w); f != nil {
		return plan{}, f
	}
	w.Bucket, w.Key = c.bucket, c.key
	switch {
	case given && expected == 0:
		w.Condition = command.IfAbsent
	case given:
		w.Condition, w.Sequence = command.IfSequence, expected
	}
	done := func(result store.Result) any {
		return writeReply{c.bucket, c.key, result.Sequence, result.Revision, result.Again}
	}
	if f := s.valueTooLarge(c, len(w.Value)); f != nil { // each node knows what its NATS server said last, and another may have carried out a copy (C5)
		return plan{quick: true, writes: true, read: func() (any, *failure, *plan) {
			then, f := s.unlessDone(c.bucket, w.MsgID, f)
			return done(then), f, nil
		}}, nil
	}
	return plan{command: command.Command{Write: &w}.Encode(), done: done}, nil
}

// checkWrite reads a write's headers.
func (s *Service) checkWrite(c *call, w *command.Write) *failure {
	for _, header := range headersRefused {
		if len(c.msg.Header[header]) > 0 {
			return BadRequest.says("header %s is not for this subject: NATS KV clients use it on their own", header)
		}
	}
	if w.MsgID = c.msg.Header.Get(headerMsgID); len(w.MsgID) > command.MsgIDBytesMax {
		return BadRequest.says("header %s may have %d bytes, and has %d", headerMsgID, command.MsgIDBytesMax, len(w.MsgID))
	}
	if text := c.msg.Header.Get(headerTTL); text != "" {
		ttl, ok := jetstream.ParseTTL(text)
		if !ok {
			return BadRequest.says("header %s must be a time of 1s or more, such as 90s or 1h, or never, and is %q", headerTTL, text)
		}
		w.TTL = ttl
	}
	return nil
}

// valueTooLarge refuses a value of so many bytes that may not fit.
func (s *Service) valueTooLarge(c *call, size int) *failure {
	limit := s.valueMax(c)
	if size <= limit {
		return nil
	}
	remedy := ""
	if limit == int(s.maxPayload())-jetstream.PayloadReserve {
		remedy = ", or raise max_payload of the NATS server"
	}
	return TooLarge.says("the value has %d bytes, and %d are allowed: split it%s", size, limit, remedy)
}

// valueMax is the largest value that surely fits in a message to a client and in a command.
func (s *Service) valueMax(c *call) int {
	command := s.node.MaxCommandBytes() - len(c.bucket) - len(c.key) - command.MsgIDBytesMax - command.OverheadBytes
	return max(0, min(int(s.maxPayload())-jetstream.PayloadReserve, command))
}

// expected reads the expected revision, if one is given.
func (c *call) expected() (revision uint64, given bool, f *failure) {
	values := c.msg.Header[headerExpected]
	if len(values) == 0 {
		return 0, false, nil
	}
	revision, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil || len(values) > 1 {
		return 0, true, BadRequest.says("header %s must be one revision, and is %q", headerExpected, values)
	}
	return revision, true, nil
}

func (c *call) emptyBody() *failure {
	if len(c.msg.Data) > 0 {
		return BadRequest.says("%s takes no body", c.kind)
	}
	return nil
}

// json reads a body of JSON: nothing, or one object with known fields only.
func (c *call) json(into any, bytesMax int) *failure {
	body := bytes.TrimSpace(c.msg.Data)
	if len(body) == 0 {
		return nil
	}
	if len(body) > bytesMax {
		return BadRequest.says("the body may have %d bytes, and has %d", bytesMax, len(body))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && body[0] != '{' {
		err = errors.New("it is no object")
	}
	if err == nil {
		if _, next := d.Token(); next != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return BadRequest.says("the body must be empty or a JSON object: %v", err)
	}
	return nil
}
