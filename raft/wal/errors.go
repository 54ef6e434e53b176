package wal

// The errors of the log. They tell apart what can be waited for (no room), what ends the process (a failed sync) and what needs another copy (damage); which
// one it is, the caller acts on.

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/raftbus/raftbus/raft/rpc"
)

var (
	// ErrFull: there is no disk space for another segment. Nothing was written and the log stays usable: free some space,
	// and the log takes it by itself.
	ErrFull = errors.New("wal: no disk space for the log: free some space on its disk, writes resume by themselves")

	// ErrFailed: a write or a sync of the log failed, now or before. What was being appended is durable or not, nobody
	// knows: the process must stop, and a restart will tell (D5). The log never syncs again what failed to sync (K53).
	ErrFailed = errors.New("wal: a write to the log failed: stop this process, check the disk, then restart it")

	// ErrCompacted: the entries asked for are at or below the base, and gone. A snapshot covers them.
	ErrCompacted = errors.New("wal: entries were compacted away: use a snapshot")

	// ErrNoLog: there is no log where there must be one.
	ErrNoLog = errors.New("wal: there is no log")

	// ErrClosed: the log was closed.
	ErrClosed = errors.New("wal: log is closed")

	// ErrInvalid: what was to be appended contradicts the log: a gap, an index at or below the base, a term or a vote that
	// goes back, a size over its bound. It is a programming error of the caller. Nothing was written.
	ErrInvalid = errors.New("wal: append contradicts the log")
)

// CorruptError says that bytes which were once synced are not what was written, or are gone. The log deletes and changes
// nothing then (D4): what can be repaired needs to see it.
type CorruptError struct {
	Segment string      // file name within the log's folder
	Offset  int64       // where the damage was noticed, in bytes from the start of the file
	Group   GroupID     // of the damaged record, when its header is intact
	Entry   rpc.EntryID // of the damaged record, when it is an entry and its header is intact; else zero
	Reason  string
}

func (e *CorruptError) Error() string {
	remedy := "replace this node by a new instance"
	if e.Entry != (rpc.EntryID{}) {
		remedy = "have the entry repaired from a peer, or " + remedy
	}
	return fmt.Sprintf("%s: keep the folder, check the disk, and %s; the other nodes hold what was acknowledged", e.Cause(), remedy)
}

// Cause is the error without the remedy, for who has no other nodes.
func (e *CorruptError) Cause() string {
	what := ""
	if e.Entry != (rpc.EntryID{}) {
		what = fmt.Sprintf(" (group %d, entry %v)", e.Group, e.Entry)
	}
	return fmt.Sprintf("wal: segment %s is damaged at offset %d%s: %s. Nothing was changed or deleted", e.Segment, e.Offset, what, e.Reason)
}

// ReadError says that the disk does not give a part of the log. It may the next time, and if not the others have it.
type ReadError struct {
	Segment string // file name within the log's folder
	Offset  int64  // of what is not given, in bytes from the start of the file
	Err     error
}

func (e *ReadError) Error() string {
	return e.Cause() + ": check the disk, and start this node again; if it says the same then, " +
		"keep the folder, and replace this node by a new instance (raftbus member replace); the other nodes hold what was acknowledged"
}

// Cause is the error without the remedy, for who has no other nodes.
func (e *ReadError) Cause() string {
	return fmt.Sprintf("wal: segment %s cannot be read at offset %d: %v. Nothing was changed or deleted", e.Segment, e.Offset, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// Unreadable is the error of a log that cannot be read as it was written, for errors.As: a *CorruptError, a *ReadError, or that all of it is gone. Cause is
// without the remedy, for who has no other nodes.
type Unreadable interface {
	error
	Cause() string
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// IsFull reports whether err means that the disk, or this user's share of it, has no space left.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// TooManyFiles reports whether err means that this process, or all of the machine together, has too many files open. It passes: nothing was done,
// and nothing is wrong with the disk.
func TooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
