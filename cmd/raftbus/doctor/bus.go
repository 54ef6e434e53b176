package doctor

// The rules about NATS: what it does to the nodes' connections, and what it lets whom do.

import (
	"fmt"
	"strings"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// From where on something is worth a word.
const (
	refusedFor    = time.Minute // after NATS refused a subject: what is asked for less often than the doctor looks is not missed
	payloadMin    = 1 << 20     // NATS's own default for max_payload
	payloadTooLow = 64 << 10
)

// connections to NATS: lost, refused, too slow.
func (f *facts) connections() (found []Finding) {
	for _, id := range f.ids() {
		now, before := f.stats[id], f.before[id]
		for i, c := range now.NATS {
			say := func(severity, code, cause, evidence, remedy string) {
				found = append(found, Finding{severity, code, id, cause, fmt.Sprintf("connection %s: %s", c.Role, evidence), remedy})
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
					"give its user the permissions of a node, and as many subscriptions as it needs; its log says what was refused")
			}
		}
	}
	return found
}

// payload: how large a message may be.
func (f *facts) payload() []Finding {
	if f.maxPayload >= payloadMin {
		return nil
	}
	return []Finding{{
		Severity: severityIf(f.maxPayload < payloadTooLow), Code: "nats-max-payload", Cause: "NATS takes small messages only, which bounds values and slows down catching up",
		Evidence: fmt.Sprintf("max_payload is %d bytes: a value may have 8 KiB less", f.maxPayload), Remedy: "set max_payload to 1MB or more on all NATS servers",
	}}
}

// leaves: who can serve watchers.
func (f *facts) leaves() (found []Finding) {
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
	return []Finding{{
		Severity: warning, Code: "no-leaf", Cause: "no leaf connection to NATS: " + strings.Join(without, ", ") + " cannot serve watches, nor keys and history of KV clients",
		Evidence: strings.Join(evidence, "; "), Remedy: "give the NATS server a leafnodes port (leafnodes { listen: \"127.0.0.1:7422\" }), and name it with --leaf if it is not 7422 of the same host",
	}}
}

// leafTrouble is what a node says of its leaf connection, which is not up.
func leafTrouble(w observe.Watches) string {
	if w.LeafError == "" {
		return "its leaf connection is not up"
	}
	return "its leaf connection is not up: " + observe.OneLine(w.LeafError)
}

// unseen is what the rules see in figures.
const unseen = "lag, clocks, versions, queues and connections were not looked at"

// figures: whether half of the rules had anything to look at.
func (f *facts) figures() []Finding {
	switch {
	case f.blind:
		return []Finding{{
			Severity: note, Code: "figures-denied", Cause: "NATS does not let these credentials ask for the nodes' figures: " + unseen,
			Evidence: "a message on " + busclient.StatsSubject(f.prefix, busclient.AllNodes) + " was refused", Remedy: "use those of an administrator or a monitor, who may publish on " + f.prefix + ".node.>",
		}}
	case f.unaskedNow != nil:
		return []Finding{unasked(f.unaskedNow, unseen)}
	case f.unasked != nil:
		return append(f.withoutFigures(), unasked(f.unasked, "they were once, and what grows between two looks was not seen"))
	}
	return f.withoutFigures()
}

// unasked tells of nodes whose figures could not be asked for.
func unasked(err error, missing string) Finding {
	return Finding{
		Severity: note, Code: "figures-missing", Cause: "the nodes could not be asked for their figures: " + missing,
		Evidence: observe.OneLine(err.Error()), Remedy: "look again",
	}
}

// withoutFigures tells of members that answer, and whose figures were not heard.
func (f *facts) withoutFigures() (found []Finding) {
	for _, n := range f.Nodes {
		if _, had := f.stats[n.ID]; !had && n.Role != "joining" && n.Role != "removed" {
			found = append(found, Finding{
				Severity: note, Code: "figures-missing", Node: n.ID, Cause: n.ID + " gave no figures in time: its lag, clock, version, queues and connections were not looked at",
				Evidence: "it answers, and nothing that it may have said on " + busclient.StatsSubject(f.prefix, busclient.AllNodes) + " was heard",
				Remedy:   "look again; if that finds the same, the node or the way to it is slow: look from nearby",
			})
		}
	}
	return found
}

// bus: whether anybody may speak as a node.
func (f *facts) bus() []Finding {
	if !f.open {
		return nil
	}
	return []Finding{{
		Severity: severityIf(!f.local), Code: "bus-open", Cause: "the bus is open: the user of these credentials may speak as a node, and others may be able to",
		Evidence: "NATS let a message pass on " + f.prefix + ".rpc._doctor._doctor.Ping", Remedy: "'raftbus auth init' makes users with permissions of their own for nodes, clients and administrators",
	}}
}
