package kv

import "sync/atomic"

// refusals bounds the requests that wait to be told 'busy' or 'full'. A burst, as of a program that sends all it has at once, hears of each that it was not
// done; who keeps asking for several times of what the cluster does does not have the leader do nothing but refuse. Beyond the bounds a request hears nothing, and counts as
// unanswered.
type refusals struct {
	waiting atomic.Int64 // for the leader to be confirmed, and to be sent
	left    atomic.Int64 // how many may be begun until more are granted
}

const (
	// refusalsMax bounds those that wait, and a burst.
	refusalsMax = 16_384
	// refusalsGrant is how many more may be begun with each look of the keeper: in all 10,240 a second.
	refusalsGrant = 1_024
)

func (r *refusals) begin() bool {
	if r.left.Add(-1) < 0 {
		r.left.Add(1)
		return false
	}
	if r.waiting.Add(1) > refusalsMax {
		r.waiting.Add(-1)
		return false
	}
	return true
}

func (r *refusals) end() { r.waiting.Add(-1) }

// grant is the keeper's.
func (r *refusals) grant() { r.left.Add(min(refusalsGrant, refusalsMax-r.left.Load())) }
