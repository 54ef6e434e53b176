package folder

// Succession: one data folder goes on as the only voter of a new cluster, with the state it holds, when the old cluster has lost its quorum for
// good, or the state comes from a backup. It is another cluster and not the old one with fewer members: it has a new id, the folder a new
// instance, and the log begins anew, in a later term. So who belonged to the old one, and may come back with a majority of it, refuses this
// node and is refused by it, whatever either says (D3, F14, F23, I12); nobody can be made to count in both.
//
// What is about to be done is written into the identity first, and a folder with that in it does not start: a crash anywhere leaves one that
// must be given the same command again, which goes on from there. The old log is set aside, never deleted (D4).

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

// Succession is one of them, as the identity keeps it for ever: it is the trace that an operator finds later.
type Succession struct {
	Kind     string    `json:"kind"` // recover, restore
	At       time.Time `json:"at"`
	Old      string    `json:"old_cluster"` // its id; of a backup, that which it was taken of
	Cluster  string    `json:"cluster"`
	Instance string    `json:"instance"` // the folder's, from then on
	Members  []string  `json:"old_members,omitempty"`
	// Term and Index are those of the entry that the new log begins after. The one before it is the last of the old.
	Term  rpc.Term  `json:"term"`
	Index rpc.Index `json:"index"`
	// Certain is the revision up to which the old cluster had certainly committed what is here; above it, up to Revision, is what the log
	// held besides. Skip is how many revisions are left out after that.
	Certain  uint64 `json:"certain_revision"`
	Revision uint64 `json:"revision"`
	Skip     uint64 `json:"skip"`
	OldLog   string `json:"old_log,omitempty"` // where in the folder the old log is, if there was one
}

// Kinds of successions.
const (
	Recovered = "recover"
	Restored  = "restore"
)

// successionsMax bounds what the identity keeps of them.
const successionsMax = 16

// Heir is a state machine that can go on in another cluster.
type Heir interface {
	Apply(entries []rpc.Entry) ([]any, error)
	Applied() rpc.EntryID
	// Succeed makes at, which follows the last entry applied, the last one, durably, and leaves out so many revisions.
	Succeed(at rpc.EntryID, skip uint64) error
}

// ErrUnfinished: the folder is in the middle of a succession.
var ErrUnfinished = errors.New("the data folder is half made")

// unfinished refuses to start a folder in the middle of a succession.
func (i *identity) unfinished() error {
	switch s := i.Unfinished; {
	case s == nil:
		return nil
	case s.Kind == Recovered:
		return fmt.Errorf("%w: 'raftbus recover' was begun in it and broken off: give the same command again", ErrUnfinished)
	}
	return fmt.Errorf("%w: 'raftbus restore' was begun in it and broken off: delete the folder, and give the same command again", ErrUnfinished)
}

// Peek says whose folder it is, without taking hold of it or changing anything.
func Peek(fs vfs.FS, dir string) (id rpc.NodeID, instance string, history []Succession, err error) {
	ident, err := (&Folder{Dir: dir, fs: fs}).read()
	if err != nil {
		return "", "", nil, err
	}
	return rpc.NodeID(ident.Node), ident.Instance, ident.Successions, nil
}

// OpenToSucceed is Open for Succeed: it takes a folder also in the middle of one.
func OpenToSucceed(fs vfs.FS, dir string, id rpc.NodeID) (*Folder, error) {
	return open(&Folder{Dir: dir, fs: fs, random: rand.Reader, succeeds: true}, id)
}

// Successions are those that were, the latest last.
func (f *Folder) Successions() []Succession { return f.ident.Successions }

// Unfinished is the succession that was begun and broken off; nil: none was.
func (f *Folder) Unfinished() *Succession { return f.ident.Unfinished }

// Remains is what a folder's log still has, for who must decide what to do with it.
type Remains struct {
	Cluster rpc.ClusterID
	Conf    rpc.Configuration // in force
	Lost    rpc.Index         // of a later configuration, that was applied and cannot be read; 0: there is none
	Term    rpc.Term          // the latest that the node knew
	Last    rpc.EntryID
	Time    int64       // of the last entry
	Whole   rpc.Index   // the last entry that can be applied
	Damaged rpc.EntryID // the one after it, if its payload is lost; zero: there is none
}

