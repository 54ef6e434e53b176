package raft

// Transcripts: scenarios of a small cluster under testdata, in a language of a few words (testdata/README.md), each command
// followed by all that the cores did. Rewrite them with `go test ./raft -run Transcripts -rewrite`, and read the diff.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// script is a cluster driven by a transcript.
type script struct {
	*cluster
	t       *testing.T
	wire    []rpc.Message // left, not delivered
	ticket  uint64
	said    strings.Builder
	instant bool       // disks and state machines take no time
	slow    rpc.NodeID // but this one's disk waits for its sync
	aloud   bool       // tell what leaves
	clock   int64
}

func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".txt") {
			return
		}
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(d) })
	})
}

// run carries out one command, and tells what came of it.
func (s *script) run(d *datadriven.TestData) string {
	s.said.Reset()
	defer func() {
		if wrong := recover(); wrong != nil {
			d.Fatalf(s.t, "%v\n%s", wrong, s.said.String())
		}
	}()
	words := make([]string, len(d.CmdArgs))
	for i, a := range d.CmdArgs {
		words[i] = a.String()
	}
	s.command(d, words)
	if s.said.Len() == 0 {
		return "(nothing)"
	}
	return folded(s.said.String())
}

// folded counts a line that repeats instead of repeating it.
func folded(said string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	for i, n := 0, 1; i < len(lines); i++ {
		if i+1 < len(lines) && lines[i+1] == lines[i] {
			n++
			continue
		}
		b.WriteString(lines[i])
		if n > 1 {
			fmt.Fprintf(&b, " (%d times)", n)
		}
		b.WriteString("\n")
		n = 1
	}
	return b.String()
}

func (s *script) command(d *datadriven.TestData, w []string) {
	switch d.Cmd {
	case "cluster":
		s.build(d)
	case "tick":
		for range number(w, 1) {
			s.clock++
			s.each(w[0], func(m *member) { s.step(m, Tick{Clock: s.clock}) })
		}
	case "deliver":
		s.deliver(s.pick(w))
	case "drop":
		s.tell("%d lost", len(s.pick(w)))
	case "elect":
		s.elect(s.node(rpc.NodeID(w[0])))
	case "settle":
		s.settle()
	case "quiet":
		s.settle()
		s.said.Reset()
	case "sync":
		m := s.node(rpc.NodeID(w[0]))
		writes := len(m.disk.queue)
		if len(w) > 1 {
			writes = min(writes, number(w, 1))
		}
		s.aloud = true
		done := s.cluster.sync(m, writes)
		s.aloud = false
		s.step(m, done...)
	case "log", "status":
		s.show(d.Cmd, w)
	default:
		s.node1(d.Cmd, s.node(rpc.NodeID(w[0])), w[1:])
	}
}

// node1 carries out a command of one node.
func (s *script) node1(cmd string, m *member, w []string) {
	switch cmd {
	case "apply":
		s.step(m, s.cluster.apply(m)...)
	case "propose":
		s.propose(m, w)
	case "hear":
		s.hear(m, w)
	case "read":
		s.ticket++
		s.step(m, ReadIndex{s.ticket})
	case "resign":
		s.step(m, Resign{})
	case "ping":
		p := s.cluster.ping(s.node(rpc.NodeID(w[0])))
		p.Outcome = map[string]PingOutcome{"answered": PingOK, "nobody": PingNobody, "unclear": PingUnclear}[w[1]]
		s.step(m, p)
	case "link":
		s.step(m, LinkChanged{rpc.NodeID(w[0]), w[1] == "up"})
	case "bus":
		s.step(m, BusChanged{w[0] == "up"})
	case "failed":
		s.step(m, Failed{rpc.NodeID(w[0]), rpc.Method(w[1]), rpc.Index(number(w, 2))})
	case "crash":
		s.cluster.crash(m, 0)
	case "restart":
		s.boot(m)
	default:
		s.members(cmd, m, w)
	}
}

// number is the word at i; 1 if there is none.
func number(w []string, i int) int {
	if i >= len(w) {
		return 1
	}
	n, err := strconv.Atoi(w[i])
	if err != nil {
		panic(err)
	}
	return n
}

func (s *script) tell(format string, args ...any) { fmt.Fprintf(&s.said, format+"\n", args...) }

// build makes a cluster: nodes=3 term=1 [instant] [single] [voters=n1,n2] [outgoing=n3] [learners=n4], and one line per node that
// has a log: "n1: 1 1 2". A node that has no place in it is down, and waits to be let in.
func (s *script) build(d *datadriven.TestData) {
	var size, term int
	d.ScanArgs(s.t, "nodes", &size)
	d.ScanArgs(s.t, "term", &term)
	s.instant, s.slow = d.HasArg("instant"), ""
	if d.HasArg("slow") {
		d.ScanArgs(s.t, "slow", (*string)(&s.slow))
	}
	all := []rpc.NodeID{"n1", "n2", "n3", "n4", "n5"}[:size]
	s.cluster, s.wire = s.populate(d, all), nil
	s.watch = newWatcher(s.t, s.cluster)
	s.leave = func(m rpc.Message) {
		s.wire = append(s.wire, m)
		if s.aloud {
			s.tell("  %s -> %s %s", m.From, m.To, content(m))
		}
	}
	s.dice = func(id rpc.NodeID) Random { return fixedDice(30 * slices.Index(all, id)) }
	if d.HasArg("single") {
		s.limits.AppendBytesMax = 1
	}
	for _, m := range s.list {
		m.disk.hard.Term = rpc.Term(term)
	}
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		if id, terms, ok := strings.Cut(line, ":"); ok {
			s.remember(s.node(rpc.NodeID(id)), strings.Fields(terms))
		}
	}
	for _, m := range s.list {
		if !m.joins {
			s.boot(m)
		}
	}
}

