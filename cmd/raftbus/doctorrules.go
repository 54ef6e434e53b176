package main

// The doctor's rules: from facts to findings. Each rule looks at one thing. None asks anybody, or looks at a clock.

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/node"
)

// Codes of findings that decide the exit code.
const (
	codeNoNATS   = "nats-unreachable"
	codeDenied   = "nats-denied"
	codeNoNode   = "no-node-answers"
	codeNoQuorum = "no-quorum"
	codeNoLeader = "no-leader"
	codeRival    = "rival-cluster"
)

// From where on something is worth a word.
const (
	skewMax       = 500 * time.Millisecond // between a node's clock and the others'; the median of the voters' is the cluster's time
	lagMax        = 1000                   // entries that a member is behind, if it does not catch up meanwhile
	queueShare    = 0.8                    // of what may wait, before who asks is told 'busy'
	refusedFor    = time.Minute            // after NATS refused a subject: what is asked for less often than the doctor looks is not missed
	payloadMin    = 1 << 20                // NATS's own default for max_payload
	payloadTooLow = 64 << 10
)

func noNATS(err error) finding {
	return finding{
		Severity: critical, Code: codeNoNATS, Cause: "NATS, which all nodes and clients need, cannot be reached or refuses these credentials", Evidence: oneLine(err),
		Remedy: "start the NATS server, or give its address with --nats and credentials that it takes; nodes come back by themselves",
	}
}

// findings are all that the rules find.
func (f *facts) findings() []finding {
	switch {
	case f.unheard:
		return []finding{{
			Severity: critical, Code: codeDenied, Cause: "NATS lets these credentials hear no node's answer", Evidence: f.refused.Error(), Remedy: inboxRemedy,
		}}
	case f.refused != nil:
		return []finding{{
			Severity: critical, Code: codeDenied, Cause: "NATS lets these credentials ask no node", Evidence: f.refused.Error(),
			Remedy: "use credentials that may publish on " + f.prefix + ".node.>, those of an administrator or a monitor",
		}}
	case len(f.Nodes) == 0:
		return []finding{{
			Severity: critical, Code: codeNoNode, Cause: "no node answers",
			Evidence: "nobody answers on " + busclient.StatusSubject(f.prefix, busclient.AllNodes) + " at " + f.nats,
			Remedy:   "start the nodes; or check --prefix, and that nodes and this command use the same NATS account",
		}}
	}
	all := []finding{} // in JSON a list, also if it is empty
	for _, rule := range []func(*facts) []finding{
		(*facts).service, (*facts).absent, (*facts).founding, (*facts).refusals, (*facts).links, (*facts).disks, (*facts).lags, (*facts).overload,
		(*facts).clocks, (*facts).versions, (*facts).upgrade, (*facts).connections, (*facts).payload, (*facts).leaves, (*facts).accounts, (*facts).figures, (*facts).bus, (*facts).comings,
	} {
		all = append(all, rule(f)...)
	}
	return all
}

// service: whether clients are served at all.
func (f *facts) service() []finding {
	answer := len(f.Members()) - len(f.Unreachable)
	heard := fmt.Sprintf("%d of %d members answer", answer, len(f.Members()))
	code := codeNoQuorum
	if f.HasQuorum() {
		code = codeNoLeader
	}
	switch {
	case len(f.Members()) == 0:
		return []finding{{
			Severity: critical, Code: codeNoLeader, Cause: "no member answers, only nodes that wait to be added: nothing is served", Evidence: fmt.Sprintf("%d nodes answer, and none knows a configuration", len(f.Nodes)),
			Remedy: "start the members; or check --prefix, and that they and this command use the same NATS account",
		}}
	case f.Leader() != nil:
		return nil
	case f.Configuration() == nil && len(f.Unreachable) > 0:
		return []finding{{
			Severity: critical, Code: code, Cause: "the cluster has not begun: at the first boot all members must be up", Evidence: heard,
			Remedy: "start " + strings.Join(f.Unreachable, ", "),
		}}
	case code == codeNoQuorum:
		return []finding{{
			Severity: critical, Code: code, Cause: "the quorum is lost: no write and no read is served", Evidence: heard + ", and a majority of the voters is needed",
			Remedy: "bring back so many of " + strings.Join(f.Unreachable, ", ") + " that a majority answers; nothing acknowledged is lost meanwhile",
		}}
	}
	var said []string
	for _, n := range f.Nodes {
		said = append(said, fmt.Sprintf("%s is %s in term %d and follows %q", n.ID, n.Role, n.Term, n.Leader))
	}
	return []finding{{
		Severity: critical, Code: codeNoLeader, Cause: "no leader serves", Evidence: heard + ": " + strings.Join(said, ", "),
		Remedy: "an election ends within a second: if this stays, look at the findings about links and disks, and at the nodes' logs",
	}}
}

