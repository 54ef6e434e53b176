package doctor

// The rules about the cluster as a whole: whether clients are served, which members take part, and who comes and goes.

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/node"
)

// service: whether clients are served at all.
func (f *facts) service() []Finding {
	answer := len(f.Members()) - len(f.Unreachable)
	heard := fmt.Sprintf("%d of %d members answer", answer, len(f.Members()))
	code := codeNoQuorum
	if f.HasQuorum() {
		code = codeNoLeader
	}
	switch {
	case len(f.Members()) == 0:
		return []Finding{{
			Severity: critical, Code: codeNoLeader, Cause: "no member answers, only nodes that wait to be added: nothing is served", Evidence: fmt.Sprintf("%d nodes answer, and none knows a configuration", len(f.Nodes)),
			Remedy: "start the members; or check --prefix, and that they and this command use the same NATS account",
		}}
	case f.Leader() != nil:
		return nil
	case f.Configuration() == nil && len(f.Unreachable) > 0:
		return []Finding{{
			Severity: critical, Code: codeFounding, Cause: "the cluster has not begun: at the first boot all members must be up", Evidence: heard,
			Remedy: "start " + strings.Join(f.Unreachable, ", "),
		}}
	case code == codeNoQuorum:
		return []Finding{{
			Severity: critical, Code: code, Cause: "the quorum is lost: no write and no read is served", Evidence: heard + ", and a majority of the voters is needed",
			Remedy: "bring back so many of " + strings.Join(f.Unreachable, ", ") + " that a majority answers; nothing acknowledged is lost meanwhile; if they can never come back: stop all that are left, and 'raftbus recover' on the one that has most (docs/operating.md)",
		}}
	}
	if !f.CanElect() {
		return f.votesLost(heard)
	}
	var said []string
	for _, n := range f.Nodes {
		said = append(said, fmt.Sprintf("%s is %s in term %d and follows %q", n.ID, n.Role, n.Term, n.Leader))
	}
	return []Finding{{
		Severity: critical, Code: codeNoLeader, Cause: "no leader serves", Evidence: heard + ": " + strings.Join(said, ", "),
		Remedy: "an election ends within a second: if this stays, look at the findings about links and disks, and at the nodes' logs",
	}}
}

// withoutLeader is the way on where no leader will be elected any more.
const withoutLeader = "if that cannot be, stop all, and raftbus recover on the one that has the most ('raftbus recover --dry-run' says what each has)"

// votesLost: a majority answers, and cannot elect.
func (f *facts) votesLost(heard string) []Finding {
	remedy := "nothing repairs it without a leader: stop all, and raftbus recover on the one that has the most ('raftbus recover --dry-run' says what each has)"
	if len(f.Unreachable) > 0 {
		remedy = "bring back so many of " + strings.Join(f.Unreachable, ", ") + " that a majority has a vote; " + withoutLeader
	}
	return []Finding{{
		Severity: critical, Code: codeNoLeader, Cause: "too few of the voters that answer may vote: no write and no read is served",
		Evidence: heard + ", and a log that has lost entries gives no vote until a leader has given them again: " + strings.Join(f.damaged(), ", "),
		Remedy:   remedy,
	}}
}

