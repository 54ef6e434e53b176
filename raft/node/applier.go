package node

// The applier hands committed entries to the state machine and answers whoever proposed them. The core gives it one run at
// a time, of entries that are durable in this node's own log; or a snapshot, to be put in the place of the state.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

type applier struct {
	log      *wal.Log
	machine  StateMachine
	waiters  *waiters
	report   func(e raft.Event, more bool) bool // brings an event to the loop, and reports whether the spot is to act after the step
	settled  []func()                           // called after the answers to a run
	bytesMax int
	snaps    *snapDir
	rest     func(time.Duration) // between steps of installing a snapshot; nil: there is no other work
	stop     <-chan struct{}     // ends the installing of a snapshot
	vain     bool                // the last step only found too many files open
	since    time.Time           // when the run that is next was first tried in vain; zero: it was not
	logger   *slog.Logger        // is told of that

	mu    sync.Mutex
	queue []applyWork // one run, and one snapshot after it, at most: the core hands out no more

	spot *spot
}

// applyWork is one of the two.
type applyWork struct {
	run     raft.Apply
	install raft.Install
}

// applyWorkMax: the core hands out one run, and one snapshot after it.
const applyWorkMax = 2

// submit queues work, and has it done by the goroutine unless who submits it sees to that.
func (a *applier) submit(w applyWork, ring bool) {
	a.mu.Lock()
	a.queue = append(a.queue, w)
	a.mu.Unlock()
	if ring {
		a.spot.ring()
	}
}

// waiting is how much work is queued.
func (a *applier) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue)
}

// take takes what is next, if it is fit.
func (a *applier) take(fit func(applyWork) bool) (w applyWork, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 || !fit(a.queue[0]) {
		return w, false
	}
	w = a.queue[0]
	a.queue = slices.Delete(a.queue, 0, 1)
	return w, true
}

func anyWork(applyWork) bool      { return true }
func littleWork(w applyWork) bool { return littleRun(w.run) }

// onSpot does a step on the caller's goroutine if it can be done now, and else leaves it to the applier's.
func (a *applier) onSpot() error { return a.spot.attempt(a.littleStep) }

// littleStep does what is next if that is little: the run that was left for the spot may be done by now, and a snapshot come after it.
func (a *applier) littleStep() (bool, error) {
	w, ok := a.take(littleWork)
	if !ok {
		a.spot.ring()
		return false, nil
	}
	return true, a.do(w)
}

// step applies one run or installs a snapshot, and tells the loop. It reports whether there was anything.
func (a *applier) step() (bool, error) {
	w, ok := a.take(anyWork)
	if !ok {
		return false, nil
	}
	err := a.do(w)
	if a.vain && a.rest != nil {
		a.rest(againAfter)
	}
	return true, err
}

func (a *applier) do(w applyWork) error {
	a.vain = false
	if w.install.Snapshot.Index > 0 {
		return a.install(w.install)
	}
	reached, err := a.apply(w.run)
	if errors.Is(err, ErrNotApplied) && wal.TooManyFiles(err) && a.patient(err) {
		a.again(w)
		return nil
	}
	if err == nil && !a.since.IsZero() {
		a.logger.Info("entries are applied again", "seconds", time.Since(a.since).Seconds())
	}
	a.since = time.Time{}
	if err == nil {
		a.spot.acts = a.report(raft.ApplyDone{Index: reached}, false)
	}
	return err
}

// patient reports whether what is to be applied may still find too many files open: for as long as a flush may.
func (a *applier) patient(err error) bool {
	if a.since.IsZero() {
		a.since = time.Now()
		a.logger.Warn("entries wait to be applied, and writes and reads with them: too many files are open: raise the limit of open files (LimitNOFILE); if it stays so the node ends after a minute", "err", err)
	}
	return time.Since(a.since) < filesPatience
}

