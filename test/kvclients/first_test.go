package kvclients

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// What a stream no longer has counts as delivered to a consumer that is made: clients see it in the answer.
func TestConsumersOfABucketThatBeginsLate(t *testing.T) {
	t.Parallel()
	requireAlike(t, connected(t, 1), func(nc *nats.Conn) []string {
		p := &puller{t: t, nc: nc}
		step{subject: "STREAM.CREATE.KV_p", body: bucketConfig("p", `"max_msgs_per_subject":1`)}.send(p.t, p.nc)
		for i := range 3 {
			p.put("a", fmt.Sprint(i))
		}
		p.put("b", "")
		p.put("c", "")
		for kind, more := range []string{`"num_replicas":1`, `"deliver_subject":"nobody"`} {
			for i, policy := range []string{`"all"`, `"last"`, `"new"`, `"last_per_subject","filter_subject":"$KV.p.>"`, `"by_start_sequence","opt_start_seq":1`, `"by_start_sequence","opt_start_seq":4`, `"by_start_time","opt_start_time":"2001-01-01T00:00:00Z"`} {
				p.create(fmt.Sprintf("c%d%d", kind, i), `"deliver_policy":`+policy+","+more+lasting)
			}
		}
		return p.log
	})
}
