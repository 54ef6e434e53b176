package watch

// Which node serves which consumer: what the placer hears, and what it proposes if its node leads.

import (
	"cmp"
	"slices"
)

// Placer says which node is to serve which consumer. Each node has one and feeds it what it is fed itself, so that whoever leads
// knows at once what there is to do: no node has to be asked. It decides nothing by itself: what it proposes is decided when the
// log's entry is applied, by the record as it then is.
type Placer struct {
	self    string
	now     int64
	echoed  int64 // when this node last heard what it said itself
	excused int64 // the silence of others is counted from there on: later than echoed while that is long ago
	leading bool
	hosts   []host // in order of name
	records map[Ref]placed
	weight  int          // of what they ask for
	making  making       // consumers that are not there yet
	lives   refs[life]   // the same, by who serves them
	buckets refs[uint64] // the same, by incarnation
	turn    int          // of the next host
	marks   []mark       // what this node had applied, lately
	said    said         // by the last announcement that left
	// proposed is when something was proposed that is not done yet; it is proposed again when that takes too long.
	proposed map[Ref]int64
}

// host is a node as its announcements show it.
type host struct {
	name     string
	instance string // of its data folder, if it said so
	boot     uint64
	able     bool  // its leaf connection is up, and it follows the log
	pulls    bool  // it knows what a pull consumer is
	heard    int64 // when it was last heard to be able; of one that was never heard, when the placer began to wait
	idle     []Idle
}

// life is one life of a node.
type life struct {
	host string
	boot uint64
}

// placed is what a placer needs of a record.
type placed struct {
	life
	bucket                       string
	created, changed, generation uint64
	pull                         bool
	weight                       int
}

// refs are consumers by something that they have in common.
type refs[K comparable] map[K]map[Ref]bool

func (r refs[K]) add(of K, ref Ref) {
	if r[of] == nil {
		r[of] = map[Ref]bool{}
	}
	r[of][ref] = true
}

func (r refs[K]) remove(of K, ref Ref) {
	if delete(r[of], ref); len(r[of]) == 0 {
		delete(r, of)
	}
}

// mark is what was applied by a time.
type mark struct {
	at    int64
	index uint64
}

// said is what an announcement said, and when.
type said struct {
	at            int64
	able, leaving bool
}

// Announcement is what each node says of itself to all, again and again.
type Announcement struct {
	Node     string
	Instance string `json:",omitempty"` // of its data folder; empty: a release that does not say
	Boot     uint64 // rises from start to start of one folder
	Able     bool   // its leaf connection is up
	Pulls    bool   `json:",omitempty"` // it serves pull consumers; not set: a release that does not know them
	// Applied is how far it has applied the log: a host that falls far behind the leader serves nobody.
	Applied uint64
	// Leaving: the node is about to end, and its consumers are to go to others at once.
	Leaving bool
	Idle    []Idle // consumers there whose clients are gone
	// Deaf: clients are not heard there. Not set: they are, or it is a release that does not say.
	Deaf bool `json:",omitempty"`
}

// Move gives a consumer to another host.
type Move struct {
	Ref
	Bucket              string
	Created, Generation uint64 // as the record is now
	Host                string
	Boot                uint64
}

// Removal removes a consumer whose client is gone.
type Removal struct {
	Idle
	Bucket string
}

// Proposals is what a leader is to propose.
type Proposals struct {
	Moves    []Move
	Removals []Removal
}

const (
	// AnnounceEvery is how often each node announces itself while there are consumers, and has the placer look.
	AnnounceEvery = 100_000_000
	// announceIdly is how often it does while there are none: often enough to be chosen for the first.
	announceIdly = 2 * AnnounceEvery
	// IdleMax bounds the idle consumers in an announcement; the others come later.
	IdleMax = 32

	// lostAfter is how long a host may be silent before its consumers are given to others.
	lostAfter = 600_000_000
	// lagMax is how long ago the leader may have applied what a host has applied now.
	lagMax = 1_000_000_000
	// pauseMin is a pause of this node itself, or of what it hears, after which it cannot say how long others have been silent.
	pauseMin = 300_000_000
	// proposeAgain is how long a proposal may take.
	proposeAgain = 1_000_000_000
	movesMax     = 256 // proposed at a time
	hostsMax     = 64  // remembered
)

// NewPlacer makes the placer of a node, for the account that its name says (In): it knows of no other's hosts and consumers.
func NewPlacer(self string) *Placer {
	return &Placer{self: self, records: map[Ref]placed{}, lives: refs[life]{}, buckets: refs[uint64]{}, proposed: map[Ref]int64{}, making: making{of: map[string]made{}}, said: said{at: -announceIdly}} // the first leaves at once
}

// Apply takes what was applied.
func (p *Placer) Apply(changes []Change) {
	for _, change := range changes {
		switch c := change.(type) {
		case Placed:
			p.put(&c.Record)
		case Removed:
			p.forget(c.Ref)
		case BucketGone:
			for ref := range p.buckets[c.Incarnation] {
				p.forget(ref)
			}
		}
	}
}

