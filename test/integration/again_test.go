package integration

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

// A bucket is made and removed again and again while leaders are cut off and stop: there is one order of what its clients saw, a new one has nothing of the one
// before, and in each of its lives revisions rise from 1, while the cluster's go on (C1, C6).
func TestABucketIsMadeAndRemovedAgainAndAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	c, _ := serving(t, 3)
	l := &load{t: t, history: linear.NewHistory(), stop: make(chan struct{})}
	for i := range 4 {
		nc := c.Connect()
		l.group.Go(func() { l.makeAndRemove(nc, i) })
	}
	loseLeaders(c, 2)
	l.end(linear.Put, linear.Update, linear.Delete, linear.Get, linear.MakeBucket, linear.RemoveBucket)
}

// makeAndRemove does random operations on a few keys of a bucket, and on the bucket.
func (l *load) makeAndRemove(nc *nats.Conn, id int) {
	revisions := map[string]uint64{}
	for i := 0; l.goesOn(loadPause); i++ {
		in := linear.Input{Key: "app.k" + strconv.Itoa(rand.IntN(3)), Value: fmt.Sprintf("%d.%d", id, i)}
		switch n := rand.IntN(20); {
		case n == 0:
			in = linear.Input{Kind: linear.RemoveBucket, Key: "app"}
		case n < 3:
			in = linear.Input{Kind: linear.MakeBucket, Key: "app"}
		case n < 9:
			in.Kind = linear.Put
		case n < 12 && revisions[in.Key] > 0:
			in.Kind, in.Expected = linear.Update, revisions[in.Key]
		case n < 14:
			in.Kind = linear.Delete
		default:
			in.Kind = linear.Get
		}
		out := l.history.Record(id, in, func() linear.Output { return cluster.Operate(nc, time.Second, in) })
		if out.Outcome != linear.NotDone {
			revisions[in.Key] = out.Revision
		}
	}
}
