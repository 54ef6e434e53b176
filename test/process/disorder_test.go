package process

// The faults that a campaign draws from. Each is a few lines: whom it strikes is drawn from the seed, what it does is
// undone by the function it returns. A scenario of another kind is another line here, or in disorder_members_test.go.

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// disorder draws faults for a cluster.
type disorder struct {
	c      *cluster
	r      *rand.Rand
	ids    int      // of nodes so far
	struck []string // nodes and servers that a fault of this round has already
}

// strike is a fault that has begun.
type strike struct {
	what string // for the log
	undo func()
	// repair is what an operator does once the fault is over; nil: nothing.
	repair func()
	// follower: one node that did not lead, and nothing else, was out of reach. Its return must cause no election (L3).
	follower bool
}

// fault is one kind of trouble.
type fault struct {
	name  string
	needs func(l layout) bool // nil: nothing
	begin func(d *disorder) strike
	alone bool // never together with another
	loses bool // what a node has on its disk: of as many as make a majority that is outside the model
	// worst is the longest time without an acknowledged write that may come of it; 0: it may take the service away.
	worst time.Duration
	// back is how soon after its end writes must be acknowledged; 0: 10 election timeouts (L8).
	back time.Duration
}

// worstGap holds for every loss of one node (L1, at worst).
const worstGap = 5 * time.Second

// natsBack is how soon writes are back when NATS is (F5, L6).
const natsBack = 3 * time.Second

// faults are all that there are.
var faults = append(processFaults, memberFaults...)

var processFaults = []fault{
	{name: "node killed", begin: killNode, worst: worstGap},
	{name: "node paused", begin: pauseNode, worst: worstGap},
	{name: "several nodes killed", begin: killSeveral, alone: true},
	{name: "all nodes killed", begin: killAll, alone: true},
	{name: "the NATS server killed", needs: one, begin: killServer, back: natsBack},
	{name: "a NATS server killed", needs: several, begin: killServer},
	{name: "a NATS server paused", begin: pauseServer},
	{name: "a NATS server killed again and again", begin: restartServerAgain, alone: true},
	{name: "a NATS server paused again and again", begin: pauseServerAgain, alone: true},
	{name: "node cut off, silently", needs: hosts, begin: isolate(vanish), worst: worstGap},
	{name: "node cut off, refused", needs: hosts, begin: isolate(refuse), worst: worstGap},
	{name: "node cannot send", needs: hosts, begin: muteNode, worst: worstGap},
	{name: "node cannot hear", needs: hosts, begin: deafenNode, worst: worstGap},
	{name: "a NATS server cut off", needs: severalHosts, begin: isolateServer},
	{name: "routes cut, silently", needs: severalHosts, begin: cutRoutes(vanish)},
	{name: "routes cut, refused", needs: severalHosts, begin: cutRoutes(refuse)},
	{name: "packets lost", needs: hosts, begin: losePackets},
	{name: "a slow wire", needs: hosts, begin: slowWire},
}

func one(l layout) bool          { return l.servers == 1 }
func several(l layout) bool      { return l.servers > 1 }
func hosts(l layout) bool        { return l.hosts }
func severalHosts(l layout) bool { return l.hosts && l.servers > 1 }

// fitting are the faults that a cluster can have, in an order drawn anew.
func (d *disorder) fitting() []fault {
	list := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.needs != nil && !f.needs(d.c.layout) })
	d.r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// node draws one that is well: every second time the leader, if there is one.
func (d *disorder) node() (id string, leads bool) {
	leader := agreed(d.c.statuses(), len(d.c.members))
	if leader != "" && d.r.IntN(2) == 0 && !slices.Contains(d.struck, leader) {
		id = leader
	} else {
		id = d.draw(d.c.members)
	}
	d.struck = append(d.struck, id)
	return id, id == leader || leader == ""
}

func (d *disorder) server() *server {
	name := d.draw(d.c.serverNames())
	d.struck = append(d.struck, name)
	return d.c.servers[slices.Index(d.c.serverNames(), name)]
}

// draw takes one that is well, or any if none is.
func (d *disorder) draw(from []string) string {
	well := slices.DeleteFunc(slices.Clone(from), func(name string) bool { return slices.Contains(d.struck, name) })
	if len(well) == 0 {
		well = from
	}
	return well[d.r.IntN(len(well))]
}

