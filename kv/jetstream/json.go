package jetstream

// How bodies are read and replies are written.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// bodyBytesMax bounds a JSON body. The largest that a KV client sends is a bucket's configuration.
const bodyBytesMax = 256 << 10

// typePrefix begins the type of every JSON reply.
const typePrefix = "io.nats.jetstream.api.v1."

// head is what every JSON reply begins with.
type head struct {
	Type  string    `json:"type"`
	Error *apiError `json:"error,omitempty"`
}

func headOf(verb verb) head { return head{Type: typePrefix + string(verb) + "_response"} }

// jsonReply writes a reply as nats-server does.
func jsonReply(body any) Reply {
	data, _ := json.Marshal(body) // never fails: plain fields, and what this wrote before
	return Reply{Data: data}
}

// refusal is an error as a JSON reply. Some replies have fields that they have in any case.
func refusal(verb verb, e *apiError) Reply {
	h := headOf(verb)
	h.Error = e
	switch verb {
	case streamPurge:
		return jsonReply(purgeReply{head: h})
	case streamInfo:
		return jsonReply(pagedRefusal{head: h})
	case streamNames, streamList:
		return jsonReply(streamsReply{head: h, Streams: noneOf(verb)})
	case consumerNames, consumerList:
		return jsonReply(consumersReply{head: h, Consumers: noneOf(verb)})
	}
	return jsonReply(h)
}

type pagedRefusal struct {
	head
	paged
}

// decode reads a body, of which nothing at all is an empty object. A field that is not known is an error, since it might change
// what is asked for, unless its value is false, 0 or empty: newer clients send those.
func decode(data []byte, into any) *apiError {
	if len(data) > bodyBytesMax {
		return errBadRequest.says("bad request: the body has %d bytes, and may have %d", len(data), bodyBytesMax)
	}
	err := decodeStrictly(data, into)
	if err != nil && strings.Contains(err.Error(), "unknown field") {
		if pruned, ok := pruned(data); ok {
			err = decodeStrictly(pruned, into)
		}
	}
	if err != nil {
		return errInvalidJSON.says("invalid JSON: %v", err)
	}
	return nil
}

func decodeStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	for {
		err := d.Decode(into)
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return fmt.Errorf("%w at offset %d", err, syntax.Offset)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pruned is the body without whatever means nothing: for the fields that are known, leaving them out says the same.
func pruned(data []byte) ([]byte, bool) {
	var body any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&body) != nil {
		return nil, false
	}
	data, err := json.Marshal(prune(body))
	return data, err == nil
}

func prune(v any) any {
	object, is := v.(map[string]any)
	if !is {
		return v
	}
	for name, value := range object {
		if value = prune(value); means(value) {
			object[name] = value
		} else {
			delete(object, name)
		}
	}
	return object
}

func means(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		n, err := v.Float64()
		return err != nil || n != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// optional reads a body that may be left out: whatever is neither an object nor a list is ignored, as nats-server does.
func (c call) optional(into any) *apiError {
	data := bytes.TrimLeft(c.Data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' && data[0] != '[' {
		return nil
	}
	return decode(c.Data, into)
}

// isEmpty reports whether a body says nothing.
func isEmpty(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	var body map[string]json.RawMessage
	return len(data) <= bodyBytesMax && json.Unmarshal(data, &body) == nil && len(body) == 0 && body != nil
}

// checkWord reports whether a word is one of the choices; none stands for the first. The error is that of JSON.
func checkWord(word *string, choices ...string) *apiError {
	if *word == "" {
		*word = choices[0]
	}
	if slices.Contains(choices, *word) {
		return nil
	}
	return errInvalidJSON.says("invalid JSON: can not unmarshal %q", strconv.Quote(*word))
}