func (s *script) remember(m *member, terms []string) {
	for i, word := range terms {
		term, err := strconv.Atoi(word)
		require.NoError(s.t, err)
		e := at(rpc.Term(term), rpc.Index(i+1))
		s.watch.slots[e.ID()] = slot{m.disk.last().Term, string(e.Data)}
		m.disk.log = append(m.disk.log, e)
	}
}

// boot starts a node with all its links up.
func (s *script) boot(m *member) {
	s.cluster.start(m)
	events := []Event{BusChanged{Up: true}}
	for _, peer := range s.list {
		if peer != m {
			events = append(events, LinkChanged{peer.id, true})
		}
	}
	s.turn(m, events...)
}

func (s *script) each(word string, do func(*member)) {
	for _, m := range s.list {
		if m.core != nil && (word == "all" || word == string(m.id)) {
			do(m)
		}
	}
}

// pick takes messages off the wire: "to=n2", "from=n1", "n=1", the oldest first; without a word, all there are.
func (s *script) pick(words []string) (taken []rpc.Message) {
	limit, keep := 1<<30, []rpc.Message{}
	for _, w := range words {
		if n, ok := strings.CutPrefix(w, "n="); ok {
			limit, _ = strconv.Atoi(n)
		}
	}
	for _, m := range s.wire {
		fits := len(taken) < limit
		for _, w := range words {
			key, value, _ := strings.Cut(w, "=")
			fits = fits && (key != "to" || value == string(m.To)) && (key != "from" || value == string(m.From))
		}
		if fits {
			taken = append(taken, m)
		} else {
			keep = append(keep, m)
		}
	}
	s.wire = keep
	return taken
}

func (s *script) deliver(list []rpc.Message) {
	for _, msg := range list {
		m := s.node(msg.To)
		if m.core == nil {
			s.tell("%s is down", msg.To)
			continue
		}
		s.tell("%s > %s %s", msg.From, msg.To, content(msg))
		s.step(m, Received{msg})
	}
}

// settle delivers, syncs and applies until nothing is left to do.
func (s *script) settle() {
	for busy := true; busy; {
		list := s.pick(nil)
		busy = len(list) > 0
		s.deliver(list)
		s.each("all", func(m *member) {
			busy = s.finish(m) || busy
		})
	}
}

// elect makes a node lead without a word about it. Its first messages are on the wire.
func (s *script) elect(m *member) {
	s.each("all", func(voter *member) {
		if leader := voter.core.leader; leader != "" && leader != voter.id && voter != m {
			for range s.ticks.ElectionMin {
				s.turn(voter, Tick{}) // so that it does not stick to that leader
			}
		}
	})
	for campaigns := 0; m.core.role != Leader; campaigns++ {
		require.Less(s.t, campaigns, 3, "%s is not elected", m.id)
		s.campaign(m)
	}
	s.each("all", func(voter *member) {
		for range s.ticks.QuickMax {
			if voter != m {
				s.turn(voter, Tick{}) // what follows is not refused because a vote was just given
			}
		}
	})
	s.said.Reset()
	s.tell("%s leads term %d", m.id, m.core.hard.Term)
}

// campaign lets time pass until a node begins a campaign, and then everybody answers, until it leads or nothing is left.
func (s *script) campaign(m *member) {
	for m.core.role == PreCandidate {
		s.turn(m, Tick{})
	}
	for m.core.role != PreCandidate {
		s.turn(m, Tick{})
	}
	for busy := true; busy && m.core.role != Leader; {
		list := s.pick(nil)
		busy = len(list) > 0
		s.deliver(list)
		s.each("all", func(m *member) { busy = s.finish(m) || busy })
	}
}

// finish lets a node's disk and state machine do what they were given, and reports whether there was anything.
func (s *script) finish(m *member) bool {
	if m.id == s.slow || len(m.disk.queue) == 0 && m.busy.To == 0 && len(m.loads) == 0 && m.staged == nil {
		return false
	}
	s.step(m, s.cluster.sync(m, len(m.disk.queue))...)
	s.step(m, s.cluster.apply(m)...)
	s.step(m, s.cluster.load(m)...)
	s.store(m)
	s.step(m, s.cluster.restore(m)...)
	return true
}

// hear makes up an AppendLog: from whom, in which term, after which entry, and the terms of its entries.
func (s *script) hear(m *member, w []string) {
	var prev rpc.EntryID
	_, err := fmt.Sscanf(w[2], "%d/%d", &prev.Term, &prev.Index)
	require.NoError(s.t, err)
	var terms []rpc.Term
	for i := range w[3:] {
		terms = append(terms, rpc.Term(number(w, 3+i)))
	}
	msg := rpc.Message{From: rpc.NodeID(w[0]), To: m.id, Term: rpc.Term(number(w, 1))}
	msg.Body = &rpc.AppendLogCommand{Prev: prev, Entries: run(prev.Index+1, terms...)}
	s.deliver([]rpc.Message{msg})
}

func (s *script) propose(m *member, data []string) {
	var list []Proposal
	for _, d := range data {
		s.ticket++
		list = append(list, Proposal{s.ticket, []byte(d)})
	}
	s.step(m, Propose{Proposals: list})
}

// step is a turn that is told.
func (s *script) step(m *member, events ...Event) {
	if m.core == nil || len(events) == 0 {
		return
	}
	s.turn(m, events...)
	s.effects(m)
	s.follow(m)
	m.pings = nil
	if s.instant {
		s.finish(m)
	}
}
