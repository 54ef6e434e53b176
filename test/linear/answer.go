package linear

// What an answer of the native API means for a history (C5). One that means nothing is no unknown outcome: with those
// a history could be full of rubbish, and have one order all the same.

import (
	"encoding/json"
	"strings"
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

// Reply is what the native API answers.
type Reply struct {
	Bucket          string `json:"bucket"`
	Key             string `json:"key"`
	Revision        uint64 `json:"revision"`
	ClusterRevision uint64 `json:"cluster_revision"`
	Value           string `json:"value"`
	Duplicate       bool   `json:"duplicate"` // done before, under the same message id
	Error           *Error `json:"error"`
}

// Error is how it answers errors.
type Error struct {
	Code    int    `json:"code"`
	ErrCode int    `json:"err_code"`
	Text    string `json:"description"`
}

// Understand says what an answer to an operation means.
func Understand(in Input, answer []byte) Output {
	var r Reply
	if err := json.Unmarshal(answer, &r); err != nil {
		return notUnderstood(answer)
	}
	if r.Error == nil {
		return success(in, r, answer)
	}
	outcome := refusal(in.Kind, r.Error.ErrCode)
	if outcome == NotUnderstood {
		return notUnderstood(answer)
	}
	return Output{Outcome: outcome, Said: r.Error.Text}
}

func notUnderstood(answer []byte) Output {
	return Output{Outcome: NotUnderstood, Said: string(answer)}
}

// success is an answer without an error: it must name what was asked for, and its revisions.
func success(in Input, r Reply, answer []byte) Output {
	bucket, key, ofKey := strings.Cut(in.Key, ".")
	switch {
	case r.Bucket != bucket, r.Key != key, r.ClusterRevision == 0, ofKey != (r.Revision > 0), r.Duplicate && in.ID == "":
		return notUnderstood(answer)
	}
	return Output{Found: in.Kind == Get, Value: r.Value, Again: r.Duplicate, Revision: r.Revision, Cluster: r.ClusterRevision}
}

// refusal is what an error means for an operation; NotUnderstood if that has no such error.
func refusal(kind Kind, code int) Outcome {
	reads := kind == Get
	switch code {
	case CodeBusy, CodeFull, CodeUnavailable: // ERRORS.md says so: if it was done all the same, the checker finds it
		return NotDone
	case CodeNoBucket:
		return NoBucket
	}
	switch {
	case code == CodeKeyNotFound && reads:
		return Done
	case code == CodeReadFailed && reads:
		return NotDone
	case code == CodeOutcomeUnknown && !reads:
		return Unknown
	case code == CodeKeyNotFound && (kind == Delete || kind == Purge), code == CodeKeyExists && kind == Create,
		code == CodeWrongRevision && kind == Update, code == CodeBucketExists && kind == MakeBucket:
		return Refused
	}
	return NotUnderstood
}
