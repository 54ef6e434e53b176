package doctor

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// sound are the facts of a cluster that is well: n1 leads.
func sound() *facts {
	f := &facts{prefix: "raftbus", nats: "nats://bus:4222", maxPayload: payloadMin, stats: map[string]look{}, before: map[string]look{}}
	conf := &replica.Configuration{Committed: true, Voters: []replica.Member{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}}
	now := time.Now()
	for _, id := range []string{"n1", "n2", "n3"} {
		n := replica.Status{ID: id, Role: "follower", Term: 2, Leader: "n1", Ready: true, Configuration: conf, API: &replica.API{Domain: "raftbus", Default: true}, Watches: observe.Watches{Leaf: true}}
		s := observe.Stats{Node: id, Version: "v1", Time: now, Started: now.Add(-time.Hour), NATS: []observe.Conn{{Role: "bulk", Up: true}}}
		for _, peer := range []string{"n1", "n2", "n3"} {
			if peer != id {
				n.Links = append(n.Links, replica.LinkStatus{Peer: peer, State: "connected"})
				s.Peers = append(s.Peers, observe.Peer{ID: peer, Lag: new(uint64)})
			}
		}
		if id == "n1" {
			n.Role = "leader"
		}
		f.Nodes = append(f.Nodes, n)
		f.stats[id] = look{s, now, now.Add(2 * time.Millisecond)}
		f.before[id] = f.stats[id]
	}
	return f
}

// A node that answers, and whose figures nobody heard, was not looked at: that is said, and nothing is called well for it.
func TestFiguresThatAreMissingAreTold(t *testing.T) {
	f := sound()
	require.Empty(t, f.figures())
	delete(f.stats, "n2")
	found := f.figures()
	require.Len(t, found, 1)
	require.Equal(t, "n2", found[0].Node)
	require.Equal(t, "figures-missing", found[0].Code)
	require.Equal(t, note, found[0].Severity)
	f.blind = true
	require.Len(t, f.figures(), 1, "why none is there is told once")
}

// That the nodes could not be asked is said, with why, and not that they gave no answer.
func TestWhatCouldNotBeAskedIsTold(t *testing.T) {
	lost := errors.New("the buffer\nis full")
	f := sound()
	f.unasked, f.before = lost, nil
	delete(f.stats, "n2")
	found := f.figures()
	require.Len(t, found, 2)
	require.Equal(t, "n2", found[0].Node)
	require.Equal(t, "figures-missing", found[1].Code)
	require.Equal(t, note, found[1].Severity)
	require.Contains(t, found[1].Cause, "what grows between two looks was not seen")
	require.Equal(t, "the buffer; is full", found[1].Evidence)
	f.unasked, f.unaskedNow, f.stats = nil, lost, nil
	found = f.figures()
	require.Len(t, found, 1, "of all it is told once")
	require.Empty(t, found[0].Node)
	require.Contains(t, found[0].Cause, "clocks, versions")
	f.blind = true
	require.Equal(t, "figures-denied", f.figures()[0].Code)
}

// change changes the figures of a node's last look.
func (f *facts) change(id string, do func(s *observe.Stats)) {
	l := f.stats[id]
	do(&l.Stats)
	f.stats[id] = l
}

// both changes the figures of a node's two looks.
func (f *facts) both(id string, do func(s *observe.Stats)) {
	f.change(id, do)
	f.before[id] = f.stats[id]
}

// refuse has NATS have refused a node a subject before both looks; 0: nobody knows when.
func (f *facts) refuse(id string, ago time.Duration) {
	f.both(id, func(s *observe.Stats) {
		s.NATS = []observe.Conn{{Up: true, PermissionErrors: 1}}
		if ago > 0 {
			s.NATS[0].Refused = s.Time.Add(-ago)
		}
	})
}

// serve has nodes serve an account.
func (f *facts) serve(account string, ids ...string) {
	for i := range f.Nodes {
		if n := &f.Nodes[i]; slices.Contains(ids, n.ID) {
			n.Accounts = append(n.Accounts, replica.AccountStatus{Name: account, Connected: true, Watches: observe.Watches{Leaf: true}})
		}
	}
}

// know says which versions of commands the nodes know.
func (f *facts) know(versions ...uint64) {
	for i, v := range versions {
		f.Nodes[i].Commands.Knows = v
	}
}

