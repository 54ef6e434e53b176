package cluster

// One operation of a client through the native API, and what its answer means for a history (C5). An answer that means nothing is no unknown outcome: with those
// a history could be full of rubbish, and have one order all the same.

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/test/linear"
)

// Stable codes of the native API's errors (kv/ERRORS.md).
const (
	CodeNoBucket       = 30001
	CodeBucketExists   = 30002
	CodeKeyNotFound    = 30003
	CodeKeyExists      = 30004
	CodeWrongRevision  = 30005
	CodeBusy           = 30012
	CodeFull           = 30013
	CodeOutcomeUnknown = 30014
	CodeUnavailable    = 30015
	CodeReadFailed     = 30016
	CodeCompacted      = 30020
)

// Operate carries out one operation, once. Its key is "<bucket>.<key>", or a bucket's name. The connection has no buffer for when it is away.
func Operate(nc *nats.Conn, patience time.Duration, in linear.Input) linear.Output {
	m, err := nc.RequestMsg(asRequest(in), patience)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded):
		return linear.Output{Outcome: linear.NotDone}
	case err != nil:
		return linear.Output{Outcome: linear.Unknown}
	}
	return Understand(in, m.Data)
}

func asRequest(in linear.Input) *nats.Msg {
	switch in.Kind {
	case linear.MakeBucket:
		return nats.NewMsg("raftbus.bucket.add." + in.Key)
	case linear.RemoveBucket:
		return nats.NewMsg("raftbus.bucket.rm." + in.Key)
	}
	m := nats.NewMsg("raftbus.kv." + in.Kind.String() + "." + in.Key)
	switch in.Kind {
	case linear.Update:
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(in.Expected, 10))
		fallthrough
	case linear.Put, linear.Create:
		m.Data = []byte(in.Value)
	}
	if in.ID != "" {
		m.Header.Set(nats.MsgIdHdr, in.ID)
	}
	return m
}

// Understand says what an answer to an operation means.
func Understand(in linear.Input, answer []byte) linear.Output {
	var r Reply
	if err := json.Unmarshal(answer, &r); err != nil {
		return notUnderstood(answer)
	}
	if r.Error == nil {
		return done(in, r, answer)
	}
	outcome := refusal(in.Kind, r.Error.ErrCode)
	if outcome == linear.NotUnderstood {
		return notUnderstood(answer)
	}
	return linear.Output{Outcome: outcome, Said: r.Error.Text}
}

func notUnderstood(answer []byte) linear.Output {
	return linear.Output{Outcome: linear.NotUnderstood, Said: string(answer)}
}

// done is an answer without an error: it must name what was asked for, and its revisions.
func done(in linear.Input, r Reply, answer []byte) linear.Output {
	bucket, key, ofKey := strings.Cut(in.Key, ".")
	switch {
	case r.Bucket != bucket, r.Key != key, r.ClusterRevision == 0, ofKey != (r.Revision > 0), r.Duplicate && in.ID == "":
		return notUnderstood(answer)
	}
	return linear.Output{Found: in.Kind == linear.Get, Value: r.Value, Again: r.Duplicate, Revision: r.Revision, Cluster: r.ClusterRevision}
}

// refusal is what an error means for an operation; NotUnderstood if that has no such error.
func refusal(kind linear.Kind, code int) linear.Outcome {
	reads := kind == linear.Get
	switch code {
	case CodeBusy, CodeFull, CodeUnavailable: // ERRORS.md says so: if it was done all the same, the checker finds it
		return linear.NotDone
	case CodeNoBucket:
		return linear.NoBucket
	}
	switch {
	case code == CodeKeyNotFound && reads:
		return linear.Done
	case code == CodeReadFailed && reads:
		return linear.NotDone
	case code == CodeOutcomeUnknown && !reads:
		return linear.Unknown
	case code == CodeKeyNotFound && (kind == linear.Delete || kind == linear.Purge), code == CodeKeyExists && kind == linear.Create,
		code == CodeWrongRevision && kind == linear.Update, code == CodeBucketExists && kind == linear.MakeBucket:
		return linear.Refused
	}
	return linear.NotUnderstood
}
