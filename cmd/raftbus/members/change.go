package members

// What a command asks for, made a goal.

import (
	"context"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/raft/config"
)

// change makes a goal of the members as they are, and follows it.
func (a *Administrator) change(ctx context.Context, w Waiting, plan func(m *admin.Members) (goal, error)) (admin.Members, error) {
	m, err := a.Members(ctx, AloneMax)
	if err != nil {
		return m, err
	}
	g, err := plan(&m)
	if err != nil {
		return m, err
	}
	return a.reach(ctx, g, w)
}

// Add lets nodes in. The instance of its data folder is asked of each, unless that of the only one is given.
func (a *Administrator) Add(ctx context.Context, ids []string, instance string, w Waiting) (admin.Members, error) {
	return a.change(ctx, w, func(m *admin.Members) (goal, error) {
		want, err := a.newMembers(ctx, m, ids, instance)
		return &membersGoal{want: want}, err
	})
}

// Remove lets members leave.
func (a *Administrator) Remove(ctx context.Context, ids []string, w Waiting) (admin.Members, error) {
	return a.change(ctx, w, func(m *admin.Members) (_ goal, err error) {
		absent := func(id string) bool { _, there := m.Member(id); return !there }
		if !m.Settled() && slices.ContainsFunc(ids, absent) { // they leave with the change under way, perhaps, and come back if it comes to nothing
			*m, err = a.reach(ctx, &membersGoal{}, w)
		}
		if err != nil {
			return nil, err
		}
		g := &membersGoal{}
		for _, id := range ids {
			o, err := Find(m, id)
			if err != nil {
				return nil, err
			}
			g.gone = append(g.gone, admin.NewMember{ID: id, Instance: o.Instance})
		}
		return g, nil
	})
}

// Find finds a member that was named.
func Find(m *admin.Members, id string) (admin.Member, error) {
	o, ok := m.Member(id)
	if !ok {
		return o, NotFound.says("%s is no member, so nothing was done: the members are %s", id, strings.Join(ids(m.Members), ", "))
	}
	return o, nil
}

// Replace puts a node in the place of a member: of another, or of itself with the data folder that it lost.
func (a *Administrator) Replace(ctx context.Context, old, comes, instance string, w Waiting) (admin.Members, error) {
	return a.change(ctx, w, func(m *admin.Members) (goal, error) { return a.replacement(ctx, m, old, comes, instance) })
}

// replacement works out what replacing a member means.
func (a *Administrator) replacement(ctx context.Context, m *admin.Members, old, comes, instance string) (*membersGoal, error) {
	have, isMember := m.Member(old)
	_, there := m.Member(comes)
	if !isMember && !there {
		_, err := Find(m, old)
		return nil, err
	}
	want, err := a.newMembers(ctx, m, []string{comes}, instance)
	g := &membersGoal{want: want}
	switch {
	case err != nil || !isMember: // who is to go is gone: only the new one may have to be waited for
		return g, err
	case old != comes:
		g.gone = []admin.NewMember{{ID: old, Instance: have.Instance}}
		g.after = (there || hasRoom(m)) && a.lives(ctx, have)
	case want[0].Instance != have.Instance:
		g.over = map[string]string{old: have.Instance}
	}
	return g, nil
}

// hasRoom reports whether a cluster may have one member more.
func hasRoom(m *admin.Members) bool {
	stay := 0
	for _, o := range m.Members {
		if o.Role != admin.RoleOutgoing {
			stay++
		}
	}
	return stay < config.MaxMembers
}

// Transfer hands leadership to a voter, or with no name to that which holds most of the log.
func (a *Administrator) Transfer(ctx context.Context, to string, w Waiting) (admin.Members, error) {
	return a.change(ctx, w, func(m *admin.Members) (goal, error) { return &leaderGoal{from: m.Leader, to: to}, nil })
}