// An upgrade that is under way, or that nobody can finish now, is nothing to be told of: 'upgrade status' says who is in the way.
func TestAnUpgradeUnderWayIsNoFinding(t *testing.T) {
	for _, c := range []func(*facts){
		func(f *facts) { f.know(3, 3, 2) },
		func(f *facts) { f.know(3, 3, 3); f.Nodes[2].Commands.Open = 3 },
		func(f *facts) { f.know(3, 3, 3); f.Nodes = f.Nodes[:2] },
	} {
		f := sound()
		c(f)
		require.Empty(t, f.upgrade())
	}
}

func TestASoundClusterHasNoFindings(t *testing.T) {
	require.Empty(t, sound().findings())
	text, err := json.Marshal(sound().diagnosis())
	require.NoError(t, err)
	require.Contains(t, string(text), `"findings":[]`)
	withAccount := sound()
	withAccount.serve("team-a", "n1", "n2", "n3")
	require.Empty(t, withAccount.findings())
	require.True(t, sound().diagnosis().Healthy)
}

// behind is what n1 says of the others: n2 is so many entries behind.
func behind(n uint64) func(*observe.Stats) {
	return func(s *observe.Stats) { s.Peers = []observe.Peer{{ID: "n2", Lag: &n}, {ID: "n3", Lag: new(uint64)}} }
}

// What is over, what gets better and what cannot be known is no finding.
func TestNoFindings(t *testing.T) {
	for name, c := range map[string]func(f *facts){
		"a member was just left behind": func(f *facts) { f.change("n1", behind(9999)) },
		"a member catches up": func(f *facts) {
			f.both("n1", behind(9999))
			f.change("n1", behind(5000))
		},
		"an earlier release does not say where it serves clients": func(f *facts) { f.Nodes[1].API = nil },
		"messages were dropped before": func(f *facts) {
			f.both("n1", func(s *observe.Stats) { s.Dropped = []observe.Drop{{Reason: "inbox full", Count: 1}} })
		},
		"an answer came late: when its clock was read nobody knows": func(f *facts) {
			l := f.stats["n3"]
			l.had = l.asked.Add(4 * time.Second)
			l.Time = l.had
			f.stats["n3"] = l
		},
	} {
		f := sound()
		c(f)
		require.Empty(t, f.findings(), name)
	}
}

