// Package config holds what a raft node is told before it starts: who it is, who the members are, and its timing.
//
// It reads no flags and no environment (cmd does), and starts nothing.
package config

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// IRaftNodeConfig describes one node. A node has no address: its endpoint on the bus is derived from its id.
type IRaftNodeConfig interface {
	ID() rpc.NodeID
}

// IRaftConfig describes a cluster as one of its nodes sees it. It does not change while the node runs.
type IRaftConfig interface {
	Self() IRaftNodeConfig
	Members() []IRaftNodeConfig // all nodes of the first configuration, this one among them, in order of id; of a joiner itself
	Joining() bool              // whether a node without a data folder waits to be let into a cluster that runs already
	Prefix() string             // the first token of all subjects of the cluster
	ClusterKey() []byte         // the key of the message authentication code; empty: messages carry none
	Timing() Timing
	Multicast() bool // whether what several peers are to get alike goes to them as one message
	Eager() bool     // whether a write goes to all peers at once, and not at first to as many as a quorum needs
}

// Timing holds the periods that liveness rests on; safety rests on none of them. Zero fields take the defaults.
type Timing struct {
	// Tick is the core's unit of time. Smaller costs CPU when idle; larger makes every other period coarser.
	Tick time.Duration
	// Heartbeat is how often a leader speaks (H). Smaller costs messages; larger makes failover slower.
	Heartbeat time.Duration
	// ElectionMin and ElectionMax bound the random election timeout (E). Too small and a busy machine elects for
	// nothing; too large and a silent leader's death goes unnoticed for that long.
	ElectionMin, ElectionMax time.Duration
}

// DefaultTiming is H = 100 ms and E in [1 s, 2 s), as the fault model assumes.
func DefaultTiming() Timing {
	return Timing{
		Tick:        10 * time.Millisecond,
		Heartbeat:   100 * time.Millisecond,
		ElectionMin: time.Second,
		ElectionMax: 2 * time.Second,
	}
}

// Config is the plain form of IRaftConfig. Validate it before use.
type Config struct {
	NodeID    rpc.NodeID
	MemberIDs []rpc.NodeID // of the first configuration; not looked at with Join
	Join      bool         // the node is to be added to a cluster that runs: it waits until a member tells it so
	Subjects  string       // prefix; empty: DefaultPrefix
	Key       []byte
	Periods   Timing
	Eager     bool // the leader's counts
	Multicast bool // nodes of which some have it and some have not go well together
}

// DefaultPrefix is the first token of all subjects, unless another is given.
const DefaultPrefix = "raftbus"

// MaxMembers bounds a cluster, at its first boot and later.
const MaxMembers = rpc.ClusterMax

// ValidToken reports whether s can be an id or a prefix: one subject token, [A-Za-z0-9_-]+, not starting with '_'.
func ValidToken(s string) bool { return rpc.NodeID(s).Valid() }

// Validate checks a configuration, fills in the defaults, and reports all problems at once, each with its remedy.
func Validate(c Config) (IRaftConfig, error) {
	if c.Subjects == "" {
		c.Subjects = DefaultPrefix
	}
	c.Periods = c.Periods.withDefaults()
	c.MemberIDs = slices.Clone(c.MemberIDs)
	if c.Join {
		c.MemberIDs = []rpc.NodeID{c.NodeID}
	}
	slices.Sort(c.MemberIDs)
	if err := errors.Join(c.checkNames(), c.checkMembers(), c.Periods.check()); err != nil {
		return nil, err
	}
	return &validConfig{c}, nil
}

func (c *Config) checkNames() error {
	var errs []error
	if !ValidToken(string(c.NodeID)) {
		errs = append(errs, fmt.Errorf("node id %q: use 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", c.NodeID))
	}
	if !ValidToken(c.Subjects) {
		errs = append(errs, fmt.Errorf("prefix %q: use one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", c.Subjects))
	}
	return errors.Join(errs...)
}

func (c *Config) checkMembers() error {
	if c.Join {
		return nil // its own id is looked at by checkNames
	}
	var errs []error
	for i, id := range c.MemberIDs {
		if !ValidToken(string(id)) {
			errs = append(errs, fmt.Errorf("member id %q: use 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", id))
		}
		if i > 0 && id == c.MemberIDs[i-1] {
			errs = append(errs, fmt.Errorf("member %q is listed twice: list each node once", id))
		}
	}
	if !slices.Contains(c.MemberIDs, c.NodeID) {
		errs = append(errs, fmt.Errorf("node %q is not among the members %v: list every node of the new cluster, this one too; if it joined a cluster, or is to, give --join in place of --members", c.NodeID, c.MemberIDs))
	}
	if len(c.MemberIDs) > MaxMembers {
		errs = append(errs, fmt.Errorf("%d members: at most %d", len(c.MemberIDs), MaxMembers))
	}
	return errors.Join(errs...)
}

func (t Timing) withDefaults() Timing {
	d := DefaultTiming()
	for _, f := range []struct{ have, want *time.Duration }{
		{&t.Tick, &d.Tick},
		{&t.Heartbeat, &d.Heartbeat},
		{&t.ElectionMin, &d.ElectionMin},
		{&t.ElectionMax, &d.ElectionMax},
	} {
		if *f.have == 0 {
			*f.have = *f.want
		}
	}
	return t
}

func (t Timing) check() error {
	var errs []error
	if t.Tick < time.Millisecond {
		errs = append(errs, fmt.Errorf("tick %v: at least 1ms", t.Tick))
	}
	if t.Heartbeat < t.Tick {
		errs = append(errs, fmt.Errorf("heartbeat %v: at least one tick (%v)", t.Heartbeat, t.Tick))
	}
	if t.ElectionMin < 5*t.Heartbeat {
		errs = append(errs, fmt.Errorf("election timeout %v: at least five heartbeats (%v), or a late one starts an election", t.ElectionMin, 5*t.Heartbeat))
	}
	if t.ElectionMax < t.ElectionMin+t.ElectionMin/2 {
		errs = append(errs, fmt.Errorf("election timeouts from %v to %v: spread them by at least half the lower, or votes split", t.ElectionMin, t.ElectionMax))
	}
	return errors.Join(errs...)
}

// validConfig is a Config that passed Validate.
type validConfig struct{ c Config }

type nodeConfig rpc.NodeID

func (n nodeConfig) ID() rpc.NodeID { return rpc.NodeID(n) }

func (v *validConfig) Self() IRaftNodeConfig { return nodeConfig(v.c.NodeID) }
func (v *validConfig) Prefix() string        { return v.c.Subjects }
func (v *validConfig) ClusterKey() []byte    { return v.c.Key }
func (v *validConfig) Timing() Timing        { return v.c.Periods }
func (v *validConfig) Joining() bool         { return v.c.Join }
func (v *validConfig) Eager() bool           { return v.c.Eager }
func (v *validConfig) Multicast() bool       { return v.c.Multicast }

func (v *validConfig) Members() []IRaftNodeConfig {
	nodes := make([]IRaftNodeConfig, len(v.c.MemberIDs))
	for i, id := range v.c.MemberIDs {
		nodes[i] = nodeConfig(id)
	}
	return nodes
}