func killNode(d *disorder) strike {
	id, leads := d.node()
	d.c.kill(id)
	return strike{what: titled(id, leads), undo: func() { d.c.start(id) }}
}

func pauseNode(d *disorder) strike {
	id, leads := d.node()
	d.c.signal(id, syscall.SIGSTOP)
	return strike{what: titled(id, leads), undo: func() { d.c.signal(id, syscall.SIGCONT) }, follower: !leads}
}

func killSeveral(d *disorder) strike {
	count := 2 + d.r.IntN(len(d.c.members)-2)
	victims := d.c.followers(d.r, "")[:count]
	for _, id := range victims {
		d.c.kill(id)
	}
	return strike{what: listed(victims), undo: func() {
		for _, id := range victims {
			d.c.start(id)
		}
	}}
}

func killAll(d *disorder) strike {
	for _, id := range d.c.members {
		d.c.kill(id)
	}
	return strike{what: "all", undo: d.c.startAll}
}

func killServer(d *disorder) strike {
	s := d.server()
	s.kill()
	return strike{what: s.name, undo: func() { d.c.startServer(s) }}
}

func pauseServer(d *disorder) strike {
	s := d.server()
	d.signal(s, syscall.SIGSTOP)
	return strike{what: s.name, undo: func() { d.signal(s, syscall.SIGCONT) }}
}

// signal is for a server that runs: where there is one, the other of two faults at once may have killed it.
func (d *disorder) signal(s *server, what syscall.Signal) {
	if !s.ended() {
		s.signal(d.c.t, what)
	}
}

func isolate(f fate) func(*disorder) strike {
	return func(d *disorder) strike {
		id, leads := d.node()
		return strike{what: titled(id, leads), undo: d.c.net.impose(between([]string{id}, d.c.serverNames(), f)...), follower: !leads}
	}
}

func muteNode(d *disorder) strike {
	id, leads := d.node()
	return strike{what: titled(id, leads), undo: d.c.net.impose(oneWay([]string{id}, d.c.serverNames())...), follower: !leads}
}

func deafenNode(d *disorder) strike {
	id, leads := d.node()
	return strike{what: titled(id, leads), undo: d.c.net.impose(oneWay(d.c.serverNames(), []string{id})...), follower: !leads}
}

func isolateServer(d *disorder) strike {
	s := d.server()
	rest := slices.DeleteFunc(d.c.net.everybody(), func(host string) bool { return host == s.name })
	f := fate(d.r.IntN(2))
	return strike{what: s.name + " " + f.String(), undo: d.c.net.impose(between([]string{s.name}, rest, f)...)}
}

// cutRoutes takes each route away or not: some partial partition, or a split, or nothing.
func cutRoutes(f fate) func(*disorder) strike {
	return func(d *disorder) strike {
		var rules []*rule
		var cut []string
		for i, a := range d.c.serverNames() {
			for _, b := range d.c.serverNames()[:i] {
				if d.r.IntN(2) == 0 {
					rules = append(rules, between([]string{a}, []string{b}, f)...)
					cut = append(cut, a+"-"+b)
				}
			}
		}
		return strike{what: listed(cut), undo: d.c.net.impose(rules...)}
	}
}

// losePackets loses some of what one host, or every host, gets.
func losePackets(d *disorder) strike {
	all := append(d.c.serverNames(), d.c.members...)
	if d.r.IntN(2) == 0 {
		all = []string{d.draw(all)}
	}
	share := 0.02 + 0.28*d.r.Float64()
	var rules []*rule
	for _, host := range all {
		for _, from := range d.c.net.everybody() {
			rules = append(rules, &rule{from: from, to: host, fate: vanish, share: share})
		}
	}
	return strike{what: percent(share) + " to " + listed(all), undo: d.c.net.impose(rules...)}
}

// slowWire leaves a host so little bandwidth that what it sends waits.
func slowWire(d *disorder) strike {
	host := d.draw(append(d.c.serverNames(), d.c.members...))
	kbit := 64 << d.r.IntN(5)
	return strike{what: host, undo: d.c.net.slow(host, kbit)}
}
