package replica

// Two clusters on one prefix would both answer the same clients. Peers refuse each other where their ids overlap (busclient);
// here a node looks, before it takes part, for nodes of its prefix that belong to others (F14, F27), and a leader goes on looking:
// two clusters may have begun where the bus did not reach from one to the other, and meet later.

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
)

const (
	// foreignWait is how long answers of other nodes are collected.
	foreignWait = 150 * time.Millisecond
	// foreignRetry is how often a first boot looks again while another one with other members is under way.
	foreignRetry = time.Second
	// foreignEvery is how often a leader looks.
	foreignEvery = 2 * time.Second
	// aloneLooks is how many looks in a row must find no other leader, once one was found: an answer may be lost or late.
	aloneLooks = 3
)

// ErrForeignCluster: another cluster uses the prefix on this bus.
var ErrForeignCluster = errors.New("another cluster uses this prefix")

// ErrLostFolder: the cluster of the prefix knows this node by another data folder, and nobody that it was told of would say so to it.
var ErrLostFolder = errors.New("this node belongs to the cluster of this prefix by another data folder")

// checkPrefix returns when no node of another cluster answers under the prefix, or with ErrForeignCluster if one that is
// established does. Two first boots with different members wait for each other, and say so.
func (r *Replica) checkPrefix(ctx context.Context) error {
	for told := false; ; told = true {
		others, err := r.others(ctx, foreignWait)
		if err != nil {
			return err
		}
		mine := r.Status()
		if err := r.lostFolder(mine, others); err != nil {
			return err
		}
		i := slices.IndexFunc(others, r.foreign)
		if i < 0 {
			return nil
		}
		err = foreignError(r.config.Prefix(), mine, others[i])
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

// foreignError says what to do about another cluster's node. One that has a cluster is to be added to none: most often one of the two was recovered
// from the other (D4), of which nodes still run.
func foreignError(prefix string, mine, other Status) error {
	if mine.Cluster != "" {
		return fmt.Errorf("%w: node %s answers on %q, of cluster %s with the members %s; this node is of cluster %s with the members %s: stop %s and the others of its cluster if that is to go, as after 'raftbus recover' the old one is, whose nodes come back with empty folders and --join; else stop this one's; or start one of the two with another --prefix",
			ErrForeignCluster, other.ID, prefix, other.Cluster, strings.Join(other.Members, ","), mine.Cluster, strings.Join(mine.Members, ","), other.ID)
	}
	return fmt.Errorf("%w: node %s answers on %q with the members %s, this node was given %s: start one of them with another --prefix, or all nodes with the same --members; to have this node added to that cluster, start it with --join",
		ErrForeignCluster, other.ID, prefix, strings.Join(other.Members, ","), strings.Join(mine.Members, ","))
}

// foreign reports whether a status is of a node of another cluster, before which this node must give way: an established one
// gives way to established ones only, and one that joins begins none.
func (r *Replica) foreign(s Status) bool {
	mine := r.Status()
	switch {
	case mine.Joining || s.Joining:
		return false
	case mine.Cluster != "":
		return s.Cluster != "" && s.Cluster != mine.Cluster
	case s.Cluster != "":
		// A member whose folder was lost, perhaps with a list of members that changes have overtaken, is no stranger: its
		// peers refuse it, and tell it what to do.
		return !slices.Contains(s.Members, r.o.ID)
	}
	return !slices.Equal(s.Members, mine.Members)
}

// lostFolder is for a node that would found a cluster anew, with those it was told of at its first boot, though it is a member of one
// that has changed since: it has lost its folder (D3, F23; the simulator's S6). If one of those who were told to it is of that
// cluster, it refuses this node, tells it what to do, and sees it replaced; else nobody would.
func (r *Replica) lostFolder(mine Status, others []Status) error {
	if mine.Cluster != "" || mine.Joining {
		return nil
	}
	for _, s := range others {
		if s.Cluster != "" && s.ID != r.o.ID && slices.Contains(r.o.Members, s.ID) {
			return nil
		}
	}
	for _, s := range others {
		if s.ID == r.o.ID && s.Instance != mine.Instance { // nothing is lost: somebody mistyped --id
			return fmt.Errorf("%w: it has data folder instance %s", busclient.ErrDuplicateNode, s.Instance)
		}
	}
	for _, s := range others {
		if known := instanceIn(s, r.o.ID); known != "" && known != mine.Instance {
			return fmt.Errorf("%w: node %s knows %s by data folder instance %s, this folder is %s: it was wiped or replaced; put the old folder back, or start the node with --join and run raftbus member replace %s",
				ErrLostFolder, s.ID, r.o.ID, known, mine.Instance, r.o.ID)
		}
	}
	return nil
}

// instanceIn is the data folder by which a node's configuration knows another; empty: it does not.
func instanceIn(s Status, id string) string {
	if s.Configuration == nil {
		return ""
	}
	for _, m := range slices.Concat(s.Configuration.Voters, s.Configuration.Learners) {
		if m.ID == id {
			return m.Instance
		}
	}
	return ""
}

// watchPrefix has a leader serve nobody while a node of another cluster leads under the prefix too: each client would be answered by
// both, now from one state and now from the other. Both sides see it, and which of them is to go only their operator knows.
func (r *Replica) watchPrefix(ctx context.Context) {
	for every, wait := foreignEvery, foreignWait; pause(ctx, every) == nil; every, wait = r.lookPace() {
		mine := r.Status()
		if mine.Role != "leader" && r.rival.Load() == nil {
			continue
		}
		others, err := r.others(ctx, wait)
		if err != nil {
			return
		}
		r.noteRival(mine, others)
	}
}

// lookPace is how often watchPrefix looks, and for how long. While nobody is served for the sake of another it looks all the time, and waits
// for late answers.
func (r *Replica) lookPace() (every, wait time.Duration) {
	if r.rival.Load() == nil {
		return foreignEvery, foreignWait
	}
	return foreignWait, foreignRetry
}

// noteRival serves or not, by who else leads. That nobody does is believed only of looks in which this node's own answer came: else none could.
func (r *Replica) noteRival(mine Status, others []Status) {
	i := slices.IndexFunc(others, func(s Status) bool { return s.Role == "leader" && s.Cluster != mine.Cluster })
	before := r.rival.Load()
	if r.lonely++; i >= 0 || !slices.ContainsFunc(others, func(s Status) bool { return s.ID == mine.ID && s.Instance == mine.Instance }) {
		r.lonely = 0
	}
	switch {
	case i >= 0 && before == nil:
		text := fmt.Sprintf("%s of cluster %s leads under the prefix %q too, with the members %s: stop one of the two clusters, and start it with another --prefix, or its nodes with empty folders and --join",
			others[i].ID, others[i].Cluster, r.config.Prefix(), strings.Join(others[i].Members, ","))
		r.rival.Store(&text)
		r.withhold()
		r.logger.Error("two clusters share one prefix: this leader serves nobody", "rival", text)
	case r.lonely >= aloneLooks && before != nil:
		r.rival.Store(nil)
		r.withhold()
		r.logger.Info("no other cluster leads under the prefix any more: this node serves again when it leads")
	}
}

// others asks all nodes of the prefix who they are, and returns what came in time. While NATS is away it waits.
func (r *Replica) others(ctx context.Context, wait time.Duration) ([]Status, error) {
	nc := r.first().conn.NATS()
	answers := make(chan *nats.Msg, 256)
	inbox := busclient.NodeInbox(r.config.Prefix(), r.config.Self().ID()) + "." + rand.Text() // where permissions let it listen
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	for nc.PublishRequest(busclient.StatusSubject(r.config.Prefix(), busclient.AllNodes), sub.Subject, nil) != nil {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return collect(ctx, answers, wait)
}

func collect(ctx context.Context, answers <-chan *nats.Msg, wait time.Duration) ([]Status, error) {
	deadline := time.After(wait)
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