// install puts a snapshot that was received in the place of the state. Whoever waits for an entry that it includes is not answered:
// what became of that is in the state, but not what it said.
func (a *applier) install(i raft.Install) error {
	r, file, err := a.snaps.Open()
	if wal.TooManyFiles(err) {
		a.again(applyWork{install: i})
		return nil
	}
	if err != nil {
		return fmt.Errorf("install snapshot %v: %w", i.Snapshot, err)
	}
	if r.Head.Snapshot != i.Snapshot || r.Head.Transfer != i.Transfer {
		err = fmt.Errorf("the file holds snapshot %v of transfer %d, not that of transfer %d", r.Head.Snapshot, r.Head.Transfer, i.Transfer)
	}
	if err == nil {
		err = restore(a.machine, r, a.throttled(r))
	}
	if err = errors.Join(err, file.Close()); errors.Is(err, snapfile.ErrDamaged) {
		return fmt.Errorf("install snapshot %v: start the node again: it sets the file aside, and the leader sends another: %w", i.Snapshot, err)
	}
	if err != nil {
		return fmt.Errorf("install snapshot %v: %w", i.Snapshot, err)
	}
	a.waiters.due(i.Snapshot.Index)
	a.spot.acts = a.report(raft.Restored{Snapshot: i.Snapshot}, false)
	return nil
}

const (
	// againAfter is how long work waits that met too many open files: they have to be closed by somebody.
	againAfter = time.Second
	// filesPatience is how long entries are not applied for that, until the node ends.
	filesPatience = time.Minute
)

// again puts work back that could not be done, and nothing is done before it. It is for the goroutine, which rests first: who is on the spot waits for nothing.
func (a *applier) again(w applyWork) {
	a.mu.Lock()
	a.queue = slices.Insert(a.queue, 0, w)
	a.mu.Unlock()
	a.vain = true
	a.spot.slow()
	a.spot.ring()
}

// throttled is a snapshot's stream, with rests. What was read of it is counted in snaps.
func (a *applier) throttled(r io.Reader) io.Reader {
	if a.rest == nil {
		return r
	}
	return &throttledReader{from: stopReader{r, a.stop}, count: &a.snaps.restored, now: time.Now, rest: a.rest, since: time.Now()}
}

// restore has the machine take a snapshot's state, by a stream of it, and holds the file to be whole.
func restore(machine StateMachine, r *snapfile.Reader, stream io.Reader) error {
	if err := machine.Restore(stream); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if id := machine.Applied(); id != r.Head.Snapshot {
		return fmt.Errorf("the state is of entry %v then", id)
	}
	return nil
}

// apply applies one run, and returns the index it reached.
func (a *applier) apply(run raft.Apply) (rpc.Index, error) {
	entries, err := a.entries(run)
	if err != nil {
		return 0, err
	}
	if err := rpc.Understood(entries); err != nil {
		return 0, err
	}
	began := time.Now()
	results, err := a.machine.Apply(entries)
	a.spot.took(time.Since(began), spotApplyMax)
	if err != nil {
		return 0, fmt.Errorf("apply entries %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err)
	}
	if len(results) != len(entries) {
		return 0, fmt.Errorf("the state machine gave %d results for %d entries", len(results), len(entries))
	}
	a.waiters.settle(entries, results)
	for _, told := range a.settled {
		told()
	}
	return entries[len(entries)-1].Index, nil
}

// entries are those the core had in memory, or are read from the log.
func (a *applier) entries(run raft.Apply) ([]rpc.Entry, error) {
	if run.Entries != nil {
		return run.Entries, nil
	}
	entries, err := a.log.Entries(onlyGroup, run.From, run.To+1, a.bytesMax)
	if err == nil && len(entries) == 0 {
		err = errors.New("the log returned nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("read entries %d to %d to apply them: %w", run.From, run.To, withRemedy(err))
	}
	return entries, nil
}

// run is the applier's goroutine.
func (a *applier) run(stop <-chan struct{}) error {
	defer a.spot.end()
	a.stop = stop
	a.rest = func(d time.Duration) {
		select {
		case <-stop:
		case <-time.After(d):
		}
	}
	for {
		if !a.spot.begin() {
			return nil // after an error on the spot, which was told
		}
		worked, err := a.spot.run(a.step)
		switch {
		case closed(stop):
			return nil // installing a snapshot has failed for that
		case err != nil:
			return err
		case worked:
			continue
		}
		select {
		case <-stop:
			return nil
		case <-a.spot.bell:
		}
	}
}
