package members

// What a node says of itself.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// errAbsent is of a node that nobody answers for: NATS says that it is not there.
var errAbsent = errors.New("is not on the bus")

// Status asks one node for its status. ctx has a deadline.
func (a *Administrator) Status(ctx context.Context, id string) (replica.Status, error) {
	var s replica.Status
	answer, err := a.asker.Request(ctx, &nats.Msg{Subject: busclient.StatusSubject(a.Prefix, id)})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return s, Unavailable.says("%s %w (prefix %s): start it, or check --id and --prefix", id, errAbsent, a.Prefix)
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, native.ErrNoLeader): // it was sent
		return s, Timeout.says("%s did not answer in time: it may be overloaded or paused: look at its log", id)
	case err != nil:
		return s, err
	}
	if err := json.Unmarshal(answer.Data, &s); err != nil || s.ID != id {
		return s, fmt.Errorf("what answered on %s is not node %s: check --prefix", busclient.StatusSubject(a.Prefix, id), id)
	}
	return s, nil
}

// lives reports whether a member answers, under the instance that the cluster knows: the leader, or this client.
func (a *Administrator) lives(ctx context.Context, m admin.Member) bool {
	if m.State != "unreachable" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := a.Status(ctx, m.ID)
	return err == nil && s.Instance == m.Instance
}

// newMembers finds out the instances of nodes that are to be let in: from themselves, unless it is given.
func (a *Administrator) newMembers(ctx context.Context, m *admin.Members, ids []string, instance string) ([]admin.NewMember, error) {
	if instance != "" {
		if len(ids) > 1 {
			return nil, Usage.says("--instance is of one node: add the others by another command")
		}
		if _, err := admin.ParseInstance(instance); err != nil {
			return nil, Usage.says("--%w", err)
		}
		return []admin.NewMember{{ID: ids[0], Instance: strings.ToLower(instance)}}, nil
	}
	var list []admin.NewMember
	for _, id := range ids {
		found, err := a.newMember(ctx, m, id)
		if err != nil {
			return nil, err
		}
		list = append(list, found)
	}
	return list, nil
}

func (a *Administrator) newMember(ctx context.Context, m *admin.Members, id string) (admin.NewMember, error) {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	s, err := a.Status(ctx, id)
	switch {
	case errors.Is(err, errAbsent):
		return admin.NewMember{}, Unavailable.says("%s %w (prefix %s): start it with 'raftbus node --id %s --join' first, or give the instance of its data folder with --instance", id, errAbsent, a.Prefix, id)
	case err != nil:
		return admin.NewMember{}, err
	case s.Cluster != "" && s.Cluster != m.Cluster:
		return admin.NewMember{}, Conflict.says("%s belongs to another cluster (%s, this one is %s): start it with an empty data folder and --join", id, s.Cluster, m.Cluster)
	}
	return admin.NewMember{ID: id, Instance: s.Instance}, nil
}
