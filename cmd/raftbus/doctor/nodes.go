package doctor

// The rules about how the nodes do: disks, logs, queues, clocks, releases, settings.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// From where on something is worth a word.
const (
	skewMax    = 500 * time.Millisecond // between a node's clock and the others'; the median of the voters' is the cluster's time
	lagMax     = 1000                   // entries that a member is behind, if it does not catch up meanwhile
	queueShare = 0.8                    // of what may wait, before who asks is told 'busy'
)

// disks that are full, slow or damaged.
func (f *facts) disks() (found []Finding) {
	for _, n := range f.Nodes {
		full, slow := n.Disk.Full, n.Disk.Slow
		evidence := fmt.Sprintf("the longest write and sync of its log took %.0f ms", n.Disk.SyncMaxMS)
		if s, ok := f.stats[n.ID]; ok {
			full, slow = full || s.Disk.Full, slow || s.Disk.Slow
			if s.Disk.SyncUnderWay > 0 {
				evidence = fmt.Sprintf("a write and sync of its log has been under way for %.1f s", s.Disk.SyncUnderWay)
			}
		}
		switch {
		case full && n.Disk.Files:
			found = append(found, Finding{
				Severity: warning, Code: "disk-full", Node: n.ID, Cause: "too many files are open where " + n.ID + " runs: it takes no more writes, reads go on",
				Evidence: "the system refused the next segment of its log for that",
				Remedy:   "have some closed, or allow more (ulimit -n, LimitNOFILE, fs.file-max); writes go on by themselves then",
			})
		case full:
			found = append(found, Finding{
				Severity: warning, Code: "disk-full", Node: n.ID, Cause: n.ID + "'s disk is full: it takes no more writes, reads go on",
				Evidence: fmt.Sprintf("it has less room than is left to the state (48 MiB, and as much as that has on the disk, up to 256 MiB more) and a segment of the log, which has %d MiB", n.Disk.LogBytes>>20),
				Remedy:   "make room on the disk of its data folder; writes go on by themselves then",
			})
		}
		if slow {
			found = append(found, Finding{
				Severity: warning, Code: "disk-slow", Node: n.ID, Cause: n.ID + "'s disk is slow or hangs", Evidence: evidence,
				Remedy: "look at the disk (dmesg, iostat) and at who else uses it; if it leads: raftbus leader transfer",
			})
		}
		if n.Disk.Damaged > 0 {
			remedy := "it is repaired by itself while a leader serves; replace the disk"
			if f.Leader() == nil && !f.CanElect() {
				remedy = "it is repaired by itself once a leader serves, and without its vote none will: bring back who is away; " + withoutLeader
			}
			found = append(found, Finding{
				Severity: warning, Code: "disk-damaged", Node: n.ID, Cause: n.ID + "'s disk has lost entries of its log: it has no vote until a leader has given them again",
				Evidence: fmt.Sprintf("%d entries are damaged", n.Disk.Damaged), Remedy: remedy,
			})
		}
	}
	return found
}

// lags: members that are behind and do not catch up.
func (f *facts) lags() (found []Finding) {
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
			found = append(found, Finding{
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
			found = append(found, Finding{
				Severity: warning, Code: "lag", Node: p.ID, Cause: p.ID + " is behind and does not catch up",
				Evidence: fmt.Sprintf("it is %d entries behind %s, and was %d behind just before", *p.Lag, leader.ID, was),
				Remedy:   "look at its disk and its processor, and at the way between it and the leader",
			})
		}
	}
	return found
}

