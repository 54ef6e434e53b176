package main

// The doctor's rule about accounts that are served beside the first.

import (
	"maps"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// accounts: which nodes do not serve an account that others do, or serve it in part.
func (f *facts) accounts() (found []finding) {
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
		var without []string
		for _, n := range f.Nodes {
			if a, served := by[name][n.ID]; n.Role != "joining" && n.Role != "removed" && (!served || !a.Connected || a.Refused != "" || !a.Watches.Leaf) {
				without = append(without, n.ID)
			}
		}
		if len(without) > 0 {
			found = append(found, finding{
				Severity: warning, Code: "account", Cause: "clients of the account " + name + " are not served, or not with watches, by " + strings.Join(without, ", "),
				Evidence: "others serve it, or its connections there are not up", Remedy: "give all nodes credentials for it ('raftbus auth init --tenants', or --account), and start them anew; raftbus health --id NODE says what a node lacks",
			})
		}
	}
	return found
}
