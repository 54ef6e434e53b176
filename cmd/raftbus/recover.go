package main

// The recover command: what is left of a cluster that has lost its quorum for good goes on as a new one.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/kv/store"
	datafolder "github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

const recoverHelp = `Turn what one node still holds into a new cluster, when the others are lost for good and too few are
left for a quorum. Stop all nodes that are left first: while one of the old cluster runs, this one does
not start. Give the command as the user that the node runs as ('sudo -u raftbus' with systemd): in a
folder of another user root is refused. If a quorum can come back, start it instead: nothing is
lost then. If several nodes are left, take the one that has most (LAST ENTRY, of the highest term).

The command says what the folder has and what may be lost, and asks, on a terminal only. What was acknowledged and is
only on nodes that are lost is lost. The end of the log may hold writes that were never
acknowledged; they are kept, since they may have been. --dry-run says it and no more: it loses
nothing, but opens the folder as a start of the node does, which writes to it (a batch that a
crash tore is cut off, the state's files get other names). 'raftbus log verify' writes nothing.

The node is then the only voter of a new cluster, with a new cluster id, its folder with a new
instance: nodes of the old cluster that come back after all are refused, and do not start where
this one answers. New revisions start --skip higher, so that none is reused that the old cluster
gave out. The old log stays in the folder, under another name, and the identity file keeps what
was done.
A log that is gone, or damaged in more than single entries, cannot be read. --without-log then
goes on with the state alone, which is some seconds older, and all of it committed; what the log
held after it is lost, also what was acknowledged.
Others are let in as always: started with an empty folder and --join, then 'raftbus member add'.

The exit code is 3 when DIR is no data folder, 4 when the node runs, the folder is another node's,
another command was begun in it or this one with another --skip, 8 when the answer is no or the folder another user's.`

const recoverExamples = `  raftbus recover --dir data/n1 --id n1 --dry-run
  raftbus recover --dir data/n1 --id n1
  raftbus node --id n1 --members n1 --dir data/n1 --auth-dir auth/nodes/n1
  raftbus node --id n2 --join --dir data/n2 --auth-dir auth/nodes/n2      # with an empty folder; and n3
  raftbus member add n2 n3`

// remains is what recover says of a folder; with --dry-run it is all that is done, though to open a folder is to write to it.
type remains struct {
	Node    string   `json:"node"`
	Cluster string   `json:"cluster"`
	Members []string `json:"members"`
	// MembersLost is the entry of a later list of members, which cannot be read. 0: there is none.
	MembersLost rpc.Index `json:"members_lost,omitempty"`
	Voter       bool      `json:"voter"`
	Term        uint64    `json:"term"`
	Last        rpc.Index `json:"last"`
	LastTerm    rpc.Term  `json:"last_term"`
	Time        time.Time `json:"time"` // of the last entry
	Applied     rpc.Index `json:"applied"`
	Certain     uint64    `json:"certain_revision"` // as of Applied
	// Uncertain is how many entries come after Applied and can be read, Revision what they lead to: those at the end may never have been acknowledged.
	Uncertain uint64 `json:"uncertain_entries"`
	Revision  uint64 `json:"revision"`
	// Damaged is the first entry that cannot be read; it and those after it are lost. 0: none is.
	Damaged rpc.Index `json:"damaged,omitempty"`
	// LogDamage is why nothing of the log is gone on with, but for who the members were. Empty: it can be read.
	LogDamage string `json:"log_damage,omitempty"`

	whole rpc.Index // up to which the log can be read
}

type recoverFlags struct {
	dir, id           *string
	skip              *uint64
	yes, dryRun, json bool
	withoutLog        bool
}

func newRecover() *cobra.Command {
	cmd := &cobra.Command{Use: "recover --dir DIR --id ID", Short: "Go on with what one node has when the quorum is lost for good", Long: recoverHelp, Example: recoverExamples, Args: noArgs}
	f := &recoverFlags{}
	f.dir, f.id = folderFlags(cmd.Flags())
	f.skip = skipFlag(cmd.Flags())
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask: for scripts")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what the folder has and what may be lost, and recover nothing")
	cmd.Flags().BoolVar(&f.withoutLog, "without-log", false, "if the log is gone, or cannot be read, go on with the state alone")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON: with --dry-run what the folder has, else what was done")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(checkFolder(*f.dir, *f.id), checkSkip(*f.skip)); err != nil {
			return err
		}
		return f.run(cmd)
	}
	return cmd
}

