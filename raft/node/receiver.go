package node

// Receiving a snapshot (thesis 5): chunks of one transfer are stored in order in snapshot/incoming. The whole is verified, synced
// and renamed to snapshot/complete before the core hears of it; the old state stays until the state machine has replaced it by
// itself (F29). All of it happens off the loop; each chunk has passed the core, which holds it against the term.
//
// What is found damaged is renamed to snapshot/suspect, never deleted (D4). There is one of those at most.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

// snapDir is the place of a node's snapshots.
type snapDir struct {
	*snapfile.Dir
	restored atomic.Uint64 // how much of snapshots the state machine has read, of all together; 0 where nobody counts
}

// receiver is the step machine. What is not guarded by mu belongs to whoever calls step.
type receiver struct {
	*snapDir
	bell
	inbox  *inbox
	answer func(rpc.Message)
	logger *slog.Logger

	mu      sync.Mutex
	waiting []rpc.Message
	held    bool      // snapshot/complete is not to be replaced: the core decides about it, or the state machine reads it
	over    bool      // it is not needed any more: remove it
	staged  rpc.Index // of the snapshot that snapshot/incoming is of; 0: there is none
	reached rpc.Index // what is committed here

	keepFree func() int64 // bytes of the disk that the log leaves free, and so does a snapshot that is received

	looked  bool // for what an earlier life left
	stage   *snapfile.Stage
	roomy   uint64        // of the stage: up to there no look at the disk is due
	last    snapfile.Head // of the transfer that was begun last
	crowded snapfile.Head // of the transfer that too many open files were told of
	size    uint64        // of the last transfer that is whole, in bytes

	scarce   uint64        // bytes of the disk that are to be free before another transfer begins, since the last one found too few; 0: it did not
	refused  snapfile.Head // the last transfer that was not begun for that
	refusals int           // how many were not, one after another
}

// chunksWaitMax bounds the chunks that wait for the disk: two windows. Beyond it they are dropped; their sender goes on from
// what is stored.
const chunksWaitMax = 2 * windowChunks

func newReceiver(n *Node) *receiver {
	r := &receiver{snapDir: n.snaps, inbox: n.inbox, answer: n.send.send, logger: n.logger, bell: newBell(), keepFree: n.o.Log.KeepFree}
	r.staged = r.found()
	return r
}

// found is the index of the snapshot that an earlier life of this node was receiving; 0: of none. Only the file's head is read. One without a head is of no
// use, and as old as can be.
func (r *receiver) found() rpc.Index {
	file, err := r.FS.Open(r.Path(snapfile.Incoming))
	if err != nil {
		return 0 // where there is one all the same, the next chunk finds it
	}
	defer file.Close()
	head, _, err := snapfile.ReadHead(file)
	if errors.Is(err, snapfile.ErrDamaged) {
		return 1
	}
	return head.Snapshot.Index
}

// submit takes a chunk.
func (r *receiver) submit(m rpc.Message) {
	r.mu.Lock()
	if len(r.waiting) < chunksWaitMax {
		r.waiting = append(r.waiting, m)
	}
	r.mu.Unlock()
	r.ring()
}

func (r *receiver) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0 || r.over || r.passed()
}

// pass tells what is committed here: a snapshot up to there brings nothing, and no chunk of one comes here any more.
func (r *receiver) pass(commit rpc.Index) {
	r.mu.Lock()
	r.reached = commit
	passed := r.passed()
	r.mu.Unlock()
	if passed {
		r.ring()
	}
}

// passed reports whether what is received is of no use any more. r.mu is held.
func (r *receiver) passed() bool { return r.staged > 0 && r.staged <= r.reached }

func (r *receiver) stages(i rpc.Index) {
	r.mu.Lock()
	r.staged = i
	r.mu.Unlock()
}

func (r *receiver) isHeld() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

func (r *receiver) hold(held bool) {
	r.mu.Lock()
	r.held, r.over = held, false
	r.mu.Unlock()
}

// release lets go of the snapshot that is whole: it has become the state, or the core does not want it.
func (r *receiver) release() {
	r.mu.Lock()
	r.over = r.held
	r.mu.Unlock()
	r.ring()
}

// step stores all chunks that wait, and answers them. It reports whether there was anything to do. An error is fatal.
func (r *receiver) step() (bool, error) {
	r.mu.Lock()
	list, over, passed := r.waiting, r.over, r.passed()
	r.waiting = nil
	r.mu.Unlock()
	if over {
		if err := r.Remove(snapfile.Complete); err != nil {
			return true, err
		}
		r.hold(false)
	}
	if passed {
		if r.stage != nil {
			r.drop()
			r.last.Transfer-- // the same transfer may begin anew
		}
		r.stages(0)
		if err := r.Remove(snapfile.Incoming); err != nil {
			return true, err
		}
	}
	for _, m := range list {
		if err := r.take(m, m.Body.(*rpc.InstallSnapshotCommand)); err != nil {
			return true, err
		}
	}
	return over || passed || len(list) > 0, nil
}

