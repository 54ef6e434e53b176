package main

// The dev command: NATS and a whole cluster in one process. For trying out and for development; durable all the same.

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/node"
)

const devHelp = `Run NATS and the nodes of a cluster in this process, until SIGTERM or SIGINT.

NATS listens on loopback without credentials. Data is kept in the folder, one folder per
node in it, and is as durable as on real nodes: every write is synced by a majority of the
nodes before it is acknowledged. NATS KV clients, such as 'nats kv', are served as they are.
One line on stdout says when the cluster is ready.`

const devExamples = `  raftbus dev
  raftbus dev --nodes 5 --dir /tmp/five --port 4333
  nats --server nats://127.0.0.1:4333 req raftbus.bucket.add.app ''
  nats --server nats://127.0.0.1:4333 kv put app color blue`

// devFlags are the flags of the dev command.
type devFlags struct {
	nodes             int
	port, leafPort    int
	dir, host, prefix string
	nodesGiven        bool
	api               apiFlags
	http, traces      *string
	level             *logLevel
}

func newDev() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dev",
		Short:   "Run NATS and a whole cluster in one process",
		Long:    devHelp,
		Example: devExamples,
		Args:    noArgs,
	}
	f := &devFlags{}
	f.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.nodesGiven = cmd.Flags().Changed("nodes")
		members, err := f.check()
		if err != nil {
			return err
		}
		return runDev(cmd, f, members)
	}
	return cmd
}

func (f *devFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.nodes, "nodes", 3, "`NUMBER` of nodes; a folder keeps the number it began with")
	flags.StringVar(&f.dir, "dir", "./raftbus-data", "data `FOLDER`, made if there is none")
	own(flags, "dir", "dev-dir")
	flags.IntVar(&f.port, "port", usualPort, "`PORT` of NATS; 0: any free one")
	flags.IntVar(&f.leafPort, "leaf-port", 0, "`PORT` of NATS for leafnodes, by which nodes serve watches; 0: 7422 if --port is 4222 and it is free, else any free one")
	flags.StringVar(&f.host, "host", "127.0.0.1", "`ADDRESS` that NATS listens on; anybody who reaches it can read and write")
	prefixVar(flags, &f.prefix)
	f.api.register(flags, true)
	f.http, f.traces = httpFlag(flags), tracesFlag(flags)
	f.level = logLevelFlag(flags, slog.LevelWarn)
}

// check refuses what cannot be carried out before anything is touched, and names the nodes.
func (f *devFlags) check() (members []string, err error) {
	if err := checkPrefix(f.prefix); err != nil {
		return nil, err
	}
	if err := errors.Join(f.api.check(), checkHTTP(*f.http), checkTraces(*f.traces)); err != nil {
		return nil, err
	}
	if err := errors.Join(checkPort("port", f.port), checkPort("leaf-port", f.leafPort)); err != nil {
		return nil, err
	}
	if f.dir, err = filepath.Abs(f.dir); err != nil {
		return nil, err
	}
	if f.nodes, err = f.nodesOfFolder(); err != nil {
		return nil, err
	}
	if f.nodes < 1 || f.nodes > config.MaxMembers {
		return nil, usagef("--nodes %d: use 1 to %d", f.nodes, config.MaxMembers)
	}
	for i := range f.nodes {
		members = append(members, "n"+strconv.Itoa(i+1))
	}
	return members, nil
}

func checkPort(flag string, port int) error {
	if port < 0 || port > 65535 {
		return usagef("--%s %d: use 1 to 65535, or 0 for any free one", flag, port)
	}
	return nil
}

// usualPort is where NATS listens if it is not told otherwise.
const usualPort = 4222

// leafPorts are the ports for leafnodes, in the order in which they are tried. The usual one is where nodes look that are started beside; at a
// server with another port for clients they would find somebody else's there.
func (f *devFlags) leafPorts() []int {
	switch {
	case f.leafPort != 0:
		return []int{f.leafPort}
	case f.port == usualPort:
		return []int{leaf.DefaultPort, embedded.Random}
	}
	return []int{embedded.Random}
}

// startNATS starts the server with the first port for leafnodes that is free.
func (f *devFlags) startNATS(logger *slog.Logger, leafPorts []int) (server *embedded.Server, err error) {
	for _, leafPort := range leafPorts {
		server, err = embedded.Start(embedded.Options{Host: f.host, Port: f.port, LeafPort: leafPort, Logger: logger})
		if err == nil {
			return server, nil
		}
	}
	return nil, fmt.Errorf("%w (--host, --port, --leaf-port)", err)
}

var nodeFolder = regexp.MustCompile(`^n([1-9][0-9]?)$`)

// nodesOfFolder returns how many nodes to run: as many as the folder was begun with, which its highest number tells even if
// the folder of another node was lost. Another number would be another cluster, which the nodes would refuse one by one.
func (f *devFlags) nodesOfFolder() (int, error) {
	entries, err := os.ReadDir(f.dir)
	if os.IsNotExist(err) {
		return f.nodes, nil
	}
	if err != nil {
		return 0, failf(exitError, "data folder: %w: choose another with --dir", err)
	}
	have := 0
	for _, entry := range entries {
		if match := nodeFolder.FindStringSubmatch(entry.Name()); match != nil && entry.IsDir() {
			number, _ := strconv.Atoi(match[1]) // at most two digits
			have = max(have, number)
		}
	}
	switch {
	case have == 0:
		return f.nodes, nil
	case f.nodesGiven && f.nodes > have:
		return 0, failf(exitConflict, "%s holds the folders of %d nodes: start it with --nodes %d, choose another folder with --dir, or, if %s was lost, %s", f.dir, have, have, f.folder("n"+strconv.Itoa(f.nodes)), lostFolder)
	case f.nodesGiven && have != f.nodes:
		return 0, failf(exitConflict, "%s holds a cluster of %d nodes: start it with --nodes %d, or choose another folder with --dir", f.dir, have, have)
	}
	return have, nil
}

// folder is where a node has its data.
func (f *devFlags) folder(id string) string { return filepath.Join(f.dir, id) }

// lostFolder is what is to be done about a folder that is gone: of an empty one it is known that there was a node.
const lostFolder = "put it back, or make it anew, empty, and have the node replaced with 'raftbus member replace' once dev runs"

// failure gives an error of the nodes a remedy, where theirs is of another command: who has the highest number is not missed if its folder is lost.
func (f *devFlags) failure(err error) error {
	if errors.Is(err, node.ErrOtherMembers) {
		return fmt.Errorf("%w; of dev: each of them must have its folder in %s: if one was lost, %s", err, f.dir, lostFolder)
	}
	return err
}

// readyLine is the one line that dev prints on stdout. Scripts wait for the word ready in it.
func (f *devFlags) readyLine(url, leafURL, leader, page string) string {
	line := fmt.Sprintf("raftbus dev is ready: NATS %s, leafnodes %s, leader %s of %d nodes, data in %s", url, leafURL, leader, f.nodes, f.dir)
	if page != "" {
		line += ", http://" + page
	}
	return line
}