// Reset takes a state in place of what was known.
func (p *Placer) Reset(records []Record) {
	clear(p.records)
	clear(p.lives)
	clear(p.buckets)
	clear(p.proposed)
	p.weight = 0
	for i := range records {
		p.put(&records[i])
	}
}

func (p *Placer) put(r *Record) {
	p.forget(r.Ref)
	if !SameAccount(r.Name, p.self) {
		return
	}
	p.host(r.Host) // whoever was never heard is waited for from now on
	p.making.end(r.Name)
	now := placed{life{r.Host, r.Boot}, r.Bucket, r.Created, r.Changed, r.Generation, r.Config.Pull, r.Weight}
	p.records[r.Ref] = now
	p.weight += now.weight
	p.lives.add(now.life, r.Ref)
	p.buckets.add(r.Incarnation, r.Ref)
}

func (p *Placer) forget(ref Ref) {
	p.weight -= p.records[ref].weight
	p.lives.remove(p.records[ref].life, ref)
	p.buckets.remove(ref.Incarnation, ref)
	delete(p.records, ref)
	delete(p.proposed, ref)
}

// Lead says whether this node leads.
func (p *Placer) Lead(leading bool) {
	p.leading = leading
	clear(p.proposed)
}

// Hear takes an announcement.
func (p *Placer) Hear(now int64, a Announcement) {
	p.at(now)
	if !SameAccount(a.Node, p.self) || !p.room(a.Node) {
		return
	}
	if a.Node == p.self {
		p.mark(a.Applied)
	}
	h := p.host(a.Node)
	if p.earlier(h, &a) {
		return
	}
	h.instance, h.boot, h.able, h.pulls, h.idle = a.Instance, a.Boot, a.Able && a.Applied >= p.least(), a.Pulls, a.Idle
	switch {
	case a.Leaving:
		h.able, h.heard = false, p.now-lostAfter-1
	case h.able:
		h.heard = p.now
	}
}

// Tells reports whether this node's announcement is to leave now, and takes it for sent if so. To be asked every AnnounceEvery, or when there
// is something new.
func (p *Placer) Tells(now int64, a *Announcement) bool {
	if p.Consumers() == 0 && a.Able == p.said.able && a.Leaving == p.said.leaving && now-p.said.at < announceIdly-AnnounceEvery/2 {
		return false
	}
	p.said = said{now, a.Able, a.Leaving}
	return true
}

// earlier reports whether an announcement is of another life than the one that counts. Within a data folder that is the latest. Another folder
// counts its starts from the beginning, so of two that are heard the one that is known counts, until it is lost.
func (p *Placer) earlier(h *host, a *Announcement) bool {
	if h.instance == "" || a.Instance == h.instance {
		return a.Boot < h.boot
	}
	return !p.lost(h)
}

// mark notes what this node has applied, and forgets what lies longer back than is asked for.
func (p *Placer) mark(index uint64) {
	p.marks = append(p.marks, mark{p.now, index})
	for len(p.marks) > 1 && p.now-p.marks[1].at >= lagMax {
		p.marks = slices.Delete(p.marks, 0, 1)
	}
}

// least is what a host must have applied.
func (p *Placer) least() uint64 {
	if len(p.marks) == 0 || p.now-p.marks[0].at < lagMax {
		return 0
	}
	return p.marks[0].index
}

// Echo takes that what this node says to all has come back to it: what others say would have come too.
func (p *Placer) Echo(now int64) {
	p.at(now)
	p.echoed, p.excused = p.now, p.now
}

// at lets time pass. Nobody newly counts as lost after a pause of this node itself, nor while what this node says does not come back to it: its connection is
// gone then, or carries so much that nothing is heard in time. Who seems silent in such a time need not be (F6, F7, F9, F12, F26).
func (p *Placer) at(now int64) {
	if pause := now - p.now; p.now > 0 && pause > pauseMin {
		p.excuse(pause, now, "")
		p.echoed, p.excused = p.echoed+pause, p.excused+pause
	}
	if now-p.echoed > pauseMin {
		p.excuse(now-p.excused, now, p.self)
		p.excused = max(p.excused, now)
	}
	p.now = max(p.now, now)
}

// excuse counts a time up to now as none in which hosts, all but one, were silent, unless they were lost before.
func (p *Placer) excuse(time, now int64, but string) {
	for i := range p.hosts {
		if h := &p.hosts[i]; h.name != but && !p.lost(h) {
			h.heard = min(h.heard+time, now)
		}
	}
}

// room reports whether a host is remembered, or may be. For a new one those are forgotten that are lost, the longest silent first.
func (p *Placer) room(name string) bool {
	if _, known := p.find(name); known {
		return true
	}
	for len(p.hosts) >= hostsMax {
		silent := 0
		for i := range p.hosts {
			if p.hosts[i].heard < p.hosts[silent].heard {
				silent = i
			}
		}
		if !p.lost(&p.hosts[silent]) {
			return false
		}
		p.hosts = slices.Delete(p.hosts, silent, silent+1)
	}
	return true
}