// overload: queues that are nearly full, and what was dropped meanwhile.
func (f *facts) overload() (found []Finding) {
	for _, id := range f.ids() {
		now, before := f.stats[id], f.before[id]
		for _, q := range now.Queues {
			if q.Max > 0 && float64(q.Waiting) >= queueShare*float64(q.Max) {
				found = append(found, Finding{
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
			if sameLife(now, before) && d.Count > was[d.Reason] && !f.ofRemoved(id, d.Reason) {
				found = append(found, Finding{
					Severity: note, Code: "dropped", Node: id, Cause: id + " drops messages between nodes: " + d.Reason,
					Evidence: fmt.Sprintf("%d were dropped meanwhile", d.Count-was[d.Reason]), Remedy: "few are no harm, they are sent again; many: look at the node's log",
				})
			}
		}
	}
	return found
}

// ofRemoved reports whether a node drops what it does because one that was removed goes on: that one is told to stop already. The others do not know it any
// more, nor it them. If it was replaced under its own id, they know that id by another data folder.
func (f *facts) ofRemoved(id, reason string) bool {
	return slices.ContainsFunc(f.Nodes, func(n replica.Status) bool {
		replaced := slices.Contains(f.Members(), n.ID)
		return n.Role == "removed" && (n.ID == id || reason == busclient.UnknownSender || replaced && reason == busclient.OtherInstance)
	})
}

// sameLife reports whether two looks are of one life of a node, so that their counters can be compared.
func sameLife(now, before look) bool { return now.Started.Equal(before.Started) }

// clocks that differ. The cluster's time is the voters' median, so one that is wrong does no harm, and a majority that is wrong does.
func (f *facts) clocks() (found []Finding) {
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
			found = append(found, Finding{
				Severity: warning, Code: "clock-skew", Node: id, Cause: id + "'s clock differs from the others'",
				Evidence: fmt.Sprintf("by %v, give or take %v", off.Round(time.Millisecond), wrong.Round(time.Millisecond)),
				Remedy:   "let NTP or chrony set it; times to live are judged by the median of the voters' clocks",
			})
		}
	}
	return found
}

// versions that differ, as during an upgrade.
func (f *facts) versions() []Finding {
	nodes := map[string][]string{}
	for _, id := range f.ids() {
		nodes[f.stats[id].Version] = append(nodes[f.stats[id].Version], id)
	}
	if len(nodes) < 2 {
		return nil
	}
	return []Finding{{
		Severity: note, Code: "version-mix", Cause: "the nodes run different versions", Evidence: byWhat(nodes), Remedy: "bring the upgrade to its end, node by node",
	}}
}

// apis: members that serve clients of NATS KV in different places. Only who leads does, so that some clients are served by some leaders only.
func (f *facts) apis() []Finding {
	nodes := map[string][]string{}
	for _, n := range f.Nodes {
		if n.API != nil && n.Role != "joining" && n.Role != "removed" {
			flags := asFlags(*n.API)
			nodes[flags] = append(nodes[flags], n.ID)
		}
	}
	if len(nodes) < 2 {
		return nil
	}
	return []Finding{{
		Severity: warning, Code: "api-mix", Cause: "the members serve clients of NATS KV in different places: it depends on who leads which clients find anybody", Evidence: byWhat(nodes),
		Remedy: "give all members the same --js-domain and --serve-default-api, and start them anew, one at a time",
	}}
}

func asFlags(api replica.API) string {
	flags := "--js-domain " + api.Domain
	if api.Default {
		flags += " --serve-default-api"
	}
	return flags
}

// byWhat says which nodes have what.
func byWhat(nodes map[string][]string) string {
	var said []string
	for _, what := range slices.Sorted(maps.Keys(nodes)) {
		said = append(said, fmt.Sprintf("%s: %s", what, strings.Join(nodes[what], ", ")))
	}
	return strings.Join(said, "; ")
}

// upgrade: one that was brought to all members, and not finished. While a member is older, or does not answer, there is nothing to be done about it.
func (f *facts) upgrade() []Finding {
	v := f.Upgrade()
	if !v.Finish {
		return nil
	}
	return []Finding{{
		Severity: note, Code: "upgrade-unfinished", Cause: "the upgrade is not finished: what is new is refused, though all members know it",
		Evidence: fmt.Sprintf("feature level %d is in use, all members know %d", v.Open, v.Newest),
		Remedy:   "raftbus upgrade finish, once you are content with the release: from then on no member can go back to an older one",
	}}
}
