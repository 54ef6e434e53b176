package process

// Many faults, one after the other and sometimes two at once, on clusters under load. What is drawn comes from -seed; what
// the machine makes of it does not, so a seed tells what was done and is no replay.

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every acknowledged write is there, every history is linearizable, the service comes back in time (C1-C3, C5, L1, L3, L6, L8), and
// equal nodes hold equal states (I5), whatever happens to nodes, NATS servers and links.
func TestCampaign(t *testing.T) {
	if *minutes == 0 {
		t.Skip("takes as long as it is given: give -minutes")
	}
	layouts := campaignLayouts()
	each := time.Duration(*minutes * float64(time.Minute) / float64(len(layouts)))
	for _, l := range layouts {
		t.Run(fmt.Sprintf("nodes=%d nats=%d", l.nodes, l.servers), func(t *testing.T) {
			t.Logf("-seed %d", *seed)
			runCampaign(started(t, l), each)
		})
	}
}

func campaignLayouts() (list []layout) {
	for _, nodes := range orElse(*nodeCount, 3, 5) {
		for _, servers := range orElse(*natsCount, 1, 3) {
			list = append(list, layout{nodes: nodes, servers: servers, hosts: *namespaces, small: true})
		}
	}
	return list
}

func orElse(given int, otherwise ...int) []int {
	if given != 0 {
		return []int{given}
	}
	return otherwise
}

// campaign is what the rounds have in common.
type campaign struct {
	*disorder
	until time.Time
	gaps  map[string][]time.Duration // by kind of fault
	acked []ack
	leaks leaks
}

func runCampaign(c *cluster, length time.Duration) {
	d := &disorder{c: c, r: rand.New(rand.NewPCG(*seed, uint64(c.layout.nodes*100+c.layout.servers)))}
	p := &campaign{disorder: d, until: time.Now().Add(length), gaps: map[string][]time.Duration{}}
	defer p.report()
	for time.Now().Before(p.until) {
		for _, f := range p.fitting() {
			if time.Now().Before(p.until) && strings.Contains(f.name, *only) {
				p.round(f)
			}
		}
	}
	c.checkKeys(p.acked)
	c.checkStates()
}

// round is one fault, or two, on a cluster under load, until all is well again.
func (p *campaign) round(f fault) {
	c := p.c
	p.struck = nil
	l := startLoad(c, 6, 25, 4*time.Millisecond)
	l.waitAck(time.Now(), 10*electionTimeout)
	term, began := c.term(), time.Now()
	hit := p.begin(&f)
	p.hold()
	hit.undo()
	ended := time.Now()
	back := l.waitAck(ended, 10*electionTimeout) // L8
	if hit.repair != nil {
		hit.repair()
	}
	gap := l.longestGap(began, time.Now())
	p.gaps[f.name] = append(p.gaps[f.name], gap)
	l.finish() // while there are writes, what the nodes say of how far they are is of different moments
	c.converged(time.Minute)
	c.t.Logf("%s (%s) for %v: %v without a write, writes %v after its end, term %d -> %d",
		f.name, hit.what, rounded(ended.Sub(began)), rounded(gap), rounded(back), term, c.term())
	p.acked = append(p.acked, l.acks()...)
	p.leaks.look(c, len(p.acked))
	if f.worst > 0 {
		require.Less(c.t, gap, f.worst, "%s (%s): too long without an acknowledged write; %v", f.name, hit.what, l.stalls)
	}
	if f.back > 0 {
		require.Less(c.t, back, f.back, "%s (%s): too long until writes are back; %v", f.name, hit.what, l.stalls)
	}
	if hit.follower {
		require.Equal(c.t, term, c.term(), "%s (%s): the return of a follower caused an election; %v", f.name, hit.what, l.stalls)
	}
}

// begin begins a fault, and one time in four another with it; then the two are a kind of their own.
func (p *campaign) begin(f *fault) strike {
	hit := f.begin(p.disorder)
	other := faults[p.r.IntN(len(faults))]
	both := !f.alone && !other.alone && (!f.loses || !other.loses || len(p.c.members) > 3)
	if p.r.IntN(4) > 0 || !both || other.needs != nil && !other.needs(p.c.layout) {
		return hit
	}
	p.hold()
	second := other.begin(p.disorder)
	*f = fault{name: "two at once"}
	return strike{
		what: hit.what + " and " + other.name + " (" + second.what + ")",
		undo: func() { hit.undo(); second.undo() },
		repair: func() {
			for _, s := range []strike{hit, second} {
				if s.repair != nil {
					s.repair()
				}
			}
		},
	}
}

// A fault lasts from holdMin to holdMax (F16); in a short campaign not so long, but longer than an election takes.
const (
	holdMin   = 100 * time.Millisecond
	holdShort = 2 * electionTimeout
	holdMax   = 15 * time.Second
)

// hold lets a fault last: for 0.1 to 1 s as often as for 1 to 10 s.
func (p *campaign) hold() {
	longest := min(holdMax, max(holdShort, time.Duration(*minutes*float64(time.Minute)/60)))
	time.Sleep(time.Duration(float64(holdMin) * math.Pow(float64(longest)/float64(holdMin), p.r.Float64())))
}

// report says how long the service was away, by kind of fault.
func (p *campaign) report() {
	var lines []string
	for kind, gaps := range p.gaps {
		slices.Sort(gaps)
		at := func(share float64) time.Duration { return rounded(gaps[int(share*float64(len(gaps)-1))]) }
		lines = append(lines, fmt.Sprintf("%-36s %4d times, without a write: median %v, 90%% %v, 99%% %v, longest %v",
			kind, len(gaps), at(0.5), at(0.9), at(0.99), at(1)))
	}
	slices.Sort(lines)
	p.c.t.Logf("-seed %d, %d writes of new keys acknowledged\n%s\n%v", *seed, len(p.acked), strings.Join(lines, "\n"), &p.leaks)
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func percent(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) }

func listed(names []string) string { return strings.Join(names, " ") }

func titled(id string, leads bool) string {
	if leads {
		return id + ", the leader"
	}
	return id
}