// take stores one chunk, or says how much is stored. A disk that is full, or fails, loses this transfer: the state is elsewhere.
func (r *receiver) take(m rpc.Message, c *rpc.InstallSnapshotCommand) error {
	head := snapfile.Head{From: m.From, Term: m.Term, Transfer: c.Transfer, Snapshot: c.Snapshot}
	if ready, err := r.ready(head); !ready {
		return err
	}
	switch {
	case head.Before(r.last):
		return nil // of a transfer that another has followed
	case head == r.last && r.stage == nil:
		r.say(m, c, r.size) // whole already, and maybe being installed
		return nil
	case head != r.last && r.refuses(head):
		return nil
	case head != r.last:
		if c.Offset > 0 {
			r.say(m, c, 0) // its beginning was not seen: it begins no transfer (K30)
			return nil
		}
		if err := r.begin(head); err != nil {
			return r.lose(err)
		}
	}
	whole, err := r.store(c)
	switch {
	case errors.Is(err, snapfile.ErrDamaged):
		r.logger.Error("a snapshot was not received as it was sent: set aside, it is sent again", "from", m.From, "snapshot", c.Snapshot.String(), "err", err)
		err = r.setAside()
	case err != nil:
		err = r.lose(err)
	case whole:
		return r.finished(m, c)
	}
	if err == nil {
		r.say(m, c, r.stored())
	}
	return err
}

// ready has what an earlier life had received looked for; false if this chunk is not to be taken now.
func (r *receiver) ready(head snapfile.Head) (bool, error) {
	err := r.look(head)
	switch {
	case wal.TooManyFiles(err):
		if r.crowded != head { // each chunk is sent again and again
			r.logger.Error("no part of a snapshot can be received: too many files are open: allow more; it is sent again", "err", err)
		}
		r.crowded = head
		return false, nil // what an earlier life had stays
	case wal.IsFull(err):
		return false, r.lose(err) // nothing rests on the folder yet
	}
	return err == nil, err
}

// look finds, once, what an earlier life of this node had received: of the transfer that a chunk came of. What it had of another is of no use, and not read:
// the state may be large, and who sends waits for an answer (L7).
func (r *receiver) look(head snapfile.Head) error {
	if r.looked {
		return nil
	}
	if err := wal.MakeDir(r.FS, r.Root); err != nil {
		return err
	}
	stage, err := snapfile.Resume(r.FS, r.Path(snapfile.Incoming), head)
	if wal.TooManyFiles(err) {
		return err
	}
	r.looked = true
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return r.Remove(snapfile.Incoming) // it was never whole
	}
	r.stage, r.last = stage, stage.Head
	r.stages(stage.Head.Snapshot.Index)
	return nil
}

// refusalsMax is how many transfers are refused before one is tried all the same: the state may have become smaller than what there was no room for.
const refusalsMax = 16

// refuses reports whether a transfer is not begun, since the disk has no more free than the last one found to be too little: half of the state would be
// received and deleted again, and again, without a pause (F21, L7). Its sender hears nothing, and gives up after a while.
func (r *receiver) refuses(head snapfile.Head) bool {
	usage, err := r.FS.GetDiskUsage(r.Root)
	if r.scarce == 0 || err != nil || usage.AvailBytes+r.stored() >= r.scarce {
		return false
	}
	if head != r.refused {
		r.refused, r.refusals = head, r.refusals+1
	}
	return r.refusals < refusalsMax
}

func (r *receiver) begin(head snapfile.Head) error {
	r.drop()
	r.roomy = 0
	r.last = head
	r.stages(head.Snapshot.Index)
	stage, err := snapfile.Create(r.FS, r.Path(snapfile.Incoming), head)
	if err == nil {
		r.stage = stage
		r.logger.Info("receiving a snapshot", "from", head.From, "snapshot", head.Snapshot.String())
	}
	return err
}