func (p *Placer) find(name string) (at int, known bool) {
	return slices.BinarySearchFunc(p.hosts, name, func(h host, name string) int { return cmp.Compare(h.name, name) })
}

// host finds a host, or begins to wait for it.
func (p *Placer) host(name string) *host {
	at, known := p.find(name)
	if !known {
		p.hosts = slices.Insert(p.hosts, at, host{name: name, heard: p.now})
	}
	return &p.hosts[at]
}

func (p *Placer) lost(h *host) bool { return p.now-h.heard > lostAfter }

// Choose names the host of the next consumer, in turn; false if there is none. With pull it is one that serves pull consumers.
func (p *Placer) Choose(now int64, pull bool) (name string, boot uint64, ok bool) {
	p.at(now)
	for range p.hosts {
		p.turn++
		if h := &p.hosts[p.turn%len(p.hosts)]; h.able && !p.lost(h) && (h.pulls || !pull) {
			return h.name, h.boot, true
		}
	}
	return "", 0, false
}

// Lost reports whether a host that has been heard of can serve nobody, as far as is known.
func (p *Placer) Lost(now int64, name string) bool {
	p.at(now)
	at, known := p.find(name)
	return known && p.lost(&p.hosts[at])
}

// Pulls reports whether a host serves pull consumers, as far as is known.
func (p *Placer) Pulls(name string) bool {
	at, known := p.find(name)
	return !known || p.hosts[at].boot == 0 || p.hosts[at].pulls
}

// Tick says what is to be proposed by a time, if this node leads: moves of consumers whose host is lost, or has begun another life, and
// removals of those whose clients are gone.
func (p *Placer) Tick(now int64) Proposals {
	p.at(now)
	var list Proposals
	if !p.leading {
		return list
	}
	list.Removals = p.removals()
	for _, ref := range p.orphans() {
		r := p.records[ref]
		if name, boot, ok := p.Choose(p.now, r.pull); ok {
			p.proposed[ref] = p.now
			list.Moves = append(list.Moves, Move{ref, r.bucket, r.created, r.generation, name, boot})
		}
	}
	return list
}

// orphans lists consumers that are to be moved, the first movesMax in an order that does not depend on chance. There may be a hundred thousand: they
// are not all sorted.
func (p *Placer) orphans() (list []Ref) {
	for l, served := range p.lives {
		if !p.over(l) {
			continue
		}
		for ref := range served {
			at, _ := slices.BinarySearchFunc(list, ref, compareRefs)
			if at == movesMax || !p.mayPropose(ref) {
				continue
			}
			list = slices.Insert(list[:min(len(list), movesMax-1)], at, ref)
		}
	}
	return list
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Name, b.Name))
}

// over reports whether a node's life is over, as far as serving consumers goes. A host that was forgotten was lost.
func (p *Placer) over(l life) bool {
	at, known := p.find(l.host)
	if !known {
		return true
	}
	h := &p.hosts[at]
	return p.lost(h) || h.boot != 0 && h.boot != l.boot
}

func (p *Placer) removals() (list []Removal) {
	for i := range p.hosts {
		for _, idle := range p.hosts[i].idle {
			if p.isIdle(&p.hosts[i], &idle) && p.mayPropose(idle.Ref) {
				p.proposed[idle.Ref] = p.now
				r := p.records[idle.Ref]
				idle.Changed = r.changed // a release may not say
				list = append(list, Removal{idle, r.bucket})
			}
		}
	}
	return list
}

// isIdle reports whether a consumer is as its host said when nobody listened to it: a client may have changed it since, or it may be another's now.
func (p *Placer) isIdle(h *host, idle *Idle) bool {
	r, known := p.records[idle.Ref]
	return known && r.created == idle.Created && (r.changed == idle.Changed || idle.Changed == 0) && r.life == life{h.name, h.boot} && !p.over(r.life)
}

func (p *Placer) mayPropose(ref Ref) bool {
	at, waits := p.proposed[ref]
	return !waits || p.now-at > proposeAgain
}

// Forget has what was proposed for a consumer proposed again: it was not logged.
func (p *Placer) Forget(ref Ref) { delete(p.proposed, ref) }

// Consumers is how many there are in the account.
func (p *Placer) Consumers() int { return len(p.records) }

// Weight is how many bytes what they ask for counts for: see Weigh.
func (p *Placer) Weight() int { return p.weight }

// HasRoom reports whether those that are there, and are being made, weigh less than so much.
func (p *Placer) HasRoom(now int64, most int) bool {
	p.at(now)
	if p.weight+p.making.weight >= most {
		p.making.sweep(p.now)
	}
	return p.weight+p.making.weight < most
}

// Make counts a consumer that is being made in, until it is there.
func (p *Placer) Make(now int64, w Wanted) {
	p.at(now)
	p.making.begin(w, p.now)
}

// Able is how many hosts can take consumers.
func (p *Placer) Able(now int64) (n int) {
	p.at(now)
	for i := range p.hosts {
		if h := &p.hosts[i]; h.able && !p.lost(h) {
			n++
		}
	}
	return n
}
