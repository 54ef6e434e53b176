package members

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
)

// view is the members as a leader n1 knows them: "n2" is a voter n2 with instance n2, "n4:x" a voter with instance x.
func view(learners []string, voters ...string) *admin.Members {
	m := &admin.Members{Leader: "n1", Index: 7, Committed: true, Last: 20}
	for _, text := range voters {
		m.Members = append(m.Members, memberOf(text, admin.RoleVoter))
	}
	for _, text := range learners {
		m.Members = append(m.Members, memberOf(text, admin.RoleLearner))
	}
	return m
}

func memberOf(text, role string) admin.Member {
	n := newOf(text)
	m := admin.Member{ID: n.ID, Instance: n.Instance, Role: role, State: "replicate", Match: 18, Lag: 2}
	if m.ID == "n1" {
		m.State, m.Match = "leader", 20
	}
	return m
}

func newOf(text string) admin.NewMember {
	if len(text) > 2 {
		return admin.NewMember{ID: text[:2], Instance: text[3:]}
	}
	return admin.NewMember{ID: text, Instance: text}
}

func newsOf(texts ...string) (list []admin.NewMember) {
	for _, text := range texts {
		list = append(list, newOf(text))
	}
	return list
}

// What is left to do follows from the members alone, so that a command can be broken off and given again at any point.
func TestWhatIsLeftToDo(t *testing.T) {
	add := func() *membersGoal { return &membersGoal{want: newsOf("n4", "n5")} }
	dead := func() *membersGoal { return &membersGoal{want: newsOf("n4"), gone: newsOf("n3")} }
	alive := func() *membersGoal { return &membersGoal{want: newsOf("n4"), gone: newsOf("n3"), after: true} }
	wiped := func() *membersGoal {
		return &membersGoal{want: newsOf("n3:new"), over: map[string]string{"n3": "n3"}}
	}
	for name, c := range map[string]struct {
		goal    *membersGoal
		members *admin.Members
		add     []string
		remove  []string
		awaited string
	}{
		"add, none there":               {add(), view(nil, "n1", "n2"), []string{"n4", "n5"}, nil, ""},
		"add, one there":                {add(), view([]string{"n4"}, "n1", "n2"), []string{"n5"}, nil, ""},
		"add, learning":                 {add(), view([]string{"n4"}, "n1", "n2", "n5"), nil, nil, "n4, a learner 2 entries behind"},
		"add, done":                     {add(), view(nil, "n1", "n4", "n5"), nil, nil, ""},
		"remove":                        {&membersGoal{gone: newsOf("n2", "n3")}, view(nil, "n1", "n2", "n3"), nil, []string{"n2", "n3"}, ""},
		"remove, done":                  {&membersGoal{gone: newsOf("n2")}, view(nil, "n1", "n3"), nil, nil, ""},
		"replace a dead one: at once":   {dead(), view(nil, "n1", "n2", "n3"), []string{"n4"}, []string{"n3"}, ""},
		"replace a dead one, learning":  {dead(), view([]string{"n4"}, "n1", "n2"), nil, nil, "n4, a learner 2 entries behind"},
		"replace a live one: add first": {alive(), view(nil, "n1", "n2", "n3"), []string{"n4"}, nil, ""},
		"replace a live one, learning":  {alive(), view([]string{"n4"}, "n1", "n2", "n3"), nil, nil, "n4, a learner 2 entries behind"},
		"replace a live one: then go":   {alive(), view(nil, "n1", "n2", "n3", "n4"), nil, []string{"n3"}, ""},
		"replace a wiped one":           {wiped(), view(nil, "n1", "n2", "n3"), []string{"n3:new"}, nil, ""},
		"replace a wiped one, learning": {wiped(), view([]string{"n3:new"}, "n1", "n2"), nil, nil, "n3, a learner 2 entries behind"},
		"replace a wiped one, done":     {wiped(), view(nil, "n1", "n2", "n3:new"), nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := c.goal.next(c.members)
			require.NoError(t, err)
			require.Equal(t, c.awaited, s.awaited)
			if c.add == nil && c.remove == nil {
				require.Empty(t, s.op)
				return
			}
			index := uint64(7)
			require.Equal(t, admin.OpReconfigure, s.op)
			require.Equal(t, admin.Change{Add: newsOf(c.add...), Remove: c.remove, If: &index}, s.body)
		})
	}
}

