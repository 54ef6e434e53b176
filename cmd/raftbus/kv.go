package main

// The kv commands: keys and values, for people and scripts. Package native asks; here is what is asked for, and what people see of it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/kv"
)

const kvHelp = `Read, write and watch keys of a bucket.

Reads are linearizable. A write is sent again, within --timeout, until its outcome is known: it
carries a message id, by which the cluster does it once. Where no answer came at all the exit
code is 6: the write may have been done, or may yet be.

A value may be any bytes. One that is not given as an argument is read from stdin, to its end.
A value that begins with - comes after --.`

const kvExamples = `  raftbus bucket add app --history 5 --allow-ttl
  raftbus kv put app color blue
  raftbus kv get app color --raw
  cat logo.png | raftbus kv put app logo.png
  raftbus kv create app lock "$HOSTNAME" --ttl 30s      # exit code 4: somebody else has it
  raftbus kv update app color green --revision 1        # exit code 4: it was changed meanwhile
  raftbus kv ls app --begins color
  raftbus kv history app color
  raftbus kv watch app color --json | jq -r .value
  raftbus kv del app color`

func newKV(lookup lookupEnv) *cobra.Command {
	cmd := group("kv", "Read, write and watch keys", kvHelp, kvExamples)
	cmd.AddCommand(kvGet(lookup), kvList(lookup), kvHistory(lookup), kvWatch(lookup))
	for _, w := range kvWrites {
		cmd.AddCommand(kvWrite(lookup, w))
	}
	return cmd
}

// asked adds to a command what all have that ask as clients, and gives a client to what the command does.
func asked(cmd *cobra.Command, lookup lookupEnv, do func(cmd *cobra.Command, c *native.Client, args []string) error) *cobra.Command {
	return targeted(cmd, lookup, func(cmd *cobra.Command, target natsopt.Target, prefix string, args []string) error {
		return connected(cmd, target, func(conn *nats.Conn) error {
			err := do(cmd, native.New(conn, prefix, target.Timeout), args)
			if errors.Is(err, native.ErrNoLeader) && !conn.IsConnected() { // nothing could be sent, which says nothing of a leader
				err = nats.ErrDisconnected
			}
			return clientFailure(err, prefix, args...)
		})
	})
}

// takesKey is takes, of commands whose second argument is a key. NATS would not even carry a request for a key with an empty token.
func takesKey(most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := takes(2, most)(cmd, args); err != nil {
			return err
		}
		if !kv.ValidKey(args[1]) {
			return usagef("key %q: use tokens of A-Z a-z 0-9 _ / = - joined by single dots, %d bytes at most", args[1], kv.KeyMax)
		}
		return nil
	}
}

// takes refuses another number of arguments than least to most, and a first one that cannot be a bucket.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least || len(args) > most:
			return usagef("%s: give %s: see '%s --help'", counted(len(args), "argument"), listed(strings.Fields(cmd.Use)[1:], "and"), cmd.CommandPath())
		case len(args) == 0:
			return nil
		}
		return checkBucket(args[0])
	}
}

// Kinds of refusals, by the exit code that they end in.
var codesOfKinds = map[int][]kv.ErrorKind{
	exitUsage:    {kv.BadKey, kv.BadBucketName, kv.BadRequest},
	exitNotFound: {kv.NoBucket, kv.KeyNotFound, kv.NoWatch},
	exitConflict: {kv.BucketExists, kv.KeyExists, kv.WrongRevision, kv.SettingsChanged, kv.NotImporting},
	exitTimeout:  {kv.OutcomeUnknown},
	exitNoLeader: {kv.Unavailable, kv.Busy}, // nobody serves it now
	exitRefused:  {kv.TooLarge, kv.BucketFull, kv.Full, kv.TTLDisabled, kv.StreamTaken, kv.Importing, kv.ReadOnly, kv.NotOpen, kv.NoWatches, kv.TooManyWatches, kv.Compacted},
}

