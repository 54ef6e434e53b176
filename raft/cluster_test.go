package raft

// A cluster of cores on one goroutine, each with a disk that forgets what was not synced and a state machine that is slow.
// It decides nothing: what happens next is said by a transcript (transcript_test.go) or drawn from a seed
// (random_test.go). Every turn and every message that leaves is shown to the watcher (watch_test.go).

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// job is one turn's write and the messages that wait for it and all before it.
type job struct {
	write Write
	then  []rpc.Message
}

// disk is what a crash leaves of a log, and what it would take away.
type disk struct {
	hard  rpc.HardState
	base  rpc.EntryID
	conf  rpc.Configuration // in force at base
	log   []rpc.Entry       // durable, from base on
	bad   []rpc.EntryID     // of those, rising: the ones whose payload it has lost
	queue []job             // not durable yet
}

// configurations are those that a node finds on its disk when it starts.
func (d *disk) configurations() []rpc.Configuration {
	list := []rpc.Configuration{d.conf}
	for _, e := range d.log {
		if e.Kind == rpc.EntryConfiguration {
			list = append(list, decoded(e))
		}
	}
	return list
}

func decoded(e rpc.Entry) rpc.Configuration {
	conf, err := rpc.DecodeConfiguration(e.Data)
	if err != nil {
		panic(err)
	}
	return conf
}

func (d *disk) last() rpc.EntryID {
	if len(d.log) == 0 {
		return d.base
	}
	return d.log[len(d.log)-1].ID()
}

// at returns the durable entry at i, false if there is none that can be read.
func (d *disk) at(i rpc.Index) (rpc.Entry, bool) {
	if i <= d.base.Index || i > d.last().Index {
		return rpc.Entry{}, false
	}
	e := d.log[i-d.base.Index-1]
	return e, !slices.Contains(d.bad, e.ID())
}

func (d *disk) holds(id rpc.EntryID) bool {
	if id.Index <= d.base.Index {
		return id == d.base || id.Index < d.base.Index
	}
	return id.Index <= d.last().Index && d.log[id.Index-d.base.Index-1].Term == id.Term
}

func (d *disk) store(w Write) {
	if w.Base != nil {
		d.rebase(w.Base.ID, w.Base.Configuration)
	}
	if w.HardState != nil {
		d.hard = *w.HardState
	}
	for _, e := range w.Repairs {
		d.bad = slices.DeleteFunc(d.bad, func(id rpc.EntryID) bool { return id == e.ID() })
	}
	if len(w.Entries) > 0 {
		d.log = append(d.log[:w.Entries[0].Index-d.base.Index-1], w.Entries...)
		d.bad = slices.DeleteFunc(d.bad, func(id rpc.EntryID) bool { return id.Index >= w.Entries[0].Index })
	}
}

// rebase moves the base: what follows it is kept if the log holds it.
func (d *disk) rebase(to rpc.EntryID, conf rpc.Configuration) {
	switch {
	case to.Index < d.base.Index:
		return // a compaction that comes late
	case d.holds(to):
		d.log = slices.Clone(d.log[to.Index-d.base.Index:])
		d.bad = slices.DeleteFunc(d.bad, func(id rpc.EntryID) bool { return id.Index <= to.Index })
	default:
		d.log, d.bad = nil, nil
	}
	d.base, d.conf = to, conf
}

func (d *disk) terms() (runs []rpc.TermRun) {
	for _, e := range d.log {
		if len(runs) == 0 || runs[len(runs)-1].Term != e.Term {
			runs = append(runs, rpc.TermRun{First: e.Index, Term: e.Term})
		}
	}
	return runs
}

// member is one node: a core (nil while it is down) and what it stands on.
type member struct {
	id       rpc.NodeID
	instance rpc.InstanceID
	joins    bool // it has no configuration yet: it waits for one that has it as a learner
	core     *Core
	disk     disk
	applied  rpc.Index       // by the state machine
	kept     rpc.Index       // of that, what survives a crash
	busy     Apply           // under way
	install  Install         // to be carried out when nothing is under way
	staged   *SnapshotStored // a whole snapshot on its disk
	loads    []Load
	pings    []rpc.NodeID
	out      *Effects     // of the last turn
	quiet    int          // so many of the ticks that follow it do nothing, says the core
	known    []rpc.Member // those whom it listened to: their links are up
}

