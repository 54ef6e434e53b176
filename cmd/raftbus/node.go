package main

// The node command: runs one node of a cluster until it is told to stop.

import (
	"bytes"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

const nodeHelp = `Run one node of a cluster until SIGTERM or SIGINT.

Members are named by id only; there is no address to configure. The first boot of a
cluster needs all members (a node says whom it waits for); later starts need a quorum.
Nodes and NATS may start in any order.

The data folder belongs to one node for good. A node whose folder was wiped or replaced
is refused by its peers, because it may have forgotten whom it voted for.

With a cluster key, peers accept only messages that carry a code made with it. Any member
of the NATS account could otherwise speak as a node, unless permissions forbid it.`

const nodeExamples = `  raftbus node --id n1 --members n1,n2,n3 --dir /var/lib/raftbus --nats nats://bus:4222
  RAFTBUS_ID=n1 RAFTBUS_MEMBERS=n1,n2,n3 RAFTBUS_DIR=/data NATS_CREDS=/run/n1.creds raftbus node`

// nodeFlags are the flags of the node command that are not about NATS.
type nodeFlags struct {
	id, dir, prefix, keyFile string
	members                  []string
	insecure                 bool
	level                    *logLevel
}

func newNode(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node --id ID --members ID,ID,ID --dir DIR",
		Short:   "Run one node",
		Long:    nodeHelp,
		Example: nodeExamples,
		Args:    noArgs,
	}
	f := &nodeFlags{}
	f.register(cmd.Flags())
	natsFlags := natsopt.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key, err := f.check()
		if err != nil {
			return err
		}
		target, err := resolve(natsFlags, lookup)
		if err != nil {
			return err
		}
		return runNode(cmd, f, target, key)
	}
	return cmd
}

func (f *nodeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.id, "id", "", "`NAME` of this node, one of the members")
	flags.StringSliceVar(&f.members, "members", nil, "`NAMES` of all nodes of the cluster, this one too")
	flags.StringVar(&f.dir, "dir", "", "data `FOLDER` of this node, made if there is none")
	flags.StringVar(&f.prefix, "prefix", defaultPrefix, "`TOKEN` that all subjects of the cluster begin with")
	flags.StringVar(&f.keyFile, "cluster-key-file", "", "`FILE` with the cluster key, at least 32 bytes, the same on all nodes")
	flags.BoolVar(&f.insecure, "insecure", false, "run although others on the bus may speak as this node (reserved: the check does not exist yet)")
	f.level = logLevelFlag(flags, slog.LevelInfo)
}

// check refuses what cannot be carried out before anything is touched, and returns the cluster key.
func (f *nodeFlags) check() ([]byte, error) {
	for _, required := range []struct{ flag, value string }{
		{"id", f.id}, {"members", strings.Join(f.members, ",")}, {"dir", f.dir},
	} {
		if required.value == "" {
			return nil, usagef("--%s is missing: give it, or set %s", required.flag, natsopt.Variable(required.flag))
		}
	}
	ids := make([]rpc.NodeID, len(f.members))
	for i, id := range f.members {
		ids[i] = rpc.NodeID(id)
	}
	if _, err := config.Validate(config.Config{NodeID: rpc.NodeID(f.id), MemberIDs: ids, Subjects: f.prefix}); err != nil {
		return nil, usagef("%w", err)
	}
	return f.clusterKey()
}

// clusterKeyBytesMin keeps a key from being guessed: 256 bits, when it is random.
const clusterKeyBytesMin = 32

// clusterKey reads the key; white space around it is not part of it, so that an editor's line end does no harm.
func (f *nodeFlags) clusterKey() ([]byte, error) {
	if f.keyFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(f.keyFile)
	if err != nil {
		return nil, usagef("cluster key: %w: name a file that can be read", err)
	}
	key := bytes.TrimSpace(content)
	if len(key) < clusterKeyBytesMin {
		return nil, usagef("cluster key in %s has %d bytes: use at least %d, such as the output of 'openssl rand -base64 32'", f.keyFile, len(key), clusterKeyBytesMin)
	}
	return key, nil
}
