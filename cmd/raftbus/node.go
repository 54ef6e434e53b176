package main

// The node command: runs one node of a cluster until it is told to stop.

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

const nodeHelp = `Run one node of a cluster until SIGTERM or SIGINT.

Members are named by id only; there is no address to configure. The first boot of a
cluster needs all members (a node says whom it waits for); later starts need a quorum.
Nodes and NATS may start in any order. Keep the flags of the first start: a node needs --members
or --join at each. Until the members are changed for the first time --members must be what it
was; from then on the data folder says who belongs to the cluster, and any list will do that
names the node itself.

With --join a node with an empty folder begins no cluster: it waits until 'raftbus member
add' lets it into one that runs. At later starts --join will do, or such a list.

The data folder belongs to one node for good. A node whose folder was wiped or replaced is
refused by its peers, because it may have forgotten whom it voted for: 'raftbus member
replace' puts the new folder in the place of the lost one.

NATS KV clients reach the cluster with its prefix as their JetStream domain (nats
--js-domain raftbus), or without one where --serve-default-api is given and no other
JetStream answers: a node that finds one does not start.

A node looks at its start whether NATS would let it, or somebody without credentials, speak
as another node, and does not run if so, unless it is given --insecure. 'raftbus auth init'
makes a configuration for NATS that lets nobody, and the folder for --auth-dir.

Clients of further NATS accounts are served with --account NAME=FOLDER, the folder having the
node's credentials for it (clients and leaf), and those in tenants/ of --auth-dir. All have the
same buckets. --requests-max and the like bound what each account may have.

With a cluster key, peers accept only messages that carry a code made with it. Its file may
have a second key, in a line of its own, that is accepted too. SIGHUP has it read anew: to
change the key, append the new one to the file on all nodes, then swap the lines on all, then
remove the second.`

const nodeExamples = `  raftbus node --id n1 --members n1,n2,n3 --dir /var/lib/raftbus --nats nats://bus:4222 --auth-dir /etc/raftbus/n1
  raftbus node --id n4 --join --dir /var/lib/raftbus --nats nats://bus:4222 --auth-dir /etc/raftbus/n4
  RAFTBUS_ID=n1 RAFTBUS_MEMBERS=n1,n2,n3 RAFTBUS_DIR=/data RAFTBUS_AUTH_DIR=/run/n1 raftbus node`

// nodeFlags are the flags of the node command that are not about NATS.
type nodeFlags struct {
	id, dir, prefix, keyFile string
	authDir                  string
	members                  []string
	join, insecure           bool
	eager, multicast         bool
	keepLog                  int64
	api                      apiFlags
	bounds                   boundFlags
	http, traces             *string
	level                    *logLevel
}

func newNode(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node --id ID (--members ID,ID,ID | --join) --dir DIR",
		Short:   "Run one node",
		Long:    nodeHelp,
		Example: nodeExamples,
		Args:    noArgs,
	}
	f := &nodeFlags{}
	f.register(cmd.Flags())
	return resolved(cmd, lookup, f.check, func(cmd *cobra.Command, target natsopt.Target, _ []string) error { return runNode(cmd, f, target) })
}

func (f *nodeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.id, "id", "", "`NAME` of this node")
	flags.StringSliceVar(&f.members, "members", nil, "`NAMES` of all nodes of the cluster at its first boot, this one too")
	flags.BoolVar(&f.join, "join", false, "with an empty data folder: wait to be added to a cluster that runs (--members is not looked at)")
	flags.StringVar(&f.dir, "dir", "", "data `FOLDER` of this node, made if there is none")
	prefixVar(flags, &f.prefix)
	flags.StringVar(&f.keyFile, "cluster-key-file", "", "`FILE` with the cluster key, at least 32 bytes, the same on all nodes; and a second one during a change")
	flags.StringVar(&f.authDir, "auth-dir", "", "`FOLDER` with this node's credentials and cluster key, as 'raftbus auth init' made it")
	flags.BoolVar(&f.insecure, "insecure", false, "run although others on the bus may speak as this node")
	flags.BoolVar(&f.eager, "eager", false, "send each write to all nodes at once; otherwise it goes to as many as must have it and up to 10ms later to the others, which costs less, but a slow disk among the first can delay it by as much")
	flags.BoolVar(&f.multicast, "multicast", false, "send what several peers are to get alike as one message, so that a leader's cost does not grow with the number of nodes")
	flags.Int64Var(&f.keepLog, "keep-log", 0, "`BYTES` of log kept for members that are away for a while, for small disks and tests; 0: 64 MiB; below 0: as little as can be")
	_ = flags.MarkHidden("keep-log") // fails only for a flag that there is not
	f.api.register(flags, false)
	f.api.registerAccounts(flags)
	f.bounds.register(flags)
	f.http, f.traces = httpFlag(flags), tracesFlag(flags)
	f.level = logLevelFlag(flags, slog.LevelInfo)
}