type cluster struct {
	ticks     Ticks
	limits    Limits
	thrifty   bool // leaders are
	multicast bool // what several are to get alike, leaders say at the same moment
	dice      func(rpc.NodeID) Random
	list      []*member
	watch     *watcher
	leave     func(rpc.Message) // what the bus does with a message that leaves
}

// defaultTicks are config.DefaultTiming in ticks of 10 ms, as a node has them.
func defaultTicks() Ticks {
	return Ticks{Heartbeat: 10, ElectionMin: 100, ElectionMax: 200, Ping: 5, QuickMin: 5, QuickMax: 20}
}

// newCluster makes nodes that are down and remember nothing. start brings one up.
func newCluster(conf rpc.Configuration) *cluster {
	c := &cluster{ticks: defaultTicks(), limits: DefaultLimits()}
	for _, m := range conf.Members() {
		c.list = append(c.list, &member{id: m.ID, instance: m.Instance, disk: disk{conf: conf}})
	}
	return c
}

func (c *cluster) node(id rpc.NodeID) *member {
	for _, m := range c.list {
		if m.id == id {
			return m
		}
	}
	return nil
}

// start brings a node up from what its disk and its state machine kept.
func (c *cluster) start(m *member) {
	d := &m.disk
	if s := m.staged; s != nil {
		if s.Snapshot.Index > m.kept && s.Snapshot.Index > d.base.Index {
			m.kept, m.applied = s.Snapshot.Index, s.Snapshot.Index // what a crash interrupted is finished first
			d.rebase(s.Snapshot, s.Configuration)
			if d.hard.Term < s.Snapshot.Term { // the term that it came in was not durable yet: no vote has left in it
				d.hard = rpc.HardState{Term: s.Snapshot.Term}
			}
		} else if m.applied > d.last().Index {
			d.rebase(s.Snapshot, s.Configuration)
		}
		m.staged = nil
	}
	cfg := Config{
		ID: m.id, Instance: m.instance, Configurations: d.configurations(), HardState: d.hard, Base: d.base, Terms: d.terms(), Last: d.last(),
		Applied: m.applied, Ticks: c.ticks, Limits: c.limits, Random: c.dice(m.id), Thrifty: c.thrifty, Multicast: c.multicast,
		Damaged: slices.Clone(d.bad),
	}
	if n := len(d.log); n > 0 {
		cfg.LastTime = d.log[n-1].Time
	}
	m.core, m.quiet = New(cfg), 0
	c.watch.reach.note(startInJoint, m.core.conf.Joint())
}

// crash takes a node down. Of the writes that were not synced, 'written' reached the platter nevertheless.
func (c *cluster) crash(m *member, written int) {
	for _, j := range m.disk.queue[:written] {
		m.disk.store(j.write)
	}
	m.core, m.disk.queue, m.busy, m.install, m.loads, m.pings = nil, nil, Apply{}, Install{}, nil, nil
	m.applied = m.kept
}

// turn steps a node's core with events, and carries out what follows.
func (c *cluster) turn(m *member, events ...Event) {
	if m.core == nil || len(events) == 0 {
		return
	}
	before := m.core.Status()
	for _, e := range events {
		c.watch.asks(e)
		m.core.Step(e)
	}
	m.out = m.core.Effects()
	c.watch.turned(m, before)
	c.watch.ticked(m, events)
	for _, msg := range m.out.Send {
		c.part(m, msg)
	}
	c.hand(m)
}

// hand gives a turn's effects to disk, state machine and bus.
func (c *cluster) hand(m *member) {
	out := m.out
	switch {
	case out.Write.Seq > 0 || len(out.SendAfterSync) > 0 && len(m.disk.queue) > 0:
		m.disk.queue = append(m.disk.queue, job{out.Write, out.SendAfterSync})
	default:
		for _, msg := range out.SendAfterSync {
			c.part(m, msg)
		}
	}
	if out.Apply.To > 0 {
		m.busy = out.Apply
	}
	if out.Install.Snapshot.Index > 0 {
		m.install = out.Install
	}
	if b := out.Compact; b.ID.Index > 0 {
		m.disk.rebase(b.ID, b.Configuration)
	}
	m.loads = append(m.loads, out.Loads...)
	m.pings = append(m.pings, out.Pings...)
}