func (f *recoverFlags) run(cmd *cobra.Command) (err error) {
	dir, err := filepath.Abs(*f.dir)
	if err != nil {
		return err
	}
	switch _, _, _, err := datafolder.Peek(vfs.Default, dir); {
	case errors.Is(err, os.ErrNotExist):
		return failf(exitNotFound, "%s is no data folder of a node: %w", *f.dir, err)
	case err != nil:
		return fmt.Errorf("%s: %w", *f.dir, err)
	}
	folder, err := openFolderToSucceed(dir, rpc.NodeID(*f.id))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	state, err := openState(folder, "and give the command again")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	plan := folder.Unfinished()
	if plan != nil {
		err = f.goOn(cmd, plan)
	} else {
		plan, err = f.plan(cmd, folder, state)
	}
	if err != nil || plan == nil {
		return err
	}
	if err := cmd.Context().Err(); err != nil { // the last moment: what is planned is carried out, by this call or the next
		return err
	}
	done, err := carryOut(folder, state, *plan)
	if err != nil {
		return err
	}
	return f.say(cmd.OutOrStdout(), &done)
}

// goOn has what was begun carried on, if it is this.
func (f *recoverFlags) goOn(cmd *cobra.Command, begun *datafolder.Succession) error {
	switch {
	case begun.Kind != datafolder.Recovered:
		return failf(exitConflict, "%w: 'raftbus %s' was begun in it: delete the folder, and give that command again", datafolder.ErrUnfinished, begun.Kind)
	case f.dryRun:
		return failf(exitConflict, "%w: 'raftbus recover' was begun in it and broken off: give it again, without --dry-run", datafolder.ErrUnfinished)
	case cmd.Flags().Changed("skip") && *f.skip != begun.Skip: // it may be counted into the revisions already
		return failf(exitConflict, "--skip %d: 'raftbus recover' was begun in %s with --skip %d, and broken off: give it again with that, or without --skip", *f.skip, *f.dir, begun.Skip)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "goes on:      with what was begun at %s, with --skip %d\n", begun.At.Format(time.RFC3339), begun.Skip)
	return nil
}

// plan looks, asks, and says what is to be done: nothing, with nil.
func (f *recoverFlags) plan(cmd *cobra.Command, folder *datafolder.Folder, state *store.Store) (*datafolder.Succession, error) {
	have, err := f.look(folder, state)
	if err != nil {
		return nil, err
	}
	if err := cmd.Context().Err(); err != nil { // what a log has takes long to read
		return nil, err
	}
	if f.dryRun && f.json {
		return nil, json.NewEncoder(cmd.OutOrStdout()).Encode(have)
	}
	have.print(cmd.ErrOrStderr())
	if f.dryRun {
		return nil, nil
	}
	if !f.yes && !confirmed(cmd, fmt.Sprintf("Are the others lost for good, and is %s to go on alone?", *f.id)) {
		return nil, failf(exitRefused, "nothing was done: confirm it on a terminal, or give --yes")
	}
	at := datafolder.After(have.whole, rpc.Term(have.Term))
	return &datafolder.Succession{
		Kind: datafolder.Recovered, At: time.Now().UTC(), Old: have.Cluster, Members: have.Members,
		Term: at.Term, Index: at.Index, Certain: have.Certain, Skip: *f.skip,
	}, nil
}

// look opens the log and says what the folder has.
func (f *recoverFlags) look(folder *datafolder.Folder, state *store.Store) (have *remains, err error) {
	log, err := folder.OpenLog(wal.Options{ReportDamaged: true})
	if damage := wal.Unreadable(nil); errors.As(err, &damage) {
		return f.lookWithoutLog(folder, state.Moment(), damage.Cause())
	}
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return remainsOf(folder, log, state, *f.id)
}

func (f *recoverFlags) lookWithoutLog(folder *datafolder.Folder, now store.Moment, damage string) (*remains, error) {
	if !f.withoutLog { // that the other nodes have it, as elsewhere, is no remedy here
		return nil, fmt.Errorf("open the log: %s: check the disk, and put back what is gone; else take the folder of another node, if one is left, or restore a backup (raftbus restore); or give --without-log, which goes on with the state alone (revision %d) and loses what the log holds after it", damage, now.Revision)
	}
	r, err := folder.RemainingWithoutLog(now.ID)
	if err != nil {
		return nil, err
	}
	r.Time = now.Time
	have := remainsIn(&r, now, *f.id)
	have.LogDamage, have.Revision = damage, now.Revision
	return have, nil
}

// remainsOf says what a folder has whose log can be read.
func remainsOf(folder *datafolder.Folder, log *wal.Log, state *store.Store, id string) (*remains, error) {
	r, err := folder.Remaining(log, state.Applied())
	if err != nil {
		return nil, err
	}
	now := state.Moment()
	have := remainsIn(&r, now, id)
	then, err := state.Foresee(following(log, now.ID.Index+1, have.whole))
	have.Revision = then.Revision
	return have, err
}

