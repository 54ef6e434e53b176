package raft

// What makes two states of the exploration the same: all that decides what happens next, but no clocks, counters or data.

import "github.com/raftbus/raftbus/raft/rpc"

// print is a hash under way.
type print uint64

func (p *print) num(list ...uint64) {
	for _, v := range list {
		h := (uint64(*p) ^ v) * 0x9E3779B97F4A7C15
		*p = print(h ^ h>>29)
	}
}

func (p *print) flag(list ...bool) {
	v := uint64(1)
	for _, b := range list {
		v *= 2
		if b {
			v++
		}
	}
	p.num(v)
}

func (p *print) id(id rpc.NodeID) {
	for i := range len(id) {
		p.num(uint64(id[i]))
	}
	p.num(1 << 40)
}

func (p *print) entry(id rpc.EntryID) { p.num(uint64(id.Term), uint64(id.Index)) }

func (p *print) members(list []rpc.Member) {
	for _, m := range list {
		p.id(m.ID)
		p.num(uint64(m.Instance[0]))
	}
	p.num(1 << 41)
}

func (p *print) configuration(c *rpc.Configuration) {
	p.num(uint64(c.Index))
	p.members(c.Voters)
	p.members(c.Outgoing)
	p.members(c.Learners)
}

// fingerprint of a whole cluster. What is on the wire counts in no order.
func (x *explorer) fingerprint() uint64 {
	var p print
	l := x.left
	for _, n := range []uint8{l.campaigns, l.proposals, l.beats, l.crashes, l.changes, l.repeats, l.compactions, l.wipes} {
		p.num(uint64(n))
	}
	for _, m := range x.list {
		p.member(m)
	}
	wire := uint64(0)
	for i := range x.wire {
		wire += fingerprint(&x.wire[i])
	}
	p.num(wire)
	return uint64(p)
}

func (p *print) member(m *member) {
	d := &m.disk
	p.num(uint64(d.hard.Term), uint64(m.applied), uint64(m.kept), uint64(m.busy.To), uint64(len(d.queue)), uint64(m.install.Snapshot.Index), uint64(m.instance[0]))
	p.id(d.hard.Vote)
	p.entry(d.base)
	p.configuration(&d.conf)
	for i := range d.log {
		p.num(uint64(d.log[i].Term))
	}
	p.flag(m.core == nil, m.joins, m.staged != nil)
	for _, j := range d.queue {
		for _, msg := range j.then {
			p.num(fingerprint(&msg))
		}
		p.flag(j.write.HardState != nil, j.write.Base != nil)
		p.num(uint64(len(j.write.Entries)))
	}
	if m.core != nil {
		p.core(m.core)
	}
}

func (p *print) core(c *Core) {
	p.num(uint64(c.role), uint64(c.hard.Term), uint64(c.commit), uint64(c.applying), uint64(c.matched), uint64(c.log.synced), uint64(c.log.last))
	p.id(c.hard.Vote)
	p.id(c.leader)
	p.flag(c.hardDurable(), c.install.active)
	for _, r := range c.log.runs {
		p.num(uint64(r.First), uint64(r.Term))
	}
	for _, h := range c.members.history {
		p.configuration(&h.conf)
	}
	p.members(c.members.roster)
	for _, peer := range c.peers {
		yes, answered := c.election.votes[peer.ID]
		p.flag(yes, answered)
		if o := c.office.peers[peer.ID]; o != nil {
			p.num(uint64(o.match), uint64(o.next), uint64(len(o.flying)), uint64(o.goal))
			p.flag(o.replicating, o.waiting, o.stuck)
		}
	}
	p.id(c.office.transfer.to)
}

// fingerprint of a message.
func fingerprint(m *rpc.Message) uint64 {
	var p print
	p.id(m.From)
	p.id(m.To)
	p.num(uint64(m.Term), uint64(m.Instance[0]))
	switch b := m.Body.(type) {
	case *rpc.AppendLogCommand:
		p.entry(b.Prev)
		p.num(1, uint64(b.Commit))
		for i := range b.Entries {
			p.num(uint64(b.Entries[i].Term), uint64(b.Entries[i].Kind))
		}
	case *rpc.AppendLogReturn:
		p.entry(b.Hint)
		p.num(2, uint64(b.Prev), uint64(b.Match))
		p.flag(b.Accepted)
	case *rpc.HeartbeatCommand:
		p.num(3, uint64(b.Commit), b.Read)
	case *rpc.HeartbeatReturn:
		p.num(4, uint64(b.Last), b.Read)
	case *rpc.CommitLogCommand:
		p.num(5, uint64(b.Commit))
	case *rpc.CommitLogReturn:
		p.num(6, uint64(b.Commit))
	case *rpc.RequestVoteCommand:
		p.entry(b.Last)
		p.num(7)
		p.flag(b.Transfer)
	case *rpc.RequestVoteReturn:
		p.num(8)
		p.flag(b.Granted)
	case *rpc.InstallSnapshotCommand:
		p.entry(b.Snapshot)
		p.num(9)
	case *rpc.InstallSnapshotReturn:
		p.entry(b.Snapshot)
		p.num(10)
		p.flag(b.Installed)
	default:
		p.num(11)
		p.flag(b.IsReturn())
	}
	return uint64(p)
}