// Who does not answer is a finding of its own, and not each link to it.
func TestLinksToWhoDoesNotAnswerAreNoFindings(t *testing.T) {
	f := sound()
	f.Nodes, f.Unreachable = f.Nodes[:2], []string{"n3"}
	for _, n := range f.Nodes {
		require.Equal(t, "n3", n.Links[1].Peer)
		n.Links[1].State = "broken"
	}
	found := f.findings()
	require.Len(t, found, 1, "%v", found)
	require.Equal(t, "node-down", found[0].Code)
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		severity, code, node string
		verdict              Verdict
		harm                 func(f *facts)
	}{
		{warning, "clock-skew", "n3", Ailing, func(f *facts) { f.change("n3", func(s *observe.Stats) { s.Time = s.Time.Add(2 * time.Second) }) }},
		{note, "version-mix", "", Healthy, func(f *facts) { f.change("n2", func(s *observe.Stats) { s.Version = "v2" }) }},
		{warning, "api-mix", "", Ailing, func(f *facts) { f.Nodes[1].API.Default = false }},
		{warning, "api-mix", "", Ailing, func(f *facts) { f.Nodes[1].API.Domain = "orders" }},
		{note, "upgrade-unfinished", "", Healthy, func(f *facts) { f.know(3, 3, 3) }},
		{note, "nats-max-payload", "", Healthy, func(f *facts) { f.maxPayload = payloadMin / 2 }},
		{warning, "nats-max-payload", "", Ailing, func(f *facts) { f.maxPayload = 4096 }},
		{warning, "nats-connection", "n2", Ailing, func(f *facts) {
			f.change("n2", func(s *observe.Stats) { s.NATS = []observe.Conn{{Role: "bulk", Up: true, Disconnects: 1}} })
		}},
		{warning, "nats-connection", "n2", Ailing, func(f *facts) {
			f.both("n2", func(s *observe.Stats) { s.NATS = []observe.Conn{{Role: "bulk"}} })
		}},
		{note, "nats-slow-consumer", "n2", Healthy, func(f *facts) {
			f.both("n2", func(s *observe.Stats) { s.NATS = []observe.Conn{{Role: "bulk", Up: true, SlowConsumer: 1}} })
		}},
		{warning, "nats-slow-consumer", "n2", Ailing, func(f *facts) {
			f.change("n2", func(s *observe.Stats) { s.NATS = []observe.Conn{{Role: "bulk", Up: true, SlowConsumer: 1}} })
		}},
		{warning, "nats-permissions", "n2", Ailing, func(f *facts) {
			f.change("n2", func(s *observe.Stats) { s.NATS = []observe.Conn{{Up: true, PermissionErrors: 1}} })
		}},
		{warning, "nats-permissions", "n2", Ailing, func(f *facts) { f.refuse("n2", refusedFor-time.Millisecond) }},
		{note, "nats-permissions", "n2", Healthy, func(f *facts) { f.refuse("n2", refusedFor) }},
		{note, "nats-permissions", "n2", Healthy, func(f *facts) { f.refuse("n2", 0) }}, // a node of an earlier release does not tell when
		{warning, "overload", "n1", Ailing, func(f *facts) {
			f.change("n1", func(s *observe.Stats) { s.Queues = []observe.Queue{{Name: "requests", Waiting: 9, Max: 10}} })
		}},
		{note, "dropped", "n1", Healthy, func(f *facts) {
			f.change("n1", func(s *observe.Stats) { s.Dropped = []observe.Drop{{Reason: "inbox full", Count: 1}} })
		}},
		{warning, "disk-slow", "n2", Ailing, func(f *facts) { f.change("n2", func(s *observe.Stats) { s.Disk.Slow = true }) }},
		{warning, "disk-full", "n2", Ailing, func(f *facts) { f.Nodes[1].Disk.Full = true }},
		{warning, "disk-full", "n2", Ailing, func(f *facts) { f.Nodes[1].Disk.Full, f.Nodes[1].Disk.Files = true, true }},
		{warning, "disk-damaged", "n2", Ailing, func(f *facts) { f.Nodes[1].Disk.Damaged = 3 }},
		{note, "snapshot", "n2", Healthy, func(f *facts) {
			f.change("n1", func(s *observe.Stats) { behind(9999)(s); s.Peers[0].State = "snapshot" })
		}},
		{warning, "lag", "n2", Ailing, func(f *facts) { f.both("n1", behind(9999)) }},
		{warning, "no-leaf", "", Ailing, func(f *facts) { f.Nodes[0].Watches.Leaf = false }},
		{warning, "account", "", Ailing, func(f *facts) { f.serve("team-a", "n1", "n2") }},
		{warning, "account", "", Ailing, func(f *facts) { f.serve("team-a", "n1", "n2", "n3"); f.Nodes[1].Accounts[0].Watches.Leaf = false }},
		{warning, "bus-open", "", Ailing, func(f *facts) { f.open = true }},
		{note, "bus-open", "", Healthy, func(f *facts) { f.open, f.local = true, true }},
		{warning, "link-broken", "n1", Ailing, func(f *facts) { f.Nodes[0].Links[0].State = "broken" }},
		{warning, "node-refused", "n3", Ailing, func(f *facts) { f.Nodes[2].RefusedBy = map[string]string{"n1": "wiped"} }},
		{warning, "link-refused", "n1", Ailing, func(f *facts) { f.Nodes[0].Links[0].Refusal = "an old backup" }},
		{critical, codeRival, "n1", Unserved, func(f *facts) { f.Nodes[0].Rival = "x leads" }},
		{critical, codeNoLeader, "", Unserved, func(f *facts) { f.Nodes[0].Role = "follower" }},
		{note, "node-joining", "n4", Healthy, func(f *facts) { f.Nodes = append(f.Nodes, replica.Status{ID: "n4", Joining: true, Role: "joining"}) }},
		{note, "members-changing", "", Healthy, func(f *facts) { f.Nodes[0].Configuration.Committed = false }},
		{note, "learner", "n3", Healthy, func(f *facts) {
			conf := f.Nodes[0].Configuration
			conf.Voters, conf.Learners = conf.Voters[:2], conf.Voters[2:]
		}},
	} {
		f := sound()
		c.harm(f)
		found := f.findings()
		require.Len(t, found, 1, "%s: %v", c.code, found)
		require.Equal(t, []string{c.severity, c.code, c.node}, []string{found[0].Severity, found[0].Code, found[0].Node})
		require.NotEmpty(t, found[0].Cause)
		require.NotEmpty(t, found[0].Evidence)
		require.NotEmpty(t, found[0].Remedy)
		d := f.diagnosis()
		require.Equal(t, c.verdict, d.Verdict(), c.code)
		require.Equal(t, c.severity == note, d.Healthy)
	}
}