// damaged are those that have lost entries of their logs.
func (f *facts) damaged() (ids []string) {
	for _, n := range f.Nodes {
		if n.Disk.Damaged > 0 {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// absent: members that do not answer. Of a cluster that has not begun service says it.
func (f *facts) absent() (found []Finding) {
	if f.Configuration() == nil {
		return nil
	}
	for _, id := range f.Unreachable {
		one := Finding{
			Severity: warning, Code: "node-down", Node: id, Cause: id + " is not on the bus: its process has ended, or is cut off from NATS",
			Evidence: "nobody listens on " + busclient.StatusSubject(f.prefix, id) + f.seenByPeers(id),
			Remedy:   "start it; if it runs, see in its log whether its start waits for room on the disk, whether it reaches NATS, and whether the NATS servers reach each other",
		}
		switch {
		case !f.HasQuorum(): // service says what then
		case f.Leader() == nil && !f.CanElect():
			one.Remedy += "; " + withoutLeader
		default:
			one.Remedy += "; if its machine is lost: raftbus member replace " + id + " NEW"
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

// otherMembers: nodes that are to found a cluster with others than most are, so that it never begins.
func (f *facts) otherMembers() (found []Finding) {
	given := map[string][]string{} // nodes, by the members that they were given
	for _, n := range f.Nodes {
		if list := strings.Join(n.Members, ","); n.FirstBoot != "" && !n.Joining {
			given[list] = append(given[list], n.ID)
		}
	}
	if len(given) < 2 || f.Configuration() != nil {
		return nil
	}
	lists := slices.SortedFunc(maps.Keys(given), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(given[b]), len(given[a])), strings.Compare(a, b))
	})
	for _, list := range lists[1:] {
		odd := strings.Join(given[list], ", ")
		remedy := "stop " + odd + ", and start with an empty --dir and --members " + lists[0]
		if id := given[list][0]; !slices.Contains(strings.Split(lists[0], ","), id) {
			remedy = "stop " + odd + ": if it is of another cluster, give that another --prefix; if it is to be one more node of this, start it with --join once the cluster serves, and then 'raftbus member add " + id + "'"
		}
		found = append(found, Finding{
			Severity: critical, Code: codeFounding, Node: given[list][0], Cause: "the cluster cannot begin: other members were given to " + odd + " than to " + strings.Join(given[lists[0]], ", "),
			Evidence: fmt.Sprintf("%s: %s; %s: %s", odd, list, strings.Join(given[lists[0]], ", "), lists[0]),
			Remedy:   remedy,
		})
	}
	return found
}

// founding: a first boot that waits, though all answer; of one that does not service tells.
func (f *facts) founding() (found []Finding) {
	if len(f.Unreachable) > 0 {
		return nil
	}
	for _, n := range f.Nodes {
		if len(n.WaitingFor) == 0 {
			continue
		}
		doing := "to hear of its data folder"
		if n.FirstBoot == node.FirstBootSealing {
			doing = "to hold the table of the members"
		}
		found = append(found, Finding{
			Severity: critical, Code: codeFounding, Node: n.ID, Cause: n.ID + " has no cluster yet: the first boot needs all members",
			Evidence: fmt.Sprintf("it waits for %s, %s", strings.Join(n.WaitingFor, ", "), doing),
			Remedy:   "start " + strings.Join(n.WaitingFor, ", ") + " with the same --members and --prefix",
		})
	}
	return found
}

// refusals: nodes that others do not take for who they say they are.
func (f *facts) refusals() (found []Finding) {
	for _, n := range f.Nodes {
		if by := slices.Sorted(maps.Keys(n.RefusedBy)); len(by) > 0 {
			found = append(found, Finding{
				Severity: warning, Code: "node-refused", Node: n.ID, Cause: n.ID + " is refused by its peers: another data folder than the one they know, or another cluster",
				Evidence: fmt.Sprintf("%s: %s", strings.Join(by, ", "), n.RefusedBy[by[0]]),
				Remedy:   "if its disk was wiped or replaced: raftbus member replace " + n.ID + "; else give it back its own data folder",
			})
		}
		for _, l := range n.Links {
			if l.Refusal != "" && n.RefusedBy[l.Peer] == "" && n.Role != "removed" {
				found = append(found, Finding{
					Severity: warning, Code: "link-refused", Node: n.ID, Cause: fmt.Sprintf("%s and %s take nothing from each other", n.ID, l.Peer),
					Evidence: l.Refusal, Remedy: fmt.Sprintf("do as it says; if the disk of %s was wiped: raftbus member replace %s; cluster keys must be the same on all nodes", l.Peer, l.Peer),
				})
			}
		}
		if n.Rival != "" {
			found = append(found, Finding{
				Severity: critical, Code: codeRival, Node: n.ID, Cause: "another cluster uses the prefix " + f.prefix + " on this NATS account", Evidence: n.Rival,
				Remedy: "stop one of them, or give it another --prefix",
			})
		}
	}
	return found
}

// links: nodes that both answer and do not reach each other.
func (f *facts) links() (found []Finding) {
	seen := map[string]bool{}
	for _, n := range f.Nodes {
		for _, l := range n.Links {
			a, b := min(n.ID, l.Peer), max(n.ID, l.Peer)
			if l.State == "connected" || l.Refusal != "" || f.Node(l.Peer) == nil || seen[a+" "+b] || n.RefusedBy[l.Peer] != "" {
				continue
			}
			seen[a+" "+b] = true
			found = append(found, Finding{
				Severity: warning, Code: "link-broken", Node: n.ID, Cause: fmt.Sprintf("%s and %s answer, and do not reach each other", a, b),
				Evidence: fmt.Sprintf("%s's link to %s is %s: %s", n.ID, l.Peer, l.State, l.Reason),
				Remedy:   "look at the routes between the NATS servers that they use, and at what NATS permits them to publish and subscribe",
			})
		}
	}
	return found
}

// comings: nodes that wait to be let in or were let out, and changes under way.
func (f *facts) comings() (found []Finding) {
	say := func(id, code, cause, evidence, remedy string) {
		found = append(found, Finding{Severity: note, Code: code, Node: id, Cause: cause, Evidence: evidence, Remedy: remedy})
	}
	for _, n := range f.Nodes {
		switch {
		case n.Joining:
			say(n.ID, "node-joining", n.ID+" waits to be added", "it says so itself", "raftbus member add "+n.ID)
		case n.Role == "removed" && f.Replaced(&n):
			say(n.ID, "node-removed", n.ID+" was replaced: another data folder is the member of that id", "it says itself that it is no member any more", "stop it and delete its data folder")
		case n.Role == "removed":
			say(n.ID, "node-removed", n.ID+" is no member any more", "it says so itself", "stop it and delete its data folder, or let it in again: raftbus member add "+n.ID)
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
