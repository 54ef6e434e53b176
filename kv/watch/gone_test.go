package watch

// Buckets that are removed: what that costs, and whom it concerns.

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// All nodes hear of each bucket that is removed, and clients may add and remove empty ones as fast as they like: the consumers of others are not looked through.
func TestWhoseBucketStaysIsNotLookedAt(t *testing.T) { // Q12, L9
	var made, gone []Change
	for i := range 50_000 {
		name := fmt.Sprint(i)
		made = append(made, Placed{Record{Ref: Ref{testBucket, name}, Bucket: "b", Host: "n1", Boot: 1, Created: 1, Changed: 1, Deliver: name}})
	}
	for i := range uint64(10_000) {
		gone = append(gone, BucketGone{testBucket + 1 + i})
	}
	p, h, index := NewPlacer("n1"), New("n1", 1, DefaultLimits()), uint64(0)
	for about, apply := range map[string]func([]Change){
		"placer": p.Apply,
		"hub":    func(list []Change) { index++; h.Step(second, 1<<20, Applied{index, list}) },
	} {
		took := func(list []Change) time.Duration {
			began := time.Now()
			apply(list)
			return time.Since(began)
		}
		place := took(made)
		require.Less(t, took(gone), place+time.Second, "%s: as many are looked through in vain as there are", about)
	}
	require.Equal(t, []int{50_000, 50_000}, []int{p.Consumers(), h.Serving()})
}

// With a bucket its consumers go, and nobody else's.
func TestConsumersGoWithTheirBucket(t *testing.T) {
	o, p := newHost(t, 1), NewPlacer("n1")
	var made []Change
	for i := range uint64(6) {
		made = append(made, Placed{Record{Ref: Ref{testBucket + i%2, fmt.Sprint(i)}, Bucket: "b", Host: "n1", Boot: 1, Created: 1 + i, Changed: 1 + i, Deliver: "x"}})
	}
	o.tell(o.model.applied(made...))
	p.Apply(made)
	o.settle()
	for _, c := range []struct {
		gone uint64
		left int
	}{{testBucket + 1, 3}, {testBucket + 1, 3}, {testBucket, 0}} {
		p.Apply([]Change{BucketGone{c.gone}})
		o.tell(o.model.applied(BucketGone{c.gone}))
		o.settle()
		require.Equal(t, []int{c.left, c.left}, []int{p.Consumers(), o.hub().Serving()})
	}
	require.Empty(t, o.hub().buckets)
	require.Empty(t, p.buckets)
	require.Empty(t, p.lives)
}
