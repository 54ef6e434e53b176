package main

// Exit codes and the one form in which errors reach a person or a script.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/node"
)

// Exit codes are API: scripts branch on them. They are documented in the root command's help.
const (
	exitOK          = 0
	exitError       = 1 // anything without a code of its own
	exitUsage       = 2 // the command line or the environment is wrong; nothing was done
	exitNotFound    = 3 // what was named does not exist: a member, a bucket, a key
	exitConflict    = 4 // another process has the id, the data folder or the port, or another node or cluster the folder, or the prefix, or a JetStream $JS.API; or members changed meanwhile; or a bucket or key exists, or has changed
	exitUnavailable = 5 // NATS cannot be reached, or no node answers
	exitTimeout     = 6 // no answer in time: the outcome is unknown; or what was awaited has not come yet
	exitNoLeader    = 7 // nodes answer, but no leader serves with a quorum, or it takes no more just now: ask again
	exitRefused     = 8 // the cluster refuses, for its own good or for want of room; or a node, to run where anybody may speak in its name; or you, when asked
)

const exitCodesHelp = `Exit codes:
  0  done
  1  error
  2  wrong command line or environment; nothing was done
  3  not found: no such member, bucket or key
  4  conflict: node id, data folder, prefix, port or $JS.API is another's; or the bucket or
     key exists, or it, its settings or the members were changed by somebody else meanwhile
  5  unavailable: NATS cannot be reached, or no node answers
  6  timeout: the outcome is unknown, or what was awaited has not come yet
  7  no leader serves with a quorum, or it is busy: ask again after a pause
  8  refused: the quorum would be lost; the cluster or the bucket is full; the value is too
     large; the bucket is read-only, being imported, in another JetStream too, or has no
     --allow-ttl (for --ttl); no node serves watches, there are too many watches, or --from is
     no longer kept; it needs 'raftbus upgrade finish'; what was asked for is impossible; the
     bus is open (others may speak as a node); or you did not confirm. Nothing was done, but
     that 'import' and 'member' may have done a part, and say so`

// codedError is an error that ends the process with a code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// failf makes an error with an exit code. Its text names the cause, then the remedy.
func failf(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// usagef reports a command line or an environment that cannot be carried out.
func usagef(format string, args ...any) error { return failf(exitUsage, format, args...) }

// report prints the error, if there is one, and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(stderr, "raftbus: error: %s\n", oneLine(err))
	}
	return exitCode(err)
}

// reportInTime is report of a node, which ends also where nobody reads what it says: else whoever is to start it again would take it for one that runs.
func reportInTime(stderr io.Writer, err error) int {
	reported := make(chan struct{})
	go func() { // ends with the process at the latest
		defer close(reported)
		report(stderr, err)
	}()
	select {
	case <-reported:
	case <-time.After(logFlushTime):
	}
	return exitCode(err)
}

// oneLine writes an error on one line, also joined ones.
func oneLine(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	return observe.OneLine(err.Error())
}

// conflicts are what a node that is started again would only meet again.
var conflicts = []error{
	folder.ErrInUse, folder.ErrOtherNode, node.ErrOtherMembers, busclient.ErrDuplicateNode, replica.ErrForeignCluster, replica.ErrLostFolder, kv.ErrJetStream, syscall.EADDRINUSE,
}

// codesOfMembers are the exit codes of errors of package members, by their kind.
var codesOfMembers = map[members.Kind]int{
	members.Usage: exitUsage, members.NotFound: exitNotFound, members.Conflict: exitConflict, members.Unavailable: exitUnavailable,
	members.Timeout: exitTimeout, members.NoLeader: exitNoLeader, members.Refused: exitRefused,
}

func exitCode(err error) int {
	var coded *codedError
	var failed *members.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &failed):
		return cmp.Or(codesOfMembers[failed.Kind], exitError)
	case slices.ContainsFunc(conflicts, func(c error) bool { return errors.Is(err, c) }):
		return exitConflict
	case errors.Is(err, replica.ErrOpenBus):
		return exitRefused
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrNoResponders):
		return exitUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return exitTimeout
	}
	return exitError
}
