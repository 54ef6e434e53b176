package cluster

import (
	"fmt"

	"github.com/raftbus/raftbus/kv/command"
)

// Upgrade is how far an upgrade has come: what `raftbus upgrade status --json` prints.
type Upgrade struct {
	Open    uint64          `json:"open"`             // the feature level: the version of commands that the cluster is open to
	Newest  uint64          `json:"newest"`           // that a member knows
	Finish  bool            `json:"finish"`           // there is something to finish, and it can be
	Reason  string          `json:"reason,omitempty"` // why it cannot be finished now; absent: it can, or there is nothing to finish
	Members []UpgradeMember `json:"members"`
}

// UpgradeMember is one member of it.
type UpgradeMember struct {
	ID    string `json:"id"`
	Knows uint64 `json:"knows,omitempty"` // the newest feature level that its release knows; absent: it does not answer
}

// Upgrade is how far an upgrade has come, by what the members that answer know.
func (v View) Upgrade() Upgrade {
	u := Upgrade{Open: command.Base}
	for _, id := range v.Members() {
		m := UpgradeMember{ID: id}
		if n := v.Node(id); n != nil {
			m.Knows = max(n.Commands.Knows, command.Base) // earlier releases do not say
			u.Open, u.Newest = max(u.Open, n.Commands.Open), max(u.Newest, m.Knows)
		}
		u.Members = append(u.Members, m)
	}
	for _, m := range u.Members {
		switch {
		case u.Open >= u.Newest || u.Reason != "":
		case m.Knows == 0:
			u.Reason = m.ID + " does not answer"
		case m.Knows < u.Newest:
			u.Reason = fmt.Sprintf("%s runs an older release: it knows feature level %d", m.ID, m.Knows)
		}
	}
	u.Finish = u.Open < u.Newest && u.Reason == ""
	return u
}
