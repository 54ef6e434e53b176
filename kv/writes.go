package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
)

// How messages become commands. Only what follows from the message alone is refused here.

// headerExpected carries the revision that the key's newest entry must have. The name is that of NATS.
const headerExpected = "Nats-Expected-Last-Subject-Sequence"

// headersRefused would change what a write means, and are not offered yet: to ignore one would break what its sender relies on.
var headersRefused = []string{
	"Nats-Msg-Id", "Nats-TTL", "KV-Operation", "Nats-Rollup",
	"Nats-Expected-Stream", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Msg-Id",
}

// busReserveBytes is what a value leaves free in a message of the bus, for all that is sent with it (design section 4).
const busReserveBytes = 8 << 10

// Bounds of a bucket's settings.
const (
	historyMax       = 64
	settingsBytesMax = 64 << 10 // as JSON
	descriptionMax   = 4 << 10
	metadataBytesMax = 16 << 10
)

func (s *Service) put(r *request) (work, *failure) {
	expected, given, f := r.expected()
	if f != nil {
		return work{}, f
	}
	return s.write(r, command.Write{Value: r.msg.Data}, expected, given)
}

func (s *Service) create(r *request) (work, *failure) {
	if _, given, f := r.expected(); f != nil || given {
		return work{}, BadRequest.says("create takes no header %s: it succeeds only if the key has no value", headerExpected)
	}
	return s.write(r, command.Write{Value: r.msg.Data}, 0, true)
}

func (s *Service) update(r *request) (work, *failure) {
	expected, given, f := r.expected()
	if f != nil {
		return work{}, f
	}
	if !given {
		return work{}, BadRequest.says("update needs the header %s with the revision that the key has", headerExpected)
	}
	return s.write(r, command.Write{Value: r.msg.Data}, expected, true)
}

// delete of a key without a value is refused and writes nothing: whoever retries a delete learns that it was done.
func (s *Service) delete(r *request) (work, *failure) {
	expected, given, f := r.expected()
	if f != nil {
		return work{}, f
	}
	if f := r.emptyBody(); f != nil {
		return work{}, f
	}
	w := command.Write{Op: command.Delete, Condition: command.IfPresent}
	if given && expected == 0 {
		return work{}, BadRequest.says("delete with the expected revision 0: a key without a value cannot be deleted")
	}
	return s.write(r, w, expected, given)
}

// write completes a write: an expected revision of 0 means that the key has no value, as in create.
func (s *Service) write(r *request, w command.Write, expected uint64, given bool) (work, *failure) {
	for _, header := range headersRefused {
		if len(r.msg.Header[header]) > 0 {
			return work{}, BadRequest.says("header %s is not offered by this version", header)
		}
	}
	if limit := s.valueMax(r); len(w.Value) > limit {
		return work{}, TooLarge.says("the value has %d bytes, and the bus allows %d", len(w.Value), limit)
	}
	w.Bucket, w.Key = r.bucket, r.key
	switch {
	case given && expected == 0:
		w.Condition = command.IfAbsent
	case given:
		w.Condition, w.Sequence = command.IfSequence, expected
	}
	done := func(result store.Result) any { return writeReply{r.bucket, r.key, result.Sequence, result.Revision} }
	return work{command: command.Command{Write: &w}.Encode(), done: done}, nil
}

// valueMax is the largest value that surely fits in a message to a client and in a command.
func (s *Service) valueMax(r *request) int {
	command := s.node.MaxCommandBytes() - len(r.bucket) - len(r.key) - command.OverheadBytes
	return max(0, min(int(s.conn.MaxPayload())-busReserveBytes, command))
}

// expected reads the expected revision, if one is given.
func (r *request) expected() (revision uint64, given bool, f *failure) {
	values := r.msg.Header[headerExpected]
	if len(values) == 0 {
		return 0, false, nil
	}
	revision, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil || len(values) > 1 {
		return 0, true, BadRequest.says("header %s must be one revision, and is %q", headerExpected, values)
	}
	return revision, true, nil
}

func (r *request) emptyBody() *failure {
	if len(r.msg.Data) > 0 {
		return BadRequest.says("%s takes no body", r.kind)
	}
	return nil
}

// settings is the body of bucket.add.
type settings struct {
	History      uint64            `json:"history"`
	MaxValueSize uint64            `json:"max_value_size"`
	MaxBytes     uint64            `json:"max_bytes"`
	Description  string            `json:"description"`
	Metadata     map[string]string `json:"metadata"`
}

func (s *Service) bucketAdd(r *request) (work, *failure) {
	body := settings{History: 1}
	if f := r.json(&body, settingsBytesMax); f != nil {
		return work{}, f
	}
	if f := body.check(); f != nil {
		return work{}, f
	}
	add := command.AddBucket{Name: r.bucket, Settings: command.Settings{
		History: body.History, MaxValueSize: body.MaxValueSize, MaxBytes: body.MaxBytes,
		Description: body.Description, Metadata: body.Metadata,
	}}
	return bucketWork(r, command.Command{AddBucket: &add}), nil
}

func (s *settings) check() *failure {
	if s.History < 1 || s.History > historyMax {
		return BadRequest.says("history must be 1 to %d, and is %d", historyMax, s.History)
	}
	if len(s.Description) > descriptionMax {
		return BadRequest.says("description may have %d bytes, and has %d", descriptionMax, len(s.Description))
	}
	size := 0
	for key, value := range s.Metadata {
		size += len(key) + len(value)
	}
	if size > metadataBytesMax {
		return BadRequest.says("metadata may have %d bytes in all, and has %d", metadataBytesMax, size)
	}
	return nil
}

func (s *Service) bucketRm(r *request) (work, *failure) {
	if f := r.emptyBody(); f != nil {
		return work{}, f
	}
	return bucketWork(r, command.Command{RemoveBucket: &command.RemoveBucket{Name: r.bucket}}), nil
}

func bucketWork(r *request, c command.Command) work {
	done := func(result store.Result) any { return bucketReply{r.bucket, result.Revision} }
	return work{command: c.Encode(), done: done}
}

// json reads a body of JSON: nothing, or one object with known fields only.
func (r *request) json(into any, bytesMax int) *failure {
	body := bytes.TrimSpace(r.msg.Data)
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

// respond publishes an answer, if one is wanted. The connection's own error handler tells of a broken connection, and the
// client's time-out tells the client.
func (s *Service) respond(m *nats.Msg) {
	if m.Subject == "" {
		return
	}
	if err := s.conn.PublishMsg(m); err != nil {
		s.logger.Debug("an answer could not be sent", "error", err)
	}
}