// From where on something is a finding: half a second of a clock, a thousand entries, four fifths of a queue.
func TestFindingsBeginSomewhere(t *testing.T) {
	for _, c := range []struct {
		code        string
		last, first uint64 // that is none, that is one
		harm        func(f *facts, n uint64)
	}{
		{"clock-skew", 495, 505, func(f *facts, ms uint64) { // beyond what a look cannot tell
			f.change("n3", func(s *observe.Stats) { s.Time = s.Time.Add(replica.StatsFor + time.Duration(ms)*time.Millisecond) })
		}},
		{"lag", 999, 1000, func(f *facts, n uint64) { f.both("n1", behind(n)) }},
		{"overload", 79, 80, func(f *facts, n uint64) {
			f.change("n1", func(s *observe.Stats) { s.Queues = []observe.Queue{{Name: "requests", Waiting: int(n), Max: 100}} })
		}},
	} {
		f := sound()
		c.harm(f, c.last)
		require.Empty(t, f.findings(), c.code)
		f = sound()
		c.harm(f, c.first)
		found := f.findings()
		require.Len(t, found, 1, c.code)
		require.Equal(t, c.code, found[0].Code)
	}
}

// The evidence is what was seen, of each node, and the remedy is of that.
func TestFindingsSayWhatWasSeen(t *testing.T) {
	const jetstream = "a JetStream answers: start without --serve-default-api"
	account := func(harm func(*replica.AccountStatus)) func(*facts) {
		return func(f *facts) { f.serve("team-a", "n1", "n2", "n3"); harm(&f.Nodes[1].Accounts[0]) }
	}
	for _, c := range []struct {
		harm             func(*facts)
		evidence, remedy string
	}{
		{func(f *facts) { f.serve("team-a", "n1") }, "n2: it has no credentials for it; n3: it has no credentials for it", "give all nodes credentials"},
		{account(func(a *replica.AccountStatus) { a.Refused, a.Connected = jetstream, false }), "n2: " + jetstream, "do what is said there"},
		{account(func(a *replica.AccountStatus) { a.Connected, a.Watches.Leaf = false, false }), "n2: not connected", "look whether the NATS server knows"},
		{account(func(a *replica.AccountStatus) { a.Watches = observe.Watches{LeafError: "EOF"} }), "n2: its leaf connection is not up: EOF", "connect as a leafnode"},
		{func(f *facts) { f.Nodes[2].Watches = observe.Watches{LeafError: "dial: connection refused"} }, "n3: its leaf connection is not up: dial: connection refused", "leafnodes port"},
		{
			func(f *facts) { f.Nodes[1].API.Default, f.Nodes[2].API.Domain = false, "orders" },
			"--js-domain orders --serve-default-api: n3; --js-domain raftbus: n2; --js-domain raftbus --serve-default-api: n1", "start them anew, one at a time",
		},
		{func(f *facts) { f.Nodes[1].Disk.Full, f.Nodes[1].Disk.LogBytes = true, 3<<20 }, "it has less room than is left to the state (48 MiB, and as much as that has on the disk, up to 256 MiB more) and a segment of the log, which has 3 MiB", "make room"},
		{func(f *facts) { f.Nodes[1].Disk.Full, f.Nodes[1].Disk.Files = true, true }, "the system refused the next segment of its log for that", "have some closed, or allow more"},
		{func(f *facts) {
			conf := f.Nodes[0].Configuration
			conf.Index, conf.Outgoing, conf.Committed = 12, conf.Voters[:2], false
		}, "configuration 12, voters n1 n2 n3, outgoing voters n1 n2, not committed yet", "wait"},
		{func(f *facts) {
			conf := f.Nodes[0].Configuration
			conf.Index, conf.Voters, conf.Learners = 13, conf.Voters[:2], conf.Voters[2:]
		}, "configuration 13, voters n1 n2, learners n3", "wait"},
	} {
		f := sound()
		c.harm(f)
		found := f.findings()
		require.Len(t, found, 1, "%v", found)
		require.Equal(t, c.evidence, found[0].Evidence)
		require.Contains(t, found[0].Remedy, c.remedy)
	}
}

