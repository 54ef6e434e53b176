package node

// What a start makes of a snapshot that was received before it.

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

// finishInstall ends an installation that a crash cut short, before consensus starts. A snapshot that is whole holds committed
// state, so it may always be installed if the state is older: first the state machine has it, then the log begins after it, then
// the file goes. Wherever a crash falls, the next start comes here again, with the old state or the new, never a mix (F29). One that there is no
// room for goes too, or no start would ever succeed. With the node's stop it ends, before anything is changed.
func (n *Node) finishInstall(state wal.State) (wal.State, error) {
	if !n.snaps.Exists(snapfile.Complete) {
		return state, nil
	}
	base, err := n.snaps.Verify(n.reading)
	if errors.Is(err, ErrStopped) || wal.TooManyFiles(err) { // which says nothing of the file
		return state, fmt.Errorf("read snapshot %s, which was received before the node stopped: %w", n.snaps.Path(snapfile.Complete), err)
	}
	if err != nil {
		return state, n.doWithout(&state, err)
	}
	id := base.ID
	applied := n.o.Machine.Applied()
	if id.Index > state.Base.ID.Index && !(folder.Holds(&state, id) && applied.Index >= id.Index) {
		if applied.Index >= id.Index && applied != id {
			return state, fmt.Errorf("the state machine has applied %v, and the log does not hold %v, which %s is of: parts of two folders were mixed; put back the ones that belong together", applied, id, n.snaps.Path(snapfile.Complete))
		}
		err := n.reinstall(state, base)
		if wal.IsFull(err) && n.o.Machine.Applied().Index < id.Index { // the state is as it was, and so is the log (F21)
			n.logger.Error("the disk has no room to install a received snapshot: it is given up, the leader sends another once there is: make room", "snapshot", id.String(), "err", err)
			return state, n.snaps.Remove(snapfile.Complete)
		}
		if err != nil {
			return state, fmt.Errorf("install snapshot %v, which was received before the node stopped: %w", id, err)
		}
		n.logger.Info("state replaced by a snapshot that was received before the node stopped", "snapshot", id.String())
	}
	return n.o.Log.State(onlyGroup), n.snaps.Remove(snapfile.Complete)
}

// doWithout sets a received snapshot aside that is damaged, or that the disk does not give any more: the leader sends another. Where the state is the
// snapshot's already, and the log not, nothing but that file says how the log goes on: it stays.
func (n *Node) doWithout(state *wal.State, cause error) error {
	if applied := n.o.Machine.Applied(); !folder.Holds(state, applied) {
		return fmt.Errorf("the state machine has applied %v, which the log does not hold, and the received snapshot %s, after which the log was to go on, cannot be read: put that file back, or %s: %w",
			applied, n.snaps.Path(snapfile.Complete), folder.Anew(n.id()), cause)
	}
	n.logger.Error("a received snapshot is damaged, or cannot be read: set aside, the leader sends another", "file", n.snaps.Path(snapfile.Suspect), "err", cause)
	if err := n.snaps.Move(snapfile.Complete, snapfile.Suspect); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil // a failing disk does not even say that there is none
}

// reinstall puts a snapshot in the place of the state, unless it is there, and of the log up to it. A term of which the log does not
// know yet is durable with it: whoever sent the snapshot led in it, or in a later one.
func (n *Node) reinstall(state wal.State, base raft.Base) error {
	id := base.ID
	if n.o.Machine.Applied().Index < id.Index {
		if err := wal.SyncDir(n.snaps.FS, n.snaps.Root); err != nil { // the name may be one that a killed process did not get to sync, and it is needed until the log has the base (K54)
			return err
		}
		r, file, err := n.snaps.Open()
		if err != nil {
			return err
		}
		if err := errors.Join(restore(n.o.Machine, r, n.reading(r)), file.Close()); err != nil {
			return err
		}
	}
	b := wal.Batch{Group: onlyGroup, Base: &wal.Base{ID: id, Configuration: folder.EncodeBase(&base)}}
	if state.HardState.Term < id.Term {
		b.HardState = &rpc.HardState{Term: id.Term}
	}
	return n.o.Log.Append(b)
}

// reading is a reader of what a start reads that may take minutes: it ends once the node stops, and says that it goes on.
func (n *Node) reading(r io.Reader) io.Reader {
	if n.o.Reading == nil {
		return stopReader{r, n.stop}
	}
	return toldReader{stopReader{r, n.stop}, n.o.Reading}
}

// toldReader is a reader that tells of all that it has read.
type toldReader struct {
	io.Reader
	tell func()
}

func (r toldReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.tell()
	}
	return n, err
}