func remainsIn(r *datafolder.Remains, now store.Moment, id string) *remains {
	have := &remains{
		Node: id, Cluster: r.Cluster.String(), Term: uint64(r.Term), Last: r.Last.Index, LastTerm: r.Last.Term, Time: time.Unix(0, r.Time).UTC(),
		Applied: now.ID.Index, Certain: now.Revision, Uncertain: uint64(r.Whole - now.ID.Index), Damaged: r.Damaged.Index, whole: r.Whole,
	}
	if r.Cluster == (rpc.ClusterID{}) { // only the log says it
		have.Cluster = "unknown"
	}
	for _, m := range r.Conf.Members() {
		have.Members = append(have.Members, string(m.ID))
	}
	have.MembersLost, have.Voter = r.Lost, r.Conf.Voter(rpc.NodeID(id))
	return have
}

// following are a log's entries from one index to another.
func following(log *wal.Log, from, to rpc.Index) func() ([]rpc.Entry, error) {
	return func() ([]rpc.Entry, error) {
		entries, err := log.Entries(0, from, to+1, 1<<20)
		from += rpc.Index(len(entries))
		return entries, err
	}
}

func (r *remains) print(w io.Writer) {
	fmt.Fprintf(w, "node:         %s, of cluster %s\nmembers:      %s\nlast entry:   %d of term %d, made %s\nstate:        revision %d, as of entry %d, all of it committed\n",
		r.Node, r.Cluster, cmp.Or(strings.Join(r.Members, ", "), "unknown"), r.Last, r.LastTerm, r.Time.Format(time.RFC3339), r.Certain, r.Applied)
	if r.LogDamage != "" {
		fmt.Fprintf(w, "without log:  revision %d, and no more; %s\n", r.Revision, r.LogDamage)
	} else {
		fmt.Fprintf(w, "with its log: revision %d, by %d entries more; those at the end may never have been acknowledged\n", r.Revision, r.Uncertain)
	}
	if r.Damaged > 0 {
		fmt.Fprintf(w, "damaged:      entry %d: it and those after it are lost\n", r.Damaged)
	}
	if r.MembersLost > 0 {
		fmt.Fprintf(w, "beware:       the list of members may be old: entry %d, a later one, cannot be read\n", r.MembersLost)
	}
	if !r.Voter && len(r.Members) > 0 {
		fmt.Fprintf(w, "beware:       %s was no voter: it may be far behind those that were\n", r.Node)
	}
	if others := slices.DeleteFunc(slices.Clone(r.Members), func(id string) bool { return id == r.Node }); len(others) > 0 {
		fmt.Fprintf(w, "may be lost:  writes that were acknowledged after entry %d, by %s without this node\n", r.whole, strings.Join(others, " and "))
	}
	fmt.Fprintf(w, "then:         a new cluster with %s alone, which the other folders can never join again\n", r.Node)
}

// carryOut does what was planned, or goes on with it.
func carryOut(folder *datafolder.Folder, state *store.Store, plan datafolder.Succession) (datafolder.Succession, error) {
	plan, err := folder.Plan(plan)
	if err != nil {
		return plan, err
	}
	if state.Applied().Index+1 < plan.Index { // else the log is not needed, nor perhaps to be read
		if err := replay(folder, state, plan.Index-1); err != nil {
			return plan, err
		}
	}
	return succeed(folder, state, plan)
}

// succeed makes the folder the new cluster's.
func succeed(folder *datafolder.Folder, state *store.Store, plan datafolder.Succession) (datafolder.Succession, error) {
	now := state.Moment()
	if now.ID.Index == plan.Index { // it was broken off after this
		now.Revision -= plan.Skip
	}
	if err := folder.Succeed(datafolder.Legacy{Heir: state, Revision: now.Revision, Time: now.Time, OpenLog: openLog}); err != nil {
		return plan, err
	}
	all := folder.Successions()
	return all[len(all)-1], nil
}

func replay(folder *datafolder.Folder, state *store.Store, to rpc.Index) error {
	log, err := openLog(folder.Path("wal"))
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	return errors.Join(datafolder.Replay(log, to, state), log.Close())
}

func (f *recoverFlags) say(w io.Writer, done *datafolder.Succession) error {
	if f.json {
		return json.NewEncoder(w).Encode(done)
	}
	_, err := fmt.Fprintf(w, "recovered revision %d (certainly committed: %d): cluster %s, whose only member is %s, goes on after revision %d\n"+
		"start it:         raftbus node --id %s --members %s --dir %s ..., with its --nats and --auth-dir, once no node of the old cluster runs\nand the others:   raftbus node --id ID --join --dir DIR ..., with empty folders, then raftbus member add ID ID\nold log:          %s\n",
		done.Revision, done.Certain, done.Cluster, *f.id, done.Revision+done.Skip, *f.id, *f.id, *f.dir, whereOld(*f.dir, done.OldLog))
	return err
}

func whereOld(dir, log string) string {
	if log == "" {
		return "there was none"
	}
	return filepath.Join(dir, log) + ", for as long as you want it"
}
