package raft

// What a transcript can say of members, snapshots and transfers, and how it tells of them.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/raftbus/raftbus/raft/rpc"
)

// populate makes the nodes: all are voters unless the transcript says who is what.
func (s *script) populate(d *datadriven.TestData, all []rpc.NodeID) *cluster {
	conf := rpc.Configuration{Voters: listed(s.t, d, "voters"), Outgoing: listed(s.t, d, "outgoing"), Learners: listed(s.t, d, "learners")}
	if len(conf.Voters) == 0 {
		conf = table(all...)
	}
	c := newCluster(conf)
	for _, id := range all {
		if c.node(id) == nil {
			c.list = append(c.list, &member{id: id, joins: true})
		}
	}
	return c
}

func listed(t *testing.T, d *datadriven.TestData, key string) []rpc.Member {
	if !d.HasArg(key) {
		return nil
	}
	var text string
	d.ScanArgs(t, key, &text)
	var list []rpc.NodeID
	for _, id := range strings.Split(text, "/") {
		list = append(list, rpc.NodeID(id))
	}
	return members(list...)
}

// members carries out a command about members, snapshots or transfers.
func (s *script) members(cmd string, m *member, w []string) {
	switch cmd {
	case "reconfigure":
		s.ticket++
		s.step(m, Reconfigure{Ticket: s.ticket, Change: s.change(w)})
	case "transfer":
		s.step(m, Transfer{To: rpc.NodeID(strings.Join(w, ""))})
	case "join":
		m.joins, m.disk.conf = false, s.node(rpc.NodeID(w[0])).core.Committed()
		s.boot(m)
		s.step(m, Tick{})
	case "wipe":
		s.cluster.crash(m, 0)
		m.disk, m.applied, m.kept, m.staged, m.joins = disk{}, 0, 0, nil, true
		m.instance[0]++
	case "compact":
		m.kept = m.applied
		s.step(m, Compact{m.applied})
	case "stream":
		s.stream(m, rpc.NodeID(w[0]))
	case "ended":
		s.step(m, SnapshotEnded{Peer: rpc.NodeID(w[0]), Term: m.core.hard.Term})
	case "stored":
		s.store(m)
	case "restored":
		s.step(m, s.cluster.restore(m)...)
	default:
		panic("no such command: " + cmd)
	}
}

// change reads "add n4 n5 remove n2 if 3".
func (s *script) change(w []string) (ch Change) {
	to := ""
	for i, word := range w {
		switch {
		case word == "add" || word == "remove" || word == "if":
			to = word
		case to == "add":
			ch.Add = append(ch.Add, rpc.Member{ID: rpc.NodeID(word), Instance: s.node(rpc.NodeID(word)).instance})
		case to == "remove":
			ch.Remove = append(ch.Remove, rpc.NodeID(word))
		default:
			ch.If = new(rpc.Index(number(w, i)))
		}
	}
	return ch
}

// stream is the driver's part: the whole state in one chunk, as of what is applied.
func (s *script) stream(m *member, to rpc.NodeID) {
	at := rpc.EntryID{Index: m.applied}
	at.Term, _ = m.core.log.term(at.Index)
	conf := m.core.ConfigurationAt(at.Index)
	msg := rpc.Message{From: m.id, To: to, Term: m.core.hard.Term, Body: &rpc.InstallSnapshotCommand{
		Snapshot: at, Transfer: 1, Final: true, Configuration: &conf,
	}}
	s.tell("  %s -> %s %s", m.id, to, content(msg))
	s.part(m, msg)
}

// store tells a core that what it was streamed is whole, and on its disk.
func (s *script) store(m *member) {
	if e := m.staged; e != nil {
		m.staged = nil
		s.step(m, *e)
	}
}

// follow does what a driver does at once: a chunk goes to the disk, and the link to whoever is new comes up.
func (s *script) follow(m *member) {
	for _, msg := range m.out.Chunks {
		if cmd, ok := msg.Body.(*rpc.InstallSnapshotCommand); ok {
			m.staged = &SnapshotStored{From: msg.From, Call: msg.Call, Transfer: cmd.Transfer, Snapshot: cmd.Snapshot, Configuration: *cmd.Configuration}
		}
	}
	for _, f := range m.out.Facts {
		if roster, ok := f.(RosterChanged); ok {
			for _, peer := range roster.Members {
				if !m.core.election.links[peer.ID] {
					s.step(m, LinkChanged{peer.ID, true})
				}
			}
		}
	}
}

// named is a member; n2' is n2 on its second disk.
func named(m rpc.Member) string { return string(m.ID) + strings.Repeat("'", int(m.Instance[0])) }

func nameList(list []rpc.Member) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = named(m)
	}
	return strings.Join(names, ",")
}

// configuration is one in brief: its voters, the others, and where in the log it stands.
func configuration(c rpc.Configuration) string {
	text := nameList(c.Voters)
	if c.Joint() {
		text += " and " + nameList(c.Outgoing)
	}
	if len(c.Learners) > 0 {
		text += " learning " + nameList(c.Learners)
	}
	return fmt.Sprintf("%s (of %d)", text, c.Index)
}

func configures(e rpc.Entry) bool { return e.Kind == rpc.EntryConfiguration && len(e.Data) > 0 }

// base tells where a write lets the log begin.
func base(b *Base) string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf(" base %v", b.ID)
}

// after tells where a log begins, if not at the beginning.
func after(id rpc.EntryID) string {
	if id.Index == 0 {
		return ""
	}
	return fmt.Sprintf(" after %v", id)
}

// seldom tells a message of a snapshot or a transfer.
func seldom(b rpc.Body) string {
	switch b := b.(type) {
	case *rpc.InstallSnapshotCommand:
		return fmt.Sprintf("InstallSnapshot %v, there in force: %s", b.Snapshot, configuration(*b.Configuration))
	case *rpc.InstallSnapshotReturn:
		if b.Installed {
			return fmt.Sprintf("InstallSnapshot ok, holds all up to %v", b.Snapshot)
		}
		return fmt.Sprintf("InstallSnapshot, stored to %d", b.Next)
	case *rpc.TimeoutNowCommand:
		return "TimeoutNow"
	case *rpc.TimeoutNowReturn:
		return "TimeoutNow ok"
	}
	return fmt.Sprintf("%T", b)
}