// A change that is not through is awaited, whatever it was.
func TestAChangeIsAwaited(t *testing.T) {
	m := view(nil, "n1", "n4", "n5")
	m.Committed = false
	s, err := (&membersGoal{want: newsOf("n4")}).next(m)
	require.NoError(t, err)
	require.Equal(t, step{awaited: "the change to be through"}, s)
}

// What somebody else did meanwhile is not undone (Q9).
func TestSomebodyElsesChangesAreNotUndone(t *testing.T) {
	for name, c := range map[string]struct {
		goal    *membersGoal
		members *admin.Members
	}{
		"to add: a member with another folder":       {&membersGoal{want: newsOf("n2:x")}, view(nil, "n1", "n2")},
		"to remove: replaced meanwhile":              {&membersGoal{gone: newsOf("n2")}, view(nil, "n1", "n2:x")},
		"to replace: replaced by another":            {&membersGoal{want: newsOf("n2:x"), over: map[string]string{"n2": "n2"}}, view(nil, "n1", "n2:y")},
		"added, and removed again":                   {&membersGoal{want: newsOf("n4"), asked: map[string]bool{"n4": true}}, view(nil, "n1")},
		"added, and replaced by another data folder": {&membersGoal{want: newsOf("n4"), asked: map[string]bool{"n4": true}}, view(nil, "n1", "n4:y")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.goal.next(c.members)
			require.Equal(t, Conflict, kindOf(err), "%v", err)
		})
	}
}

// A leader that is to leave hands over to one that stays, once; then it is removed, whoever leads.
func TestALeaderHandsOverBeforeItLeaves(t *testing.T) {
	g := &membersGoal{gone: newsOf("n1", "n2")}
	m := view(nil, "n1", "n2", "n3", "n4", "n5")
	m.Members[3].Match = 19
	m.Members[4].Match, m.Members[4].State = 20, "unreachable"
	s, err := g.next(m)
	require.NoError(t, err)
	require.Equal(t, step{op: admin.OpTransfer, body: admin.Transfer{To: "n4"}, optional: true}, s)
	g.took(s)
	s, err = g.next(m)
	require.NoError(t, err)
	require.Equal(t, admin.OpReconfigure, s.op)

	m.Members[3].Lacks = true
	require.Equal(t, "n3", successor(m, []string{"n1", "n2"}), "which holds less, and lacks nothing")
	m.Members[2].Lacks = true
	require.Equal(t, "n4", successor(m, []string{"n1", "n2"}), "all lack something")

	alone := &membersGoal{gone: newsOf("n1")}
	s, err = alone.next(view([]string{"n2"}, "n1"))
	require.NoError(t, err)
	require.Equal(t, admin.OpReconfigure, s.op, "nobody can take over: the leader says why not")
}

func TestLeadershipGoesWhereItIsWanted(t *testing.T) {
	m := view([]string{"n4"}, "n1", "n2")
	for name, c := range map[string]struct {
		goal leaderGoal
		op   string
		kind Kind
	}{
		"to another":       {leaderGoal{from: "n1", to: "n2"}, admin.OpTransfer, none},
		"to anybody":       {leaderGoal{from: "n1"}, admin.OpTransfer, none},
		"it leads already": {leaderGoal{from: "n1", to: "n1"}, "", none},
		"another leads":    {leaderGoal{from: "n2"}, "", none},
		"to a learner":     {leaderGoal{from: "n1", to: "n4"}, "", Refused},
		"to nobody known":  {leaderGoal{from: "n1", to: "n9"}, "", NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := c.goal.next(m)
			require.Equal(t, c.op, s.op)
			if c.kind != none {
				require.Equal(t, c.kind, kindOf(err))
				return
			}
			require.NoError(t, err)
		})
	}
}
