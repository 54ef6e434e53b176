package members

// What a command is after, and what is left to do for it. Nothing here asks anybody.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
)

// membersGoal is a membership in which some nodes are voters and others are gone.
type membersGoal struct {
	want []admin.NewMember // to be voters
	// over are the instances that may have the id of one in want, and give way to it: their disks are lost.
	over map[string]string
	gone []admin.NewMember // to leave
	// after: those leave once all in want are voters; otherwise they leave as those come.
	after bool

	asked  map[string]bool // in want, and let in by this command
	handed bool            // the leader has handed over before it leaves, or will not
}

func (g *membersGoal) next(m *admin.Members) (step, error) {
	missing, learning, err := g.wanted(m)
	if err != nil {
		return step{}, err
	}
	leaving, err := g.leaving(m)
	now := len(leaving) > 0 && (!g.after || len(missing)+len(learning) == 0)
	switch {
	case err != nil:
		return step{}, err
	case now && !g.handed && slices.Contains(leaving, m.Leader) && successor(m, leaving) != "":
		return step{op: admin.OpTransfer, body: admin.Transfer{To: successor(m, leaving)}, optional: true}, nil
	case len(missing) > 0 && g.after:
		return reconfigure(m, missing, nil), nil
	case len(missing) > 0 || len(leaving) > 0 && !g.after:
		return reconfigure(m, missing, leaving), nil
	case len(learning) > 0:
		return step{awaited: describeLearners(learning)}, nil
	case len(leaving) > 0:
		return reconfigure(m, nil, leaving), nil
	case !m.Settled():
		return step{awaited: "the change to be through"}, nil
	}
	return step{}, nil
}

// successor is a voter that stays, and can take over from a leader that is to leave: that way its clients' requests are finished
// first, and none of them is lost. One that lacks what a leader needs (F21, F12, L2) is named only where all do, since the leader hands over to
// whom it is told. Empty: there is none, and what the leader does then is for it to decide.
func successor(m *admin.Members, leaving []string) string {
	var best admin.Member
	for _, o := range m.Members {
		if o.Role == admin.RoleVoter && o.State == "replicate" && !slices.Contains(leaving, o.ID) && (best.ID == "" || better(o, best)) {
			best = o
		}
	}
	return best.ID
}

// better reports whether one is to take over rather than another.
func better(o, than admin.Member) bool {
	if o.Lacks != than.Lacks {
		return than.Lacks
	}
	return o.Match >= than.Match
}

func reconfigure(m *admin.Members, add []admin.NewMember, remove []string) step {
	index := m.Index
	return step{op: admin.OpReconfigure, body: admin.Change{Add: add, Remove: remove, If: &index}}
}

// took remembers that the leader was asked, and who was let in: one that is missing after that was removed by somebody else, and is not let in again.
func (g *membersGoal) took(s step) {
	g.handed = g.handed || s.op == admin.OpTransfer
	change, ok := s.body.(admin.Change)
	if !ok {
		return
	}
	if g.asked == nil {
		g.asked = map[string]bool{}
	}
	for _, m := range change.Add {
		g.asked[m.ID] = true
	}
}

// wanted sorts those that are to be voters by what they lack.
func (g *membersGoal) wanted(m *admin.Members) (missing []admin.NewMember, learning []admin.Member, err error) {
	for _, want := range g.want {
		have, ok := m.Member(want.ID)
		switch {
		case g.asked[want.ID] && (!ok || have.Instance != want.Instance):
			return nil, nil, Conflict.says("%s was added, and then removed or replaced by somebody else: see 'raftbus member list'", want.ID)
		case !ok || have.Instance == g.over[want.ID]:
			missing = append(missing, want)
		case have.Instance != want.Instance:
			return nil, nil, Conflict.says("%s is a member already, with another data folder (instance %s, not %s): put the old folder back, or put the new one in its place with 'raftbus member replace %s'",
				want.ID, have.Instance, want.Instance, want.ID)
		case have.Role != admin.RoleVoter:
			learning = append(learning, have)
		}
	}
	return missing, learning, nil
}

// leaving are those that are to go and are still there.
func (g *membersGoal) leaving(m *admin.Members) (ids []string, err error) {
	for _, gone := range g.gone {
		have, ok := m.Member(gone.ID)
		switch {
		case ok && have.Instance != gone.Instance:
			return nil, Conflict.says("%s is another data folder now (instance %s, not %s): somebody replaced it meanwhile: see 'raftbus member list', and decide again",
				gone.ID, have.Instance, gone.Instance)
		case ok && have.Role != admin.RoleOutgoing:
			ids = append(ids, gone.ID)
		}
	}
	return ids, nil
}

// describeLearners says how far learners are.
func describeLearners(list []admin.Member) string {
	var parts []string
	for _, m := range list {
		switch m.State {
		case "unreachable":
			parts = append(parts, m.ID+", which the leader does not reach yet (is it running?)")
		case "snapshot":
			parts = append(parts, m.ID+", which gets a snapshot")
		default:
			parts = append(parts, fmt.Sprintf("%s, a learner %d entries behind", m.ID, m.Lag))
		}
	}
	return strings.Join(parts, "; ")
}

// leaderGoal is another leader.
type leaderGoal struct {
	from string // who led when the command began
	to   string // empty: anybody else
}

func (g *leaderGoal) next(m *admin.Members) (step, error) {
	if m.Leader == g.to || g.to == "" && m.Leader != g.from {
		return step{}, nil
	}
	if g.to != "" {
		if err := mayLead(m, g.to); err != nil {
			return step{}, err
		}
	}
	return step{op: admin.OpTransfer, body: admin.Transfer{To: g.to}}, nil
}

func (g *leaderGoal) took(step) {}

// mayLead refuses to hand over to a node that cannot lead.
func mayLead(m *admin.Members, id string) error {
	switch member, ok := m.Member(id); {
	case !ok:
		return NotFound.says("%s is no member: the members are %s", id, strings.Join(ids(m.Members), ", "))
	case member.Role != admin.RoleVoter:
		return Refused.says("%s cannot lead: it is a member as %s, and only a voter leads", id, member.Role)
	}
	return nil
}

func ids(list []admin.Member) []string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.ID
	}
	return names
}