// store adds a chunk if it follows what is stored. It reports whether the snapshot is whole and durable now.
func (r *receiver) store(c *rpc.InstallSnapshotCommand) (whole bool, err error) {
	end := c.Offset + uint64(len(c.Data))
	if uint64(crc32.Checksum(c.Data, castagnoli)) != c.Sum || len(c.Data) > snapfile.ChunkBytesMax {
		return false, nil // damaged on its way
	}
	if c.Final && (c.Configuration == nil || r.isHeld()) {
		return false, nil // the one before is being installed (K31)
	}
	if c.Offset == r.stage.Next && len(c.Data) > 0 {
		if err := r.room(); err != nil {
			return false, err
		}
		if err := r.stage.Add(c.Data); err != nil {
			return false, err
		}
	}
	if !c.Final || end != r.stage.Next {
		return false, nil
	}
	r.roomy = 0
	if err := r.room(); err != nil { // from here on it is installed, at each start too, until that is done
		return false, err
	}
	return true, r.stage.Finish(c.Digest, c.Configuration)
}

// roomEvery is how much of a stream is stored between two looks at what the disk has free.
const roomEvery = 1 << 20

var errNoRoom = errors.New("no room for a snapshot")

// room refuses what would take the room that the log and the state machine need to go on: both end the node once the disk is full, and
// nobody would remove what was received (F21). To install what was received takes as much again, while the state that it replaces is still there.
func (r *receiver) room() error {
	if r.stage.Next < r.roomy {
		return nil
	}
	usage, err := r.FS.GetDiskUsage(r.Root)
	if keep := uint64(max(r.keepFree(), 0)) + r.stage.Next; err == nil && usage.AvailBytes < keep {
		return fmt.Errorf("%w: %d MiB of the disk are free, and %d are to be left, also to install what was received: make room", errNoRoom, usage.AvailBytes>>20, keep>>20)
	}
	r.roomy = r.stage.Next + roomEvery // what cannot be told is found out by writing
	return nil
}

// finished gives the whole snapshot its name, and tells the core.
func (r *receiver) finished(m rpc.Message, c *rpc.InstallSnapshotCommand) error {
	time := r.stage.Time
	r.size, r.stage = r.stage.Next, nil
	r.stages(0)
	r.scarce = 0
	if err := r.Move(snapfile.Incoming, snapfile.Complete); wal.TooManyFiles(err) {
		return r.lose(err)
	} else if err != nil {
		return fmt.Errorf("keep a received snapshot: %w", err)
	}
	r.hold(true)
	r.logger.Info("snapshot received", "from", m.From, "snapshot", c.Snapshot.String(), "bytes", r.size)
	r.inbox.completed(raft.SnapshotStored{From: m.From, Call: m.Call, Transfer: c.Transfer, Snapshot: c.Snapshot, Time: time, Configuration: *c.Configuration})
	return nil
}

// say answers a chunk with how much of its transfer is stored, and that the state machine gets on: also with an earlier transfer, for which this one waits.
func (r *receiver) say(m rpc.Message, c *rpc.InstallSnapshotCommand, next uint64) {
	body := &rpc.InstallSnapshotReturn{Snapshot: c.Snapshot, Transfer: c.Transfer, Next: next, Restored: r.restored.Load()}
	r.answer(rpc.Message{From: m.To, To: m.From, Term: m.Term, Call: m.Call, Body: body})
}

func (r *receiver) stored() uint64 {
	if r.stage == nil {
		return 0
	}
	return r.stage.Next
}

// lose gives up a transfer that the disk has no room for, or cannot take. Nothing else rests on it. What was written is no
// evidence of anything, so it is deleted: a full disk needs the room.
func (r *receiver) lose(cause error) error {
	r.logger.Error("a snapshot could not be received: the transfer is given up, it is sent again later", "err", cause)
	if errors.Is(cause, errNoRoom) || wal.IsFull(cause) { // it got so far, and was to be stored and installed
		need := uint64(max(r.keepFree(), 0)) + 2*r.stored()
		r.scarce, r.refused, r.refusals = need+need/8, r.last, 0
	}
	r.drop()
	r.last.Transfer-- // the same transfer may begin anew
	return r.Remove(snapfile.Incoming)
}

// drop lets go of the transfer under way.
func (r *receiver) drop() {
	if r.stage != nil {
		_ = r.stage.Close() // it is given up
		r.stage = nil
	}
}

// setAside keeps what is wrong for whoever wants to know why. Where too many files are open the next transfer takes its place.
func (r *receiver) setAside() error {
	r.drop()
	r.last.Transfer--
	if err := r.Move(snapfile.Incoming, snapfile.Suspect); !wal.TooManyFiles(err) {
		return err
	}
	return nil
}

// end lets go of the file. On the next start the transfer may go on.
func (r *receiver) end() { r.drop() }

// run is the receiver's goroutine.
func (r *receiver) run(stop <-chan struct{}) error {
	defer r.end()
	return r.attend(stop, r.step)
}
