package doctor

// The rule about accounts that are served beside the first.

import (
	"maps"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// accounts: which nodes do not serve an account that others do, or serve it in part.
func (f *facts) accounts() (found []Finding) {
	by := map[string]map[string]replica.AccountStatus{}
	for _, n := range f.Nodes {
		for _, a := range n.Accounts {
			if by[a.Name] == nil {
				by[a.Name] = map[string]replica.AccountStatus{}
			}
			by[a.Name][n.ID] = a
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		var without, evidence, remedies []string
		for _, n := range f.Nodes {
			account, served := by[name][n.ID]
			lack, remedy := lackOf(account, served)
			if lack == "" || n.Role == "joining" || n.Role == "removed" {
				continue
			}
			without, evidence = append(without, n.ID), append(evidence, n.ID+": "+lack)
			if !slices.Contains(remedies, remedy) {
				remedies = append(remedies, remedy)
			}
		}
		if len(without) > 0 {
			found = append(found, Finding{
				Severity: warning, Code: "account", Cause: "clients of the account " + name + " are not served, or not with watches, by " + strings.Join(without, ", "),
				Evidence: strings.Join(evidence, "; "), Remedy: strings.Join(remedies, "; "),
			})
		}
	}
	return found
}

// lackOf is what keeps a node from serving an account, and what helps; nothing: it serves it.
func lackOf(a replica.AccountStatus, served bool) (lack, remedy string) {
	switch {
	case !served:
		return "it has no credentials for it", "give all nodes credentials for it ('raftbus auth init --tenants', or --account), and start them anew"
	case a.Refused != "":
		return observe.OneLine(a.Refused), "do what is said there, and start the node anew if it goes on"
	case !a.Connected:
		return "not connected", "look whether the NATS server knows the node's credentials for it, and at the node's log"
	case !a.Watches.Leaf:
		return leafTrouble(a.Watches), "look whether the NATS server lets the node's credentials for it connect as a leafnode, and at the node's log"
	}
	return "", ""
}
