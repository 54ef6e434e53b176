package main

// The backup command: fetches the state of a running cluster into a file, and reads such a file again. Package backup does it; here is who
// asks for it, and what people see of it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/backup"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const backupHelp = `Write the state of a cluster that serves into FILE, or with - to the standard output.

A backup is of one moment: all buckets, keys, histories, times to live and message ids, as of one
revision. It holds at least what was acknowledged before the command began. A follower gives it,
if there is one that keeps up, and nobody waits for it. What comes is checked record by record,
the file is synced, and has its name only once it is whole; until then it is FILE.*.part, which
a command that is killed leaves behind.

With --base it writes an increment: what is not in that backup, which is smaller where little has changed.
'backup merge' makes a whole backup of the two, which is the one that would have been taken.
An increment cannot be taken 'since revision N': what was purged, expired or removed leaves no
trace, so the file of --base itself is needed. Merge each increment, and use the result as the
next --base.

While nobody leads, --local takes what one node has, with --from.

The exit code is 3 when the file of --base is not there, 4 when FILE is there already, 5 or 7 when
no node can be asked or nobody leads, 6 when the node says nothing for --patience, and 8 when the
nodes refuse, or the base does not fit.`

const backupExamples = `  raftbus backup monday.rbb
  raftbus backup - | zstd > monday.rbb.zst
  raftbus backup monday.rbb --json
  raftbus backup verify monday.rbb
  raftbus backup tuesday.rbi --base monday.rbb           # what is not in monday.rbb
  raftbus backup merge monday.rbb tuesday.rbi tuesday.rbb
  raftbus backup last.rbb --local --from n2    # nobody leads`

type backupFlags struct {
	prefix, from string
	base         string
	local, json  bool
	patience     time.Duration
}

func newBackup(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Take a backup of a cluster that serves",
		Long:    backupHelp + awaitsLeader,
		Example: backupExamples,
		Args:    oneFile,
	}
	f := &backupFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`ID` of the node that gives it; default: a follower that keeps up, or else the leader")
	flags.StringVar(&f.base, "base", "", "whole backup `FILE`: write an increment, of what is not in it")
	flags.BoolVar(&f.local, "local", false, "take what the node of --from has, without asking a leader what was acknowledged")
	flags.BoolVar(&f.json, "json", false, `print {"revision":...,"index":...,"node":...,"bytes":...,"sha256":...}`)
	flags.DurationVar(&f.patience, "patience", 30*time.Second, "`DURATION` for which the node may have nothing to say")
	cmd.AddCommand(backupVerify(), backupMerge())
	return targeted(cmd, lookup, func(cmd *cobra.Command, target natsopt.Target, prefix string, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		f.prefix = prefix
		return connected(cmd, target, func(conn *nats.Conn) error {
			return f.run(cmd, members.NewAdministrator(conn, prefix, target.Timeout), args[0])
		})
	})
}

func (f *backupFlags) check() error {
	switch {
	case f.local && f.from == "":
		return usagef("--local takes what one node has: name it with --from")
	case f.patience <= 0:
		return usagef("--patience %v: give a duration above zero", f.patience)
	}
	return nil
}

// oneFile wants the name of a file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usagef("%d arguments: name one file, or -: see '%s --help'", len(args), cmd.CommandPath())
	}
	return nil
}

func (f *backupFlags) run(cmd *cobra.Command, a *members.Administrator, name string) error {
	ctx := cmd.Context()
	nodes, atLeast, err := f.sources(ctx, a)
	if err != nil {
		return err
	}
	source := backup.Source{Conn: a.Conn, Prefix: f.prefix, AtLeast: atLeast, Patience: f.patience}
	if f.base != "" {
		base, err := openBackup(f.base)
		if err != nil {
			return err
		}
		defer base.Close()
		source.Base = again{reader{ctx, base}, base}
	}
	out, err := newFile(cmd, name)
	if err != nil {
		return err
	}
	p := newEntryProgress(cmd.ErrOrStderr(), "backup: %d of %d entries")
	var sum backup.Summary
	for _, source.Node = range nodes {
		if source.Base != nil {
			_, _ = source.Base.Seek(0, io.SeekStart) // a file that cannot be read says so then
		}
		sum, err = source.Fetch(ctx, out, func(n uint64, of *backup.Head) { p.tell(n, of.Holds.Entries) })
		if err == nil || out.written > 0 || !anotherMay(err) {
			break
		}
	}
	if err = out.end(err); err != nil {
		return backupFailure(a.Conn, err)
	}
	return saySummary(saidTo(cmd, name), f.json, "backup of "+f.prefix+" from "+sum.Node, &sum, p.seconds())
}

// anotherMay reports whether what one node did not give another may: it refused, is not there, or says nothing.
func anotherMay(err error) bool {
	return errors.Is(err, backup.ErrRefused) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded)
}

// again is a file that is read more than once, for as long as the command is not to end.
type again struct {
	reader
	io.Seeker
}

// sources are the nodes to ask, the best first, and the entry that the backup must reflect.
func (f *backupFlags) sources(ctx context.Context, a *members.Administrator) ([]string, uint64, error) {
	if f.local {
		return []string{f.from}, 0, nil
	}
	m, err := a.Members(ctx, members.AloneMax)
	if err != nil {
		return nil, 0, unsent(err)
	}
	if f.from != "" {
		_, err := members.Find(&m, f.from)
		return []string{f.from}, m.Commit, err
	}
	var nodes []string
	for _, o := range m.Members {
		if o.State == "replicate" && o.Role == admin.RoleVoter {
			nodes = append(nodes, o.ID)
		}
	}
	slices.SortStableFunc(nodes, func(x, y string) int {
		one, _ := m.Member(x)
		other, _ := m.Member(y)
		return int(min(one.Lag, 1<<30)) - int(min(other.Lag, 1<<30))
	})
	return append(nodes, m.Leader), m.Commit, nil
}