// What is printed is not said once more: the worst, and how much else there is.
func TestTheSummaryIsShort(t *testing.T) {
	f := sound()
	f.open, f.local = true, true
	require.Empty(t, f.diagnosis().Summary())
	f.Nodes[0].Rival = "x leads"
	require.Equal(t, "another cluster uses the prefix raftbus on this NATS account", f.diagnosis().Summary())
	f.Nodes[1].Disk.Full = true
	require.Equal(t, "another cluster uses the prefix raftbus on this NATS account; and 1 more finding", f.diagnosis().Summary())
	f.Nodes[1].Disk.Full, f.Nodes[2].Disk.Full = true, true
	require.Equal(t, "another cluster uses the prefix raftbus on this NATS account; and 2 more findings", f.diagnosis().Summary())
}

// One who has lost entries of its log, and one that is away: nobody is elected, and no remedy waits for a leader.
func TestWithoutVotesNothingWaitsForALeader(t *testing.T) {
	f := sound()
	f.Nodes[0].Role, f.Nodes[1].Disk.Damaged = "follower", 3
	f.Nodes, f.Unreachable = f.Nodes[:2], []string{"n3"}
	codes := []string{}
	for _, found := range f.findings() {
		codes = append(codes, found.Code)
		require.Contains(t, found.Remedy, "raftbus recover on the one that has the most", found.Code)
	}
	require.ElementsMatch(t, []string{codeNoLeader, "node-down", "disk-damaged"}, codes)
	found := f.service()
	require.Equal(t, "2 of 3 members answer, and a log that has lost entries gives no vote until a leader has given them again: n2", found[0].Evidence)
	require.Contains(t, found[0].Remedy, "bring back so many of n3 that a majority has a vote")
	require.Equal(t, Unserved, f.diagnosis().Verdict())
}

// A node that waits to be added is no member: with it alone nothing is served.
func TestWithoutMembersNothingIsServed(t *testing.T) {
	f := sound()
	f.Nodes = []replica.Status{{ID: "n4", Joining: true, Role: "joining"}}
	f.Unreachable = nil
	require.Equal(t, Unserved, f.diagnosis().Verdict())
}

// Of a cluster that has not begun nothing is lost, and a majority is not enough.
func TestAFirstBootIsNoLostQuorum(t *testing.T) {
	for _, silent := range [][]string{{"n3"}, {"n2", "n3"}} {
		f := sound()
		f.Nodes = f.Nodes[:3-len(silent)]
		for i := range f.Nodes {
			f.Nodes[i].Configuration, f.Nodes[i].Leader, f.Nodes[i].Role = nil, "", "follower"
			f.Nodes[i].Members, f.Nodes[i].WaitingFor, f.Nodes[i].FirstBoot = []string{"n1", "n2", "n3"}, silent, "gathering"
		}
		f.Unreachable = silent
		found := f.service()
		require.Len(t, found, 1)
		require.Contains(t, found[0].Cause, "has not begun")
		require.Equal(t, "start "+strings.Join(silent, ", "), found[0].Remedy)
		require.Equal(t, Unserved, f.diagnosis().Verdict())
		require.Len(t, f.findings(), 1, "nobody can be replaced, and to start those that are missing is all that helps")

		f.Nodes[0].Members = []string{"n1", "n4"} // a wrong list: all else follows from it
		f.Nodes = append(f.Nodes, replica.Status{ID: "n4", Joining: true}, replica.Status{ID: "n5", Members: f.Nodes[len(f.Nodes)-1].Members, FirstBoot: "gathering"})
		if len(silent) == 1 {
			found = f.findings()
			require.Len(t, found, 1)
			require.Equal(t, "the cluster cannot begin: other members were given to n1 than to n2, n5", found[0].Cause)
			require.Equal(t, "n1: n1,n4; n2, n5: n1,n2,n3", found[0].Evidence)
			require.Equal(t, "stop n1, and start with an empty --dir and --members n1,n2,n3", found[0].Remedy)
			require.Equal(t, Unserved, f.diagnosis().Verdict())

			f.Nodes[0].Members = f.Nodes[1].Members // and one that the others do not await
			f.Nodes = append(f.Nodes, replica.Status{ID: "n6", Members: []string{"n1", "n2", "n3", "n6"}, FirstBoot: "gathering"})
			require.Contains(t, f.findings()[0].Remedy, "if it is of another cluster, give that another --prefix;")
		}
	}
}