func (c *cluster) part(m *member, msg rpc.Message) {
	msg.Instance = m.instance
	c.watch.leaves(m, msg)
	c.leave(msg)
}

// sync makes a node's first n waiting writes durable: their messages leave, and the event for the core is returned.
func (c *cluster) sync(m *member, n int) (done []Event) {
	for _, j := range m.disk.queue[:n] {
		c.watch.replaces(m, &j.write)
		m.disk.store(j.write)
		if j.write.Seq > 0 {
			done = []Event{DiskDone{j.write.Seq}}
		}
	}
	jobs := m.disk.queue[:n]
	m.disk.queue = slices.Clone(m.disk.queue[n:])
	for _, j := range jobs {
		for _, msg := range j.then {
			c.part(m, msg)
		}
	}
	return done
}

// squeeze makes durable what goes before the entries of the write that is next, and the first so many of them, as a full disk does (F21); nothing if there is none.
func (c *cluster) squeeze(m *member, n int) (done []Event) {
	w := &m.disk.queue[0].write
	n = min(n, len(w.Entries))
	if w.Base == nil && w.HardState == nil && len(w.Repairs) == 0 && n == 0 {
		return nil
	}
	c.watch.reach.note(headWithoutEntries, w.HardState != nil && len(w.Entries) > n)
	c.watch.reach.note(someEntries, n > 0 && len(w.Entries) > n)
	part := PartDone{Seq: w.Seq}
	if n > 0 {
		part.Last = w.Entries[n-1].Index
	}
	c.watch.replaces(m, &Write{Entries: w.Entries[:n]})
	m.disk.store(Write{Base: w.Base, HardState: w.HardState, Repairs: w.Repairs, Entries: w.Entries[:n]})
	w.Base, w.HardState, w.Repairs, w.Entries = nil, nil, nil, w.Entries[n:]
	return []Event{part}
}

// apply lets a node's state machine finish what it was given.
func (c *cluster) apply(m *member) []Event {
	a := m.busy
	if a.To == 0 {
		return nil
	}
	for i := a.From; i <= a.To; i++ {
		e, ok := m.disk.at(i)
		if a.Entries != nil {
			e = a.Entries[i-a.From]
		}
		c.watch.applies(m, i, e, ok)
	}
	m.applied, m.busy = a.To, Apply{}
	return []Event{ApplyDone{a.To}}
}

// restore puts the stored snapshot in the place of the state machine's state, durably.
func (c *cluster) restore(m *member) []Event {
	id := m.install.Snapshot
	if id.Index == 0 || m.busy.To > 0 {
		return nil
	}
	c.watch.installs(m, id)
	m.install = Install{}
	m.applied, m.kept = id.Index, id.Index
	return []Event{Restored{id}}
}

// load reads what a core asked of its log.
func (c *cluster) load(m *member) (done []Event) {
	for _, l := range m.loads {
		loaded := Loaded{Load: l, Compacted: l.From <= m.disk.base.Index}
		size := 0
		for i := l.From; i < l.To && !loaded.Compacted; i++ {
			e, ok := m.disk.at(i)
			if size += e.Size(); !ok || size > l.MaxBytes && i > l.From {
				break
			}
			loaded.Entries = append(loaded.Entries, e)
		}
		done = append(done, loaded)
	}
	m.loads = nil
	return done
}

// ping is how a ping of one node by another ends, if the bus carries it.
func (c *cluster) ping(peer *member) Pinged {
	if peer.core == nil {
		return Pinged{Peer: peer.id, Outcome: PingNobody}
	}
	s := peer.core.Status()
	return Pinged{Peer: peer.id, Outcome: PingOK, Leader: s.Leader, Term: s.Term, Lacks: peer.core.AboutToLag()}
}