// backupFailure gives an error its exit code and its remedy.
func backupFailure(conn *nats.Conn, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return failf(exitUnavailable, "the node is not on the bus, or stopped meanwhile: see 'raftbus status', and give the command again: %w", err)
	case errors.Is(err, context.DeadlineExceeded) && !conn.IsConnected(): // what cannot be sent meets silence too
		return unsent(nats.ErrDisconnected)
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, native.ErrNoLeader): // it was sent
		return failf(exitTimeout, "the node said nothing for too long: see 'raftbus status', and give the command again, with a longer --patience: %w", err)
	case errors.Is(err, backup.ErrRefused), errors.Is(err, backup.ErrBase):
		return failf(exitRefused, "%w", err)
	}
	return unsent(err)
}

const verifyHelp = `Read a backup, or with - the standard input, from end to end: every checksum, and what it says of
itself against what it holds. What an increment says is of the whole that 'raftbus backup merge'
makes of it, which counts that: here its checksums are all that there is to check.`

func backupVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Read a backup from end to end, and check all of it",
		Long:  verifyHelp,
		Args:  oneFile,
	}
	asJSON := cmd.Flags().Bool("json", false, `print {"revision":...,"bytes":...,"sha256":...}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := openFile(cmd, args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		p := newEntryProgress(cmd.ErrOrStderr(), "verify: %d entries")
		sum, err := backup.Verify(in, func(n uint64) { p.tell(n, 0) })
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return saySummary(cmd.OutOrStdout(), *asJSON, args[0]+" is whole", &sum, p.seconds())
	}
	return cmd
}

func backupMerge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "merge BASE INCREMENT FILE",
		Short: "Make a whole backup from one and an increment of it",
		Long:  "Make a whole backup from BASE and an increment that was taken with --base BASE. Both are checked from end to end; FILE is the backup that would have\nbeen taken whole, byte for byte; - is the standard output.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 3 {
				return usagef("%d arguments: name the base, the increment, and the file to be made: see '%s --help'", len(args), cmd.CommandPath())
			}
			return nil
		},
	}
	asJSON := cmd.Flags().Bool("json", false, `print {"revision":...,"bytes":...,"sha256":...}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		base, err := openFile(cmd, args[0])
		if err != nil {
			return err
		}
		defer base.Close()
		increment, err := openFile(cmd, args[1])
		if err != nil {
			return err
		}
		defer increment.Close()
		out, err := newFile(cmd, args[2])
		if err != nil {
			return err
		}
		began := time.Now()
		sum, err := backup.Merge(base, increment, out)
		if err = out.end(err); errors.Is(err, backup.ErrBase) {
			return failf(exitRefused, "%w", err)
		} else if err != nil {
			return err
		}
		return saySummary(saidTo(cmd, args[2]), *asJSON, args[2]+" is whole", &sum, time.Since(began).Seconds())
	}
	return cmd
}

// opened is a file to be read, for as long as the command is not to end.
type opened struct {
	reader
	io.Closer
}

// openFile opens a file to be read, or with - the standard input.
func openFile(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(reader{cmd.Context(), cmd.InOrStdin()}), nil
	}
	f, err := openBackup(name)
	if err != nil {
		return nil, err
	}
	return opened{reader{cmd.Context(), f}, f}, nil
}

func openBackup(name string) (*os.File, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, failf(exitNotFound, "%w: name a file that 'raftbus backup' wrote", err)
	}
	return f, err
}

// saidTo is where a summary goes: beside a file that is itself the standard output.
func saidTo(cmd *cobra.Command, name string) io.Writer {
	if name == "-" {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

func saySummary(w io.Writer, asJSON bool, what string, s *backup.Summary, seconds float64) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			*backup.Summary
			Seconds float64 `json:"seconds"`
		}{s, seconds})
	}
	if s.Base != nil {
		what += fmt.Sprintf(", an increment of revision %d", s.Base.Revision)
	}
	_, err := fmt.Fprintf(w, "%s: revision %d of %s, log entry %d; %d buckets, %d keys, %d entries, %d bytes, in %.1f s\nsha256 %s\n",
		what, s.Revision, s.Time.Format(time.RFC3339), s.Index, s.Holds.Buckets, s.Holds.Keys, s.Holds.Entries, s.Bytes, seconds, s.SHA256)
	return err
}

// progressPause is how long a progress stands before another is printed.
const progressPause = time.Second

// entryProgress tells once a second how far something is.
type entryProgress struct {
	w           io.Writer
	format      string // of a count, and of a total if it has one
	began, told time.Time
}

func newEntryProgress(w io.Writer, format string) *entryProgress {
	return &entryProgress{w: w, format: format, began: time.Now(), told: time.Now()}
}

func (p *entryProgress) tell(n, of uint64) {
	if time.Since(p.told) < progressPause {
		return
	}
	p.told = time.Now()
	args := []any{n}
	if of > 0 {
		args = append(args, of)
	}
	fmt.Fprintf(p.w, p.format+", %.0f a second\n", append(args, float64(n)/max(p.seconds(), 0.001))...)
}

func (p *entryProgress) seconds() float64 { return time.Since(p.began).Seconds() }