// Without a quorum no member can be replaced; what is left then is said.
func TestWhatHelpsWithoutAQuorum(t *testing.T) {
	f := sound()
	f.Nodes, f.Unreachable = f.Nodes[:2], []string{"n3"}
	require.Contains(t, f.absent()[0].Remedy, "raftbus member replace n3 NEW")
	require.Empty(t, f.service())
	f.Nodes, f.Unreachable = f.Nodes[:1], []string{"n2", "n3"}
	require.Len(t, f.absent(), 2)
	require.NotContains(t, f.absent()[0].Remedy, "replace")
	require.Contains(t, f.service()[0].Remedy, "if they can never come back: stop all that are left, and 'raftbus recover'")
}

// What a node that was removed goes on saying is dropped: one finding says so, and to stop it. Members know the id of one that was replaced under its own
// by another data folder, and drop what the old one says for that.
func TestWhatARemovedNodeSaysIsNoFinding(t *testing.T) {
	f := sound()
	f.change("n1", func(s *observe.Stats) { s.Dropped = []observe.Drop{{Reason: busclient.UnknownSender, Count: 1}} })
	require.Len(t, f.findings(), 1)
	f.Nodes = append(f.Nodes, replica.Status{ID: "n4", Role: "removed", Links: []replica.LinkStatus{{Peer: "n1", State: "broken", Refusal: "no member"}}})
	found := f.findings()
	require.Len(t, found, 1, "%v", found)
	require.Equal(t, "node-removed", found[0].Code)
	require.Contains(t, found[0].Remedy, "raftbus member add n4")
	f.change("n2", func(s *observe.Stats) { s.Dropped = []observe.Drop{{Reason: "inbox full", Count: 1}} })
	require.Len(t, f.findings(), 2, "what else a node drops is still told")
	f.change("n2", func(s *observe.Stats) { s.Dropped[0].Reason = busclient.OtherInstance })
	require.Len(t, f.findings(), 2, "n4 has no member's id")
	f.Nodes = f.Nodes[:3]
	f.change("n1", func(s *observe.Stats) { s.Dropped[0].Reason = busclient.OtherInstance })
	f.Nodes[2].Role, f.Nodes[2].Instance = "removed", "old"
	found = f.findings()
	require.Len(t, found, 1, "%v", found)
	require.Equal(t, "node-removed", found[0].Code)
	require.Equal(t, "stop it and delete its data folder", found[0].Remedy, "it cannot be let in: its id is a member's")
	f.Nodes[2].Instance = ""
	require.Contains(t, f.findings()[0].Remedy, "raftbus member add n3", "it was let in again just now, and does not know")
}

// Who leads must be a member: where others would serve clients does not matter.
func TestOnlyMembersServeClients(t *testing.T) {
	for _, role := range []string{"joining", "removed"} {
		f := sound()
		f.Nodes = append(f.Nodes, replica.Status{ID: "n4", Role: role, API: &replica.API{Domain: "orders"}})
		require.Empty(t, f.apis(), role)
	}
}

// The codes are API: docs/troubleshooting.md lists those that the rules give, and no others.
func TestTheCodesOfFindingsAreListed(t *testing.T) {
	given := regexp.MustCompile(`(?m)(?:Code: |one\.Code, .* = |^\tcode[A-Za-z]+ += |say\((?:"", )?[^"\n]*)"([a-z-]+)"`)
	codes := map[string]bool{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range given.FindAllStringSubmatch(string(source), -1) {
			codes[found[1]] = true
		}
	}
	require.Greater(t, len(codes), 30)
	page, err := os.ReadFile("../../../docs/troubleshooting.md")
	require.NoError(t, err)
	_, list, _ := strings.Cut(string(page), "\n## What the doctor finds\n")
	list, _, _ = strings.Cut(list, "\n## ")
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(list, -1) {
		listed[row[1]] = true
	}
	require.Equal(t, codes, listed)
}

// Counters of two lives of a node are not compared.
func TestANodeThatStartedAnewLostNothing(t *testing.T) {
	f := sound()
	f.change("n1", func(s *observe.Stats) {
		s.Started, s.Dropped = time.Now(), []observe.Drop{{Reason: "inbox full", Count: 1}}
		s.NATS = []observe.Conn{{Role: "bulk", Up: true, Disconnects: 2}}
	})
	require.Empty(t, f.findings())
}
