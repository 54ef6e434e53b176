package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
)

// Two clusters on one prefix would both answer the same clients. Peers refuse each other where their ids overlap (busclient);
// here a node looks, before it takes part, for nodes of its prefix that belong to others (F14, F27).

const (
	// foreignWait is how long answers of other nodes are collected.
	foreignWait = 150 * time.Millisecond
	// foreignRetry is how often a first boot looks again while another one with other members is under way.
	foreignRetry = time.Second
)

// ErrForeignCluster: another cluster uses the prefix on this bus.
var ErrForeignCluster = errors.New("another cluster uses this prefix")

// checkPrefix returns when no node of another cluster answers under the prefix, or with ErrForeignCluster if one that is
// established does. Two first boots with different members wait for each other, and say so.
func (r *Replica) checkPrefix(ctx context.Context) error {
	for told := false; ; told = true {
		others, err := r.others(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(others, r.foreign)
		if i < 0 {
			return nil
		}
		err = fmt.Errorf("%w: node %s answers on %q with the members %s, this node was given %s: start one of them with another --prefix, or all nodes with the same --members",
			ErrForeignCluster, others[i].ID, r.config.Prefix(), strings.Join(others[i].Members, ","), strings.Join(r.o.Members, ","))
		if others[i].Cluster != "" {
			return err
		}
		if !told {
			r.logger.Error("first boot waits", "err", err)
		}
		if err := pause(ctx, foreignRetry); err != nil {
			return err
		}
	}
}

// foreign reports whether a status is of a node of another cluster, before which this node must give way: an established
// one gives way to established ones only.
func (r *Replica) foreign(s Status) bool {
	mine := r.Status()
	if mine.Cluster != "" {
		return s.Cluster != "" && s.Cluster != mine.Cluster
	}
	return !slices.Equal(s.Members, mine.Members)
}

// others asks all nodes of the prefix who they are, and returns what came in time. While NATS is away it waits.
func (r *Replica) others(ctx context.Context) ([]Status, error) {
	nc := r.conns[busclient.RoleClient].NATS()
	answers := make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe(nc.NewInbox(), answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	for nc.PublishRequest(StatusSubject(r.config.Prefix(), AllNodes), sub.Subject, nil) != nil {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return collect(ctx, answers)
}

func collect(ctx context.Context, answers <-chan *nats.Msg) ([]Status, error) {
	deadline := time.After(foreignWait)
	var list []Status
	for {
		select {
		case m := <-answers:
			var s Status
			if json.Unmarshal(m.Data, &s) == nil && s.ID != "" {
				list = append(list, s)
			}
		case <-deadline:
			return list, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