// remedies are what a refusal's own words do not say. BUCKET stands for the one that the command names.
var remedies = map[int]string{
	kv.NoBucket.ErrCode:       "see 'raftbus bucket ls', or make it with 'raftbus bucket add'",
	kv.KeyNotFound.ErrCode:    "it was never written, or it was deleted: see 'raftbus kv ls', 'raftbus kv history'",
	kv.KeyExists.ErrCode:      "to change it: 'raftbus kv update --revision', or 'raftbus kv put'",
	kv.WrongRevision.ErrCode:  "somebody else has changed it: read it again, and decide anew",
	kv.BucketExists.ErrCode:   "to change its settings: 'raftbus bucket update'",
	kv.BucketFull.ErrCode:     "delete keys, or raise --max-bytes with 'raftbus bucket update'",
	kv.Full.ErrCode:           "'raftbus doctor' says what is to be done on which node; reads go on",
	kv.Busy.ErrCode:           "try again after a pause",
	kv.Unavailable.ErrCode:    "no quorum confirms it: see 'raftbus status'",
	kv.TTLDisabled.ErrCode:    "'raftbus bucket update BUCKET --allow-ttl'",
	kv.Compacted.ErrCode:      "watch without --from",
	kv.TooManyWatches.ErrCode: "end some, or raise the account's bound: raftbus node --watches-max",
	kv.NoWatches.ErrCode:      "give the NATS server a leafnodes port: see 'raftbus doctor'",
	kv.ReadOnly.ErrCode:       "'raftbus bucket update BUCKET --read-only=false'",
	kv.Importing.ErrCode:      "end the import with 'raftbus import'",
}

// clientFailure gives an error its exit code and its remedy, of what the command was given.
func clientFailure(err error, prefix string, args ...string) error {
	var refused *native.Failure
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, native.ErrCaptured), errors.Is(err, native.ErrStranger):
		return unsent(err)
	case errors.Is(err, native.ErrNoLeader):
		return failf(exitNoLeader, "no leader answers (prefix %s), so nothing was done: see 'raftbus status', and check %s and the NATS account", prefix, prefixHint(prefix))
	case errors.Is(err, native.ErrUnknown):
		return failf(exitTimeout, "no answer in time: the outcome is unknown, a write may have been done or may yet be: read it, or look with 'raftbus doctor' why nobody answers")
	case !errors.As(err, &refused):
		return unsent(err)
	}
	return asExit(refused, append(args, "BUCKET")[0])
}

// prefixHint is for whoever takes --prefix for that of keys.
func prefixHint(prefix string) string {
	if prefix == defaultPrefix {
		return "--prefix"
	}
	return "--prefix (it names the cluster; names of keys are chosen with --begins)"
}

// losses are what is said of a connection to NATS that is gone, or went while an answer was awaited.
var losses = []error{native.ErrNoLeader, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting, nats.ErrDisconnected, nats.ErrReconnectBufExceeded}

// unsent gives what NATS refuses or keeps, and that it is gone, a remedy; other errors stay what they are. That nobody answers is for who asks.
func unsent(err error) error {
	switch {
	case errors.Is(err, native.ErrDenied):
		return failf(exitError, "%w, so nothing was done: use credentials that may do it", err)
	case errors.Is(err, native.ErrUnheard):
		return failf(exitError, "%w, so nothing was sent and nothing was done: %s", err, natsopt.InboxRemedy)
	case errors.Is(err, native.ErrStranger) && errors.Is(err, native.ErrUnknown):
		return failf(exitTimeout, "%w", err)
	case errors.Is(err, native.ErrCaptured):
		code := exitError
		if errors.Is(err, native.ErrUnknown) {
			code = exitTimeout
		}
		return failf(code, "%w: take what begins with the prefix out of that stream's subjects, or check --prefix", err)
	case slices.ContainsFunc(losses, func(loss error) bool { return errors.Is(err, loss) }):
		return failf(exitUnavailable, "the connection to NATS was lost: look whether NATS runs, and give the command again: %w", err)
	}
	return err
}

// asExit gives a refusal the exit code of its kind.
func asExit(f *native.Failure, bucket string) error {
	code := codeOfKind(f.ErrCode)
	if remedy := remedies[f.ErrCode]; remedy != "" {
		return failf(code, "%w: %s", f, strings.ReplaceAll(remedy, "BUCKET", bucket))
	}
	return failf(code, "%w", f)
}

// codeOfKind is the exit code of a refusal, whichever command hears it.
func codeOfKind(errCode int) int {
	for code, kinds := range codesOfKinds {
		if slices.ContainsFunc(kinds, func(k kv.ErrorKind) bool { return k.ErrCode == errCode }) {
			return code
		}
	}
	return exitError
}

// oneOf refuses a flag's value that is none of those it takes.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s %q: use %s", flag, value, listed(allowed, "or"))
}

// shown is a value as a terminal may have it: text as it is, other bytes and control characters quoted.
func shown(value []byte) string {
	text := string(value)
	if printable(text) {
		return text
	}
	return fmt.Sprintf("%q", text)
}