// check refuses what cannot be carried out before anything is touched.
func (f *nodeFlags) check() error { return errors.Join(f.checkMember(), f.checkApart()) }

// checkApart refuses what is wrong by itself, whoever the node is.
func (f *nodeFlags) checkApart() error {
	return errors.Join(f.api.check(), f.bounds.check(), checkHTTP(*f.http), checkTraces(*f.traces))
}

// checkMember refuses what makes no member.
func (f *nodeFlags) checkMember() error {
	for _, required := range []struct{ flag, value, or string }{
		{"id", f.id, ""}, {"members", f.founders(), "; or --join, to be added to a cluster that runs"}, {"dir", f.dir, ""},
	} {
		if required.value == "" {
			return usagef("--%s is missing: give it, or set %s%s", required.flag, natsopt.Variable(required.flag), required.or)
		}
	}
	ids := make([]rpc.NodeID, len(f.members))
	for i, id := range f.members {
		f.members[i] = strings.TrimSpace(id) // as in "n1, n2"
		ids[i] = rpc.NodeID(f.members[i])
	}
	if _, err := config.Validate(config.Config{NodeID: rpc.NodeID(f.id), MemberIDs: ids, Join: f.join, Subjects: f.prefix}); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// founders are the members of the first boot; of a node that joins, itself stands for those it will hear of.
func (f *nodeFlags) founders() string {
	if f.join {
		return f.id
	}
	return strings.Join(f.members, ",")
}

// secrets are what a node has to show, to NATS and to its peers.
type secrets struct {
	folder           auth.Folder // empty without --auth-dir
	tenants          []auth.Tenant
	keyFile          string // empty: no cluster key
	current, another []byte
}

func (f *nodeFlags) secrets(target natsopt.Target) (s secrets, err error) {
	if f.authDir != "" {
		if strings.Contains(strings.Join(target.URLs, ","), "@") {
			return s, usagef("--auth-dir says who the node is, and so does a user in the URL of NATS: give one of them")
		}
		folder, err := auth.Open(f.authDir)
		if err != nil {
			return s, usagef("%w", err)
		}
		s.folder = *folder
	}
	if s.tenants, err = f.tenants(s.folder); err != nil {
		return s, err
	}
	if len(s.tenants) > 0 && strings.Contains(strings.Join(slices.Concat(target.URLs, f.api.leaf), ","), "@") {
		return s, usagef("--account says who the node is in another account, and a user in a URL of NATS would be it in all: give the first account's credentials by a file or --auth-dir")
	}
	if s.keyFile = cmp.Or(f.keyFile, s.folder.KeyFile); s.keyFile == "" {
		return s, nil
	}
	if s.current, s.another, err = auth.ReadClusterKey(s.keyFile); err != nil {
		return s, usagef("%w", err)
	}
	return s, nil
}

// tenants are the accounts that are served beside the first: those of the folder, and those that are named.
func (f *nodeFlags) tenants(folder auth.Folder) ([]auth.Tenant, error) {
	named, err := f.api.tenants()
	if err != nil {
		return nil, err
	}
	list := slices.Concat(folder.Tenants, named)
	for i, t := range list {
		if slices.ContainsFunc(list[:i], func(before auth.Tenant) bool { return before.Name == t.Name }) {
			return nil, usagef("--account %s: the account is named twice, here or in %s: name it once", t.Name, f.authDir)
		}
	}
	return list, nil
}