// Remaining reads what the folder's log has, for a state machine that has applied so much, which is to be of its history. The log stays as it is.
func (f *Folder) Remaining(log *wal.Log, applied rpc.EntryID) (r Remains, err error) {
	if err := f.installed(); err != nil {
		return r, err
	}
	state := log.State(Group)
	if !state.HasBase {
		return r, errors.New("its log never began: the node had no part in a cluster, so there is nothing to recover; delete the folder")
	}
	if !Holds(&state, applied) { // not by the index alone, as at a start (I5)
		return r, f.strange(&state, applied)
	}
	base, err := DecodeBase(&state.Base)
	if err != nil {
		return r, err
	}
	r = Remains{Cluster: base.Configuration.ClusterID(), Conf: base.Configuration, Term: max(state.HardState.Term, state.Last.Term), Last: state.Last, Whole: state.Last.Index}
	if n := slices.IndexFunc(state.Damaged, func(id rpc.EntryID) bool { return id.Index > applied.Index }); n >= 0 {
		r.Damaged = state.Damaged[n]
		r.Whole = r.Damaged.Index - 1
	}
	for _, i := range state.Configurations {
		if i > r.Whole {
			break
		}
		entries, err := log.Entries(Group, i, i+1, 1)
		if err == nil && len(entries) == 1 {
			r.Conf, err = rpc.DecodeConfiguration(entries[0].Data)
			r.Lost = 0
		}
		var damage *wal.CorruptError
		switch {
		case i <= applied.Index && errors.As(err, &damage): // the state needs it no more, and the new cluster has members of its own
			r.Lost = i
		case err != nil:
			return r, fmt.Errorf("the configuration in the log's entry %d: %w", i, err)
		}
	}
	r.Time, err = TimeOf(log, state.Last)
	return r, err
}

// strange refuses a state that is not of the log's history: entries of one do not go on from a state of another.
func (f *Folder) strange(log *wal.State, applied rpc.EntryID) error {
	return fmt.Errorf("the state is of entry %v, which the log, of entries %d to %d, does not hold: they do not belong together; put back the ones that do, or restore a backup; "+
		"or, to go on with that state alone, move %s to another place, and give --without-log", applied, log.Base.ID.Index+1, log.Last.Index, f.Path("wal"))
}

// installed refuses a state that is not the latest which the folder has.
func (f *Folder) installed() error {
	if f.Snapshots().Exists(snapfile.Complete) {
		return errors.New("a snapshot was received and is not installed: start the node once, which installs it without asking anybody, stop it, and give the command again")
	}
	return nil
}

// termsUnread bounds how many terms there are in what cannot be read of a log any more. It is far more than there can be elections while a state is not
// flushed, and costs nothing.
const termsUnread = 1 << 20

// RemainingWithoutLog is Remaining where the log is damaged in more than entries, or gone: what the state machine has applied, and no more. Of the log counts what can be
// read of who the members were, and of terms, so that the next one is later (D3).
func (f *Folder) RemainingWithoutLog(applied rpc.EntryID) (r Remains, err error) {
	if f.installed() != nil { // a start, which would install it, needs the log
		return r, fmt.Errorf("a snapshot was received and is not installed, which it cannot be without the log: restore a backup (raftbus restore); "+
			"or, to go on with the state, which is older than the snapshot, move %s to another place, and give the command again", f.Path("snapshot"))
	}
	r = Remains{Term: applied.Term, Last: applied, Whole: applied.Index, Damaged: rpc.EntryID{Index: applied.Index + 1}}
	in, err := wal.Inspect(f.fs, f.Path("wal"), func(record *wal.Record) error {
		r.Term = max(r.Term, record.ID.Term)
		return nil
	})
	if damage := wal.Unreadable(nil); err != nil && !errors.As(err, &damage) && !gone(err) {
		return r, err
	}
	r.Term += termsUnread
	state := in.Groups[Group]
	switch {
	case !state.HasBase && applied.Index == 0:
		return r, errors.New("the state is empty, so there is nothing to recover: put back the one that was there")
	case !state.HasBase:
		return r, nil
	case applied.Index < state.Base.ID.Index, applied.Index == state.Base.ID.Index && applied != state.Base.ID: // of what it held after that, the end may be what cannot be read
		return r, f.strange(&state, applied)
	}
	base, err := DecodeBase(&state.Base)
	r.Cluster, r.Conf = base.Configuration.ClusterID(), base.Configuration
	if n := len(state.Configurations); n > 0 {
		r.Lost = state.Configurations[n-1]
	}
	return r, err
}

// gone reports whether there is no log to read, nor perhaps a folder of one.
func gone(err error) bool { return errors.Is(err, wal.ErrNoLog) || errors.Is(err, os.ErrNotExist) }

// After is the entry that a new log begins after: it follows the last one here, in a term that nobody was in who was heard of.
func After(last rpc.Index, term rpc.Term) rpc.EntryID {
	return rpc.EntryID{Index: last + 1, Term: term + 1}
}

// Plan makes the succession known, durably: from now on the folder starts no node until it is done. It fills in the new identities. One that
// was begun is returned as it was planned.
func (f *Folder) Plan(s Succession) (Succession, error) {
	if f.ident.Unfinished != nil {
		return *f.ident.Unfinished, nil
	}
	var instance rpc.InstanceID
	if _, err := io.ReadFull(f.random, instance[:]); err != nil {
		return s, err
	}
	self := rpc.Member{ID: rpc.NodeID(f.ident.Node), Instance: instance}
	s.Instance, s.Cluster = instance.String(), rpc.ClusterIDOf([]rpc.Member{self}).String()
	if s.Kind == Recovered {
		s.OldLog = fmt.Sprintf("wal.before-%s", s.Cluster[:8])
	}
	f.ident.Unfinished = &s
	return s, f.write(&f.ident)
}