// absent: members that do not answer.
func (f *facts) absent() (found []finding) {
	for _, id := range f.Unreachable {
		one := finding{
			Severity: warning, Code: "node-down", Node: id, Cause: id + " is not on the bus: its process has ended, or is cut off from NATS",
			Evidence: "nobody listens on " + busclient.StatusSubject(f.prefix, id) + f.seenByPeers(id),
			Remedy:   "start it; if it runs, see in its log whether it reaches NATS, and whether the NATS servers reach each other; if its machine is lost: raftbus member replace " + id + " NEW",
		}
		if f.listens[id] {
			one.Code, one.Cause = "node-silent", id+" does not answer: it is paused or overloaded, or was cut off from NATS just now"
			one.Evidence = "NATS knows a listener on " + busclient.StatusSubject(f.prefix, id) + ", and nothing comes back" + f.seenByPeers(id)
			one.Remedy = "look at its process (stopped? out of memory or processor?), its machine and its network; start it again if it hangs"
		}
		found = append(found, one)
	}
	return found
}

// seenByPeers is what the others say of their links to a node.
func (f *facts) seenByPeers(id string) string {
	var said []string
	for _, n := range f.Nodes {
		for _, l := range n.Links {
			if l.Peer == id && l.State != "connected" {
				said = append(said, fmt.Sprintf("%s's link to it is %s (%s)", n.ID, l.State, l.Reason))
			}
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "; " + strings.Join(said, ", ")
}

// founding: a first boot that waits.
func (f *facts) founding() (found []finding) {
	for _, n := range f.Nodes {
		if len(n.WaitingFor) == 0 {
			continue
		}
		doing := "to hear of its data folder"
		if n.FirstBoot == node.FirstBootSealing {
			doing = "to hold the table of the members"
		}
		found = append(found, finding{
			Severity: critical, Code: "first-boot", Node: n.ID, Cause: n.ID + " has no cluster yet: the first boot needs all members",
			Evidence: fmt.Sprintf("it waits for %s, %s", strings.Join(n.WaitingFor, ", "), doing),
			Remedy:   "start " + strings.Join(n.WaitingFor, ", ") + " with the same --members and --prefix",
		})
	}
	return found
}

// refusals: nodes that others do not take for who they say they are.
func (f *facts) refusals() (found []finding) {
	for _, n := range f.Nodes {
		if by := slices.Sorted(maps.Keys(n.RefusedBy)); len(by) > 0 {
			found = append(found, finding{
				Severity: warning, Code: "node-refused", Node: n.ID, Cause: n.ID + " is refused by its peers: another data folder than the one they know, or another cluster",
				Evidence: fmt.Sprintf("%s: %s", strings.Join(by, ", "), n.RefusedBy[by[0]]),
				Remedy:   "if its disk was wiped or replaced: raftbus member replace " + n.ID + "; else give it back its own data folder",
			})
		}
		for _, l := range n.Links {
			if l.Refusal != "" && n.RefusedBy[l.Peer] == "" && n.Role != "removed" {
				found = append(found, finding{
					Severity: warning, Code: "link-refused", Node: n.ID, Cause: fmt.Sprintf("%s and %s take nothing from each other", n.ID, l.Peer),
					Evidence: l.Refusal, Remedy: fmt.Sprintf("do as it says; if the disk of %s was wiped: raftbus member replace %s; cluster keys must be the same on all nodes", l.Peer, l.Peer),
				})
			}
		}
		if n.Rival != "" {
			found = append(found, finding{
				Severity: critical, Code: codeRival, Node: n.ID, Cause: "another cluster uses the prefix " + f.prefix + " on this NATS account", Evidence: n.Rival,
				Remedy: "stop one of them, or give it another --prefix",
			})
		}
	}
	return found
}

// links: nodes that both answer and do not reach each other.
func (f *facts) links() (found []finding) {
	seen := map[string]bool{}
	for _, n := range f.Nodes {
		for _, l := range n.Links {
			a, b := min(n.ID, l.Peer), max(n.ID, l.Peer)
			if l.State == "connected" || l.Refusal != "" || f.Node(l.Peer) == nil || seen[a+" "+b] || n.RefusedBy[l.Peer] != "" {
				continue
			}
			seen[a+" "+b] = true
			found = append(found, finding{
				Severity: warning, Code: "link-broken", Node: n.ID, Cause: fmt.Sprintf("%s and %s answer, and do not reach each other", a, b),
				Evidence: fmt.Sprintf("%s's link to %s is %s: %s", n.ID, l.Peer, l.State, l.Reason),
				Remedy:   "look at the routes between the NATS servers that they use, and at what NATS permits them to publish and subscribe",
			})
		}
	}
	return found
}

// disks that are full, slow or damaged.
func (f *facts) disks() (found []finding) {
	for _, n := range f.Nodes {
		full, slow := n.Disk.Full, n.Disk.Slow
		evidence := fmt.Sprintf("the longest write and sync of its log took %.0f ms", n.Disk.SyncMaxMS)
		if s, ok := f.stats[n.ID]; ok {
			full, slow = full || s.Disk.Full, slow || s.Disk.Slow
			if s.Disk.SyncUnderWay > 0 {
				evidence = fmt.Sprintf("a write and sync of its log has been under way for %.1f s", s.Disk.SyncUnderWay)
			}
		}
		if full {
			found = append(found, finding{
				Severity: warning, Code: "disk-full", Node: n.ID, Cause: n.ID + "'s disk is full: it takes no more writes, reads go on",
				Evidence: fmt.Sprintf("it has less room than is left to the state (48 MiB, and as much as that has on the disk, up to 256 MiB more) and a segment of the log, which has %d MiB", n.Disk.LogBytes>>20),
				Remedy:   "make room on the disk of its data folder; writes go on by themselves then",
			})
		}
		if slow {
			found = append(found, finding{
				Severity: warning, Code: "disk-slow", Node: n.ID, Cause: n.ID + "'s disk is slow or hangs", Evidence: evidence,
				Remedy: "look at the disk (dmesg, iostat) and at who else uses it; if it leads: raftbus leader transfer",
			})
		}
		if n.Disk.Damaged > 0 {
			found = append(found, finding{
				Severity: warning, Code: "disk-damaged", Node: n.ID, Cause: n.ID + "'s disk has lost entries of its log: it has no vote until a leader has given them again",
				Evidence: fmt.Sprintf("%d entries are damaged", n.Disk.Damaged), Remedy: "it is repaired by itself while a leader serves; replace the disk",
			})
		}
	}
	return found
}

// lags: members that are behind and do not catch up.
func (f *facts) lags() (found []finding) {
	leader := f.Leader()
	if leader == nil {
		return nil
	}
	now, known := f.stats[leader.ID]
	before := f.before[leader.ID]
	for _, p := range now.Peers {
		if !known || p.Lag == nil || f.Node(p.ID) == nil {
			continue
		}
		if p.Snapshot != nil || p.State == "snapshot" {
			found = append(found, finding{
				Severity: note, Code: "snapshot", Node: p.ID, Cause: p.ID + " is far behind, and is sent a snapshot", Evidence: fmt.Sprintf("it is %d entries behind", *p.Lag),
				Remedy: "wait: it goes on from there by itself ('raftbus status' shows how far it is)",
			})
			continue
		}
		was := uint64(0)
		for _, o := range before.Peers {
			if o.ID == p.ID && o.Lag != nil {
				was = *o.Lag
			}
		}
		if *p.Lag >= lagMax && was >= lagMax && *p.Lag >= was {
			found = append(found, finding{
				Severity: warning, Code: "lag", Node: p.ID, Cause: p.ID + " is behind and does not catch up",
				Evidence: fmt.Sprintf("it is %d entries behind %s, and was %d behind just before", *p.Lag, leader.ID, was),
				Remedy:   "look at its disk and its processor, and at the way between it and the leader",
			})
		}
	}
	return found
}

// overload: queues that are nearly full, and what was dropped meanwhile.
func (f *facts) overload() (found []finding) {
	for _, id := range f.ids() {
		now, before := f.stats[id], f.before[id]
		for _, q := range now.Queues {
			if q.Max > 0 && float64(q.Waiting) >= queueShare*float64(q.Max) {
				found = append(found, finding{
					Severity: warning, Code: "overload", Node: id, Cause: id + " is asked for more than it can do: clients are told 'busy', or will be",
					Evidence: fmt.Sprintf("%d of %d may wait in its queue %s", q.Waiting, q.Max, q.Name), Remedy: "slow the clients down, or look at why the node is slow: disk, processor, links",
				})
			}
		}
		was := map[string]uint64{}
		for _, d := range before.Dropped {
			was[d.Reason] = d.Count
		}
		for _, d := range now.Dropped {
			if sameLife(now, before) && d.Count > was[d.Reason] {
				found = append(found, finding{
					Severity: note, Code: "dropped", Node: id, Cause: id + " drops messages between nodes: " + d.Reason,
					Evidence: fmt.Sprintf("%d were dropped meanwhile", d.Count-was[d.Reason]), Remedy: "few are no harm, they are sent again; many: look at the node's log",
				})
			}
		}
	}
	return found
}

// sameLife reports whether two looks are of one life of a node, so that their counters can be compared.
func sameLife(now, before look) bool { return now.Started.Equal(before.Started) }

// clocks that differ. The cluster's time is the voters' median, so one that is wrong does no harm, and a majority that is wrong does.
func (f *facts) clocks() (found []finding) {
	var offsets []time.Duration
	for _, l := range f.stats {
		ahead, _ := l.offset()
		offsets = append(offsets, ahead)
	}
	if len(offsets) < 2 {
		return nil
	}
	slices.Sort(offsets)
	median := offsets[len(offsets)/2]
	for _, id := range f.ids() {
		l := f.stats[id]
		ahead, wrong := l.offset()
		if off := (ahead - median).Abs(); off > skewMax+wrong {
			found = append(found, finding{
				Severity: warning, Code: "clock-skew", Node: id, Cause: id + "'s clock differs from the others'",
				Evidence: fmt.Sprintf("by %v, give or take %v", off.Round(time.Millisecond), wrong.Round(time.Millisecond)),
				Remedy:   "let NTP or chrony set it; times to live are judged by the median of the voters' clocks",
			})
		}
	}
	return found
}

// versions that differ, as during an upgrade.
func (f *facts) versions() []finding {
	nodes := map[string][]string{}
	for _, id := range f.ids() {
		nodes[f.stats[id].Version] = append(nodes[f.stats[id].Version], id)
	}
	if len(nodes) < 2 {
		return nil
	}
	var said []string
	for _, version := range slices.Sorted(maps.Keys(nodes)) {
		said = append(said, fmt.Sprintf("%s: %s", version, strings.Join(nodes[version], ", ")))
	}
	return []finding{{
		Severity: note, Code: "version-mix", Cause: "the nodes run different versions", Evidence: strings.Join(said, "; "), Remedy: "bring the upgrade to its end, node by node",
	}}
}

// upgrade: one that was brought to all members, and not finished. While a member is older, or does not answer, there is nothing to be done about it.
func (f *facts) upgrade() []finding {
	v := f.Upgrade()
	if !v.Finish {
		return nil
	}
	return []finding{{
		Severity: note, Code: "upgrade-unfinished", Cause: "the upgrade is not finished: what is new is refused, though all members know it",
		Evidence: fmt.Sprintf("feature level %d is in use, all members know %d", v.Open, v.Newest),
		Remedy:   "raftbus upgrade finish, once you are content with the release: from then on no member can go back to an older one",
	}}
}

// connections to NATS: lost, refused, too slow.
func (f *facts) connections() (found []finding) {
	for _, id := range f.ids() {
		now, before := f.stats[id], f.before[id]
		for i, c := range now.NATS {
			say := func(severity, code, cause, evidence, remedy string) {
				found = append(found, finding{severity, code, id, cause, fmt.Sprintf("connection %s: %s", c.Role, evidence), remedy})
			}
			grew := func(now, was uint64) bool { return now > was }
			var was = c
			if sameLife(now, before) && i < len(before.NATS) {
				was = before.NATS[i]
			}
			if !c.Up || grew(c.Disconnects, was.Disconnects) {
				say(warning, "nats-connection", id+" loses its connection to NATS", fmt.Sprintf("lost %d times since %s; %s", c.Disconnects, now.Started.UTC().Format(time.RFC3339), c.LastError),
					"look at the NATS server's log, and at the network between")
			}
			if c.SlowConsumer > 0 {
				say(severityIf(grew(c.SlowConsumer, was.SlowConsumer)), "nats-slow-consumer", id+" was too slow for what NATS sent it, and messages were dropped",
					fmt.Sprintf("%d times since it started", c.SlowConsumer), "look at its processor and its memory; messages between nodes are sent again")
			}
			if c.PermissionErrors > 0 {
				recent := !c.Refused.IsZero() && now.Time.Sub(c.Refused) < refusedFor
				say(severityIf(recent || grew(c.PermissionErrors, was.PermissionErrors)), "nats-permissions", "NATS refuses, or refused, "+id+" a subject that it needs", fmt.Sprintf("%d times since it started; %s", c.PermissionErrors, c.LastError),
					"give its user the permissions of a node; its log names the subject")
			}
		}
	}
	return found
}

func severityIf(now bool) string {
	if now {
		return warning
	}
	return note
}

// payload: how large a message may be.
func (f *facts) payload() []finding {
	if f.maxPayload >= payloadMin {
		return nil
	}
	return []finding{{
		Severity: severityIf(f.maxPayload < payloadTooLow), Code: "nats-max-payload", Cause: "NATS takes small messages only, which bounds values and slows down catching up",
		Evidence: fmt.Sprintf("max_payload is %d bytes: a value may have 8 KiB less", f.maxPayload), Remedy: "set max_payload to 1MB or more on all NATS servers",
	}}
}

// leaves: who can serve watchers.
func (f *facts) leaves() (found []finding) {
	var without, evidence []string
	for _, n := range f.Nodes {
		if !n.Watches.Leaf && n.Role != "joining" && n.Role != "removed" {
			without = append(without, n.ID)
			evidence = append(evidence, n.ID+": "+leafTrouble(n.Watches))
		}
	}
	if len(without) == 0 {
		return nil
	}
	return []finding{{
		Severity: warning, Code: "no-leaf", Cause: "no leaf connection to NATS: " + strings.Join(without, ", ") + " cannot serve watches, nor keys and history of KV clients",
		Evidence: strings.Join(evidence, "; "), Remedy: "give the NATS server a leafnodes port (leafnodes { listen: \"127.0.0.1:7422\" }), and name it with --leaf if it is not 7422 of the same host",
	}}
}

// leafTrouble is what a node says of its leaf connection, which is not up.
func leafTrouble(w replica.WatchStatus) string {
	if w.LeafError == "" {
		return "its leaf connection is not up"
	}
	return "its leaf connection is not up: " + oneLine(errors.New(w.LeafError))
}

// figures: whether half of the rules had anything to look at.
func (f *facts) figures() []finding {
	if !f.blind {
		return nil
	}
	return []finding{{
		Severity: note, Code: "figures-denied", Cause: "NATS does not let these credentials ask for the nodes' figures: lag, clocks, versions, queues and connections were not looked at",
		Evidence: "a message on " + busclient.StatsSubject(f.prefix, busclient.AllNodes) + " was refused", Remedy: "use those of an administrator or a monitor, who may publish on " + f.prefix + ".node.>",
	}}
}

// bus: whether anybody may speak as a node.
func (f *facts) bus() []finding {
	if !f.open {
		return nil
	}
	return []finding{{
		Severity: severityIf(!f.local), Code: "bus-open", Cause: "the bus is open: the user of these credentials may speak as a node, and others may be able to",
		Evidence: "NATS let a message pass on " + f.prefix + ".rpc._doctor._doctor.Ping", Remedy: "'raftbus auth init' makes users with permissions of their own for nodes, clients and administrators",
	}}
}

// comings: nodes that wait to be let in or were let out, and changes under way.
func (f *facts) comings() (found []finding) {
	say := func(id, code, cause, evidence, remedy string) {
		found = append(found, finding{Severity: note, Code: code, Node: id, Cause: cause, Evidence: evidence, Remedy: remedy})
	}
	for _, n := range f.Nodes {
		switch {
		case n.Joining:
			say(n.ID, "node-joining", n.ID+" waits to be added", "it says so itself", "raftbus member add "+n.ID)
		case n.Role == "removed":
			say(n.ID, "node-removed", n.ID+" is no member any more", "it says so itself", "stop it, and delete its data folder")
		}
	}
	conf := f.Configuration()
	if conf == nil {
		return found
	}
	if !conf.Committed || len(conf.Outgoing) > 0 {
		say("", "members-changing", "the members are being changed", shownSets(conf), "wait: 'raftbus member list' shows how far it is")
	}
	for _, m := range conf.Learners {
		say(m.ID, "learner", m.ID+" is a learner, and counts for nothing yet", shownSets(conf), "wait: it becomes a voter by itself once it has caught up")
	}
	return found
}

// shownSets is a configuration in words.
func shownSets(conf *replica.Configuration) string {
	said := []string{fmt.Sprintf("configuration %d", conf.Index)}
	for _, set := range []struct {
		name    string
		members []replica.Member
	}{{"voters", conf.Voters}, {"outgoing voters", conf.Outgoing}, {"learners", conf.Learners}} {
		if len(set.members) == 0 {
			continue
		}
		var names []string
		for _, m := range set.members {
			names = append(names, m.ID)
		}
		said = append(said, set.name+" "+strings.Join(names, " "))
	}
	if !conf.Committed {
		said = append(said, "not committed yet")
	}
	return strings.Join(said, ", ")
}
