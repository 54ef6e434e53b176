package main

// The restore command: makes the data folder of a new cluster from a backup.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/backup"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/config"
	datafolder "github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

const restoreHelp = `Make the data folder of a new cluster from a backup. FILE is checked from end to end before
the folder counts; with - it is read from the standard input.

The new cluster has one member at first, the node of --id. Start it, start the others with empty
folders and --join, and let them in with 'raftbus member add': they get the state from it. Let
clients in once they are voters, since until then there is one copy of what is written.

All is as it was at the backup's revision: keys, histories, revisions, times to live, message ids.
New revisions start --skip above the backup's, so that none is reused that the old cluster gave
out after the backup: a client would take a new value for one it has seen. Use --skip 0 only if
nothing was written after the backup.

The folder must be empty. What root makes in a folder of another user that user's node cannot use: as
root that is refused, give the command as the node's user ('sudo -u raftbus' with systemd). The old cluster and the new one are strangers: nodes of one refuse those
of the other, and a node does not start under a prefix where the other answers.

The exit code is 3 when FILE is not there, 4 when the folder is not empty, 8 when FILE is an increment or
the folder another user's.`

const restoreExamples = `  raftbus restore monday.rbb --dir data/n1 --id n1
  raftbus node --id n1 --members n1 --dir data/n1 --auth-dir auth/nodes/n1
  raftbus node --id n2 --join --dir data/n2 --auth-dir auth/nodes/n2      # and n3
  raftbus member add n2 n3`

// skipDefault is more than a cluster writes in half a day at 20,000 writes a second.
const skipDefault = 1_000_000_000

// skipMax keeps revisions within what clients in every language can count.
const skipMax = 1_000_000_000_000

func skipFlag(flags *pflag.FlagSet) *uint64 {
	return flags.Uint64("skip", skipDefault, "`COUNT` of revisions that are left out, of the cluster and of each bucket: give more than were written after the backup, or after what this folder holds")
}

func checkSkip(skip uint64) error {
	if skip > skipMax {
		return usagef("--skip %d: at most %d", skip, uint64(skipMax))
	}
	return nil
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{Use: "restore FILE --dir DIR --id ID", Short: "Make the first node of a new cluster from a backup", Long: restoreHelp, Example: restoreExamples, Args: oneFile}
	dir, id := folderFlags(cmd.Flags())
	skip := skipFlag(cmd.Flags())
	asJSON := cmd.Flags().Bool("json", false, `print {"cluster":...,"revision":...,"skip":...}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(checkFolder(*dir, *id), checkSkip(*skip)); err != nil {
			return err
		}
		in, err := openFile(cmd, args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		file, err := backup.Open(in)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if file.Head.Base != nil {
			return failf(exitRefused, "%s is an increment of revision %d: make a whole backup of the two first ('raftbus backup merge')", args[0], file.Head.Base.Revision)
		}
		p := newEntryProgress(cmd.ErrOrStderr(), "restore: %d MiB")
		file.Progress = func(bytes uint64) { p.tell(bytes>>20, 0) }
		done, err := restore(file, *dir, rpc.NodeID(*id), *skip)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored revision %d of cluster %s into %s: cluster %s, whose only member is %s, goes on after revision %d; in %.1f s\n"+
			"start it:         raftbus node --id %s --members %s --dir %s ..., with its --nats and --auth-dir\nand the others:   raftbus node --id ID --join --dir DIR ..., then raftbus member add ID ID\n",
			done.Revision, done.Old, *dir, done.Cluster, *id, done.Revision+done.Skip, p.seconds(), *id, *id, *dir)
		return err
	}
	return cmd
}

// folderFlags are of commands that work on a data folder whose node does not run.
func folderFlags(flags *pflag.FlagSet) (dir, id *string) {
	return flags.String("dir", "", "data `FOLDER` of the node"), flags.String("id", "", "`NAME` of the node")
}

func checkFolder(dir, id string) error {
	switch {
	case dir == "":
		return usagef("--dir is missing: name the data folder")
	case !config.ValidToken(id):
		return usagef("--id %q: name the node by 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", id)
	}
	return nil
}

// restore fills an empty folder, and makes it the only voter of a new cluster.
func restore(file *backup.File, dir string, id rpc.NodeID, skip uint64) (done datafolder.Succession, err error) {
	if err := mustBeEmpty(dir); err != nil {
		return done, err
	}
	folder, err := openFolderToSucceed(dir, id)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	h := &file.Head
	plan := datafolder.Succession{Kind: datafolder.Restored, At: time.Now().UTC(), Old: h.Cluster, Skip: skip, Certain: h.Revision, Revision: h.Revision}
	at := datafolder.After(rpc.Index(h.Index), rpc.Term(h.Term))
	plan.Index, plan.Term = at.Index, at.Term
	if done, err = folder.Plan(plan); err != nil { // before anything else is in the folder: a node would take it for a new one
		return done, err
	}
	state, err := openState(folder, fmt.Sprintf("delete %s, and give the command again", dir))
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	if err := state.Restore(file); err != nil {
		return done, err
	}
	if m := state.Moment(); uint64(m.ID.Index) != h.Index || m.Revision != h.Revision {
		return done, fmt.Errorf("%w: its head says revision %d, and it holds %d", backup.ErrBadFile, h.Revision, m.Revision)
	}
	return succeed(folder, state, done)
}

// mustBeEmpty refuses a folder that has something in it. One that is not there is empty, and so is a new volume.
func mustBeEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }) {
		return failf(exitConflict, "%s is not empty: a backup is restored into a new folder only; name another one, or delete this one if nobody needs it", dir)
	}
	return err
}

// openFolderToSucceed opens the folder of a node that does not run.
func openFolderToSucceed(dir string, id rpc.NodeID) (*datafolder.Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := mustBeOwn(dir, os.Geteuid()); err != nil {
		return nil, err
	}
	return datafolder.OpenToSucceed(vfs.Default, dir, id)
}

// openState opens the state in such a folder. The remedy is what is left to do if its disk then fails.
func openState(folder *datafolder.Folder, remedy string) (*store.Store, error) {
	state, err := store.Open(store.Options{FS: vfs.Default, Dir: folder.Path("kv"), Fatal: func(err error) {
		endNow(fmt.Errorf("the state in %s: %w: see that its disk has room and takes writes, %s", folder.Path("kv"), err, remedy))
	}})
	if err != nil {
		return nil, fmt.Errorf("the state in %s: %w", folder.Path("kv"), err)
	}
	return state, nil
}

func openLog(dir string) (*wal.Log, error) {
	return wal.Open(vfs.Default, dir, wal.Options{ReportDamaged: true})
}