// Replay applies to a state machine what the log holds beyond it, up to an entry.
func Replay(log *wal.Log, to rpc.Index, heir Heir) error {
	for heir.Applied().Index < to {
		entries, err := log.Entries(Group, heir.Applied().Index+1, to+1, 1<<20)
		if err == nil && len(entries) == 0 {
			err = fmt.Errorf("the log ends before entry %d", to)
		}
		if err == nil {
			err = rpc.Understood(entries)
		}
		if err == nil {
			_, err = heir.Apply(entries)
		}
		if err != nil {
			return fmt.Errorf("apply what the log holds after entry %v: %w", heir.Applied(), err)
		}
	}
	return nil
}

// Legacy is what a new cluster goes on with.
type Legacy struct {
	Heir     Heir   // has applied all entries before the one that the new log begins after, or has succeeded already
	Revision uint64 // that it then had
	Time     int64  // of the log
	OpenLog  func(dir string) (*wal.Log, error)
}

// Succeed carries out what was planned: the state machine goes on, the old log is set aside, the new one begins, and the folder is that of the
// new cluster. Nothing else uses folder, log or state meanwhile.
func (f *Folder) Succeed(l Legacy) error {
	s := f.ident.Unfinished
	if s == nil {
		return errors.New("nothing is planned")
	}
	at := rpc.EntryID{Term: s.Term, Index: s.Index}
	if l.Heir.Applied() != at {
		if err := l.Heir.Succeed(at, s.Skip); err != nil {
			return err
		}
	}
	s.Revision = l.Revision
	if err := f.setAside(at, s.OldLog, &l); err != nil {
		return fmt.Errorf("set the old log aside: %w", err)
	}
	if err := f.beginLog(at, &l); err != nil {
		return fmt.Errorf("begin the new log: %w", err)
	}
	return f.finish()
}

// setAside gives the old log another name, if it is still in the new one's place. Two names of it, which some file systems leave after a crash, do
// no harm.
func (f *Folder) setAside(at rpc.EntryID, name string, l *Legacy) error {
	if _, err := f.fs.Stat(f.Path("wal")); name == "" || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if begun, err := f.newBegun(at, l); err != nil || begun {
		return err
	}
	name, err := f.free(name)
	if err != nil {
		return err
	}
	if err := f.fs.Rename(f.Path("wal"), f.Path(name)); err != nil {
		return err
	}
	return wal.SyncDir(f.fs, f.Dir)
}

// newBegun reports whether the log is the new one. One that cannot be read is the old one: the state does not need it any more.
func (f *Folder) newBegun(at rpc.EntryID, l *Legacy) (bool, error) {
	log, err := l.OpenLog(f.Path("wal"))
	if damage := wal.Unreadable(nil); errors.As(err, &damage) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	state := log.State(Group)
	return !state.HasBase || state.Base.ID == at, log.Close()
}

// free is a name that nothing in the folder has, like one that is wanted.
func (f *Folder) free(name string) (string, error) {
	for {
		switch _, err := f.fs.Stat(f.Path(name)); {
		case errors.Is(err, os.ErrNotExist):
			return name, nil
		case err != nil:
			return "", err
		}
		name += "+"
	}
}

// beginLog makes the log of the new cluster, whose only voter is this folder.
func (f *Folder) beginLog(at rpc.EntryID, l *Legacy) error {
	log, err := l.OpenLog(f.Path("wal"))
	if err != nil {
		return err
	}
	if !log.State(Group).HasBase {
		self, cluster, err := f.successor()
		if err != nil {
			return errors.Join(err, log.Close())
		}
		base := raft.Base{ID: at, Time: l.Time, Configuration: rpc.Configuration{Cluster: cluster, Index: at.Index, Voters: []rpc.Member{self}}}
		err = log.Append(wal.Batch{Group: Group, Base: &wal.Base{ID: at, Configuration: EncodeBase(&base)}, HardState: &rpc.HardState{Term: at.Term}})
		if err != nil {
			return errors.Join(err, log.Close())
		}
	}
	return log.Close()
}

// successor is this node in its new cluster.
func (f *Folder) successor() (self rpc.Member, cluster rpc.ClusterID, err error) {
	s := f.ident.Unfinished
	self.ID = rpc.NodeID(f.ident.Node)
	if self.Instance, err = rpc.ParseInstance(s.Instance); err != nil {
		return self, cluster, fmt.Errorf("the identity's instance %q is damaged", s.Instance)
	}
	return self, rpc.ClusterIDOf([]rpc.Member{self}), nil
}

// finish makes the folder the new cluster's, and keeps the trace.
func (f *Folder) finish() error {
	self, _, err := f.successor()
	if err != nil {
		return err
	}
	next := f.ident
	next.Instance, next.Begun, next.Unfinished = self.Instance.String(), true, nil
	done := *f.ident.Unfinished
	if _, err := f.fs.Stat(f.Path(done.OldLog)); errors.Is(err, os.ErrNotExist) { // there was none
		done.OldLog = ""
	}
	next.Successions = append(slices.Clone(next.Successions[max(0, len(next.Successions)-successionsMax+1):]), done)
	if err := f.write(&next); err != nil {
		return err
	}
	f.ident, f.Instance = next, self.Instance
	return nil
}
