package main

// The import command: copies a bucket of a JetStream. Package importer does it; here is who asks for it, and what people see of it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/importer"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/kv"
)

const importHelp = `Copy a key-value bucket of a JetStream into raftbus: its settings, and all entries that it
keeps, with their revisions, headers, times, deletes and markers.

The bucket is made, filled, compared with the JetStream's entry by entry, and then opened. Until
then it can be read and removed, and nobody else writes to it. An import that was broken off goes
on where it was when the command is given again; a bucket that was there before is not touched.

Stop the bucket's writers first; or copy with --keep-open while they go on, stop them, and give
the command again without it: that copies the rest. While another JetStream of the same NATS
account has the bucket too, the import stays open, since puts would reach both: remove it from
that JetStream, and give the command with --finish. Take care which of the two you remove: a
context that names the domain of raftbus, as those of 'raftbus auth init' do, means the copy.

The exit code is 3 when the JetStream has no such bucket, or the copy was removed meanwhile, 4
when raftbus has one of that name already, or another import into it is under way, 5 when no
JetStream answers, 6 or 7 when the import was broken off, and 8 when raftbus cannot have it.`

const importExamples = `  raftbus import --from-js app
  raftbus import --from-js app --to orders --from-nats nats://old:4222 --from-domain hub
  raftbus import --from-js app --keep-open    # while clients write; then stop them, and:
  raftbus import --from-js app
  raftbus import --from-js app --json`

type importFlags struct {
	bucket, name, domain, prefix string
	other                        natsopt.Other
	keepOpen, finish, json       bool
	patience                     time.Duration
}

func newImport(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import --from-js BUCKET",
		Short:   "Copy a bucket of a JetStream",
		Long:    importHelp,
		Example: importExamples,
		Args:    noArgs,
	}
	f := &importFlags{}
	f.register(cmd.Flags())
	return resolved(cmd, lookup, f.check, func(cmd *cobra.Command, target natsopt.Target, _ []string) error {
		into, err := connect(target, "import", native.Options, keeping)
		if err != nil {
			return err
		}
		defer into.Close()
		if f.finish {
			return f.end(cmd, into)
		}
		from := into
		if f.other.Given() {
			if from, err = f.connectFrom(lookup, target); err != nil {
				return err
			}
			defer from.Close()
		}
		return f.run(cmd, from, into)
	})
}

func (f *importFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.bucket, "from-js", "", "`BUCKET` of the JetStream, without KV_")
	flags.StringVar(&f.domain, "from-domain", "", "`TOKEN` that names the JetStream's domain; empty: none")
	flags.StringVar(&f.other.URL, "from-nats", "", "NATS server `URL` of the JetStream; default: the same NATS, with the same credentials")
	flags.StringVar(&f.other.Creds, "from-creds", "", "credentials `FILE` for the JetStream's NATS; given alone: for the same NATS")
	flags.StringVar(&f.other.Context, "from-context", "", "nats CLI context `NAME` of the JetStream's NATS")
	flags.StringVar(&f.name, "to", "", "`BUCKET` of raftbus; default: the same name")
	prefixVar(flags, &f.prefix)
	flags.BoolVar(&f.keepOpen, "keep-open", false, "copy and compare, and leave the import open: the same command goes on with it")
	flags.BoolVar(&f.finish, "finish", false, "end an import that was left open, without a look at the JetStream")
	flags.BoolVar(&f.json, "json", false, `print {"bucket":"app","entries":...,"revision":...,"sha256":...}`)
	flags.DurationVar(&f.patience, "patience", 30*time.Second, "`DURATION` for which raftbus may have no leader, or the JetStream nothing to say")
}

func (f *importFlags) check() error {
	switch {
	case f.bucket == "":
		return usagef("--from-js is missing: name the bucket to import")
	case strings.ContainsAny(f.bucket, ". *>\t\r\n"): // it would be another subject; it may be longer than a bucket of raftbus
		return usagef("--from-js %q: no bucket of a JetStream can have such a name", f.bucket)
	case f.finish && f.keepOpen:
		return usagef("--finish and --keep-open: give one of them")
	case f.patience <= 0:
		return usagef("--patience %v: give a duration above zero", f.patience)
	}
	if f.name == "" {
		f.name = f.bucket
	}
	return errors.Join(checkBucket(f.name), checkPrefix(f.prefix))
}

// keeping sends what could not be sent when NATS is back: the reader of a JetStream asks anew once only, and all that is asked for here may
// be asked for twice.
var keeping = nats.ReconnectBufSize(nats.DefaultReconnectBufSize)

func (f *importFlags) connectFrom(lookup lookupEnv, first natsopt.Target) (*nats.Conn, error) {
	target, err := f.other.Resolve(lookup, first)
	if err != nil {
		return nil, usagef("--from-nats, --from-creds, --from-context: %w", err)
	}
	return connect(target, "import", native.Options, keeping)
}

func (f *importFlags) run(cmd *cobra.Command, from, into *nats.Conn) error {
	p := &importProgress{w: cmd.ErrOrStderr(), bucket: f.bucket, began: time.Now(), told: time.Now()}
	sum, err := importer.Run(cmd.Context(), importer.Options{
		From: from, Domain: f.domain, Bucket: f.bucket, Into: into, Prefix: f.prefix, Name: f.name,
		KeepOpen: f.keepOpen, Patience: f.patience, Progress: p.tell,
	})
	if err != nil {
		return f.failure(err)
	}
	return f.say(cmd.OutOrStdout(), sum)
}

func (f *importFlags) say(w io.Writer, sum importer.Summary) error {
	if f.json {
		return json.NewEncoder(w).Encode(sum)
	}
	state := "imported"
	if sum.Open {
		state = "copied, and left open"
	}
	_, err := fmt.Fprintf(w, "%s is %s: %d entries, %d bytes, up to revision %d, all compared, in %.1f s\nsha256 %s\n",
		sum.Bucket, state, sum.Entries, sum.Bytes, sum.Revision, sum.Seconds, sum.SHA256)
	return err
}

// end ends an import whose bucket the JetStream has no more.
func (f *importFlags) end(cmd *cobra.Command, into *nats.Conn) error {
	t := importer.Target{Conn: into, Asker: native.NewAsker(into), Prefix: f.prefix, Bucket: f.name, Patience: f.patience}
	info, err := t.Info(cmd.Context())
	switch {
	case err != nil:
		return f.failure(err)
	case !info.Importing:
		return failf(exitConflict, "bucket %s is not being imported: nothing is to be ended", f.name)
	}
	if err := t.End(cmd.Context(), info.Revision); err != nil {
		return f.failure(err)
	}
	return f.sayEnded(cmd.OutOrStdout(), info.Revision)
}

func (f *importFlags) sayEnded(w io.Writer, revision uint64) error {
	if f.json {
		return json.NewEncoder(w).Encode(importer.Summary{Bucket: f.name, From: "KV_" + f.bucket, Revision: revision, Resumed: true})
	}
	_, err := fmt.Fprintf(w, "%s is imported, up to revision %d\n", f.name, revision)
	return err
}

// failure gives an error its exit code and its remedy.
func (f *importFlags) failure(err error) error {
	var refused *native.Failure
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, native.ErrDenied), errors.Is(err, native.ErrUnheard), errors.Is(err, native.ErrCaptured):
		return unsent(err)
	case errors.Is(err, importer.ErrNoBucket):
		return failf(exitNotFound, "%w: name one of 'nats kv ls' with --from-js", err)
	case errors.Is(err, importer.ErrNoJetStream):
		return failf(exitUnavailable, "%w", err)
	case errors.Is(err, importer.ErrTooLarge):
		return failf(exitRefused, "%w", err)
	case errors.Is(err, nats.ErrNoResponders):
		return failf(exitNoLeader, "%w", err)
	case !errors.As(err, &refused):
		return err
	case refused.OfKind(kv.BucketExists):
		return failf(exitConflict, "raftbus has a bucket %s already, and it is not being imported from one with these settings: remove it ('raftbus bucket rm %s'), or name another with --to", f.name, f.name)
	case refused.OfKind(kv.WrongRevision, kv.NotImporting):
		return failf(exitConflict, "%w: another import into it is under way, or has ended: give the command again", err)
	case refused.OfKind(kv.StreamTaken):
		return failf(exitRefused, "bucket %s is copied and compared, and the import stays open, since another JetStream of this account has it too: "+
			"stop its writers, give this command again if any wrote, remove it from that JetStream, with a context that names no domain of raftbus ('nats kv rm %s'), and end with --finish; or import it with --to another name", f.name, f.bucket)
	}
	return failf(brokenOff(refused), "%w", err)
}

// brokenOff is the exit code of a refusal. What a request says is the source's and not the command line's: where that is wrong, raftbus cannot have the bucket.
func brokenOff(f *native.Failure) int {
	if code := codeOfKind(f.ErrCode); code != exitUsage {
		return code
	}
	return exitRefused
}

// importProgress tells once a second how far it is.
type importProgress struct {
	w           io.Writer
	bucket      string
	began, told time.Time
	checking    bool
}

func (p *importProgress) tell(now importer.Progress) {
	if now.Checking != p.checking {
		p.checking, p.began = now.Checking, time.Now()
	}
	if time.Since(p.told) < progressPause {
		return
	}
	p.told = time.Now()
	does := "copied"
	if now.Checking {
		does = "compared"
	}
	rate := float64(now.Done) / max(time.Since(p.began).Seconds(), 0.001)
	fmt.Fprintf(p.w, "%s: %s %d of %d entries, %d MiB, %.0f a second\n", p.bucket, does, now.Done, now.Total, now.Bytes>>20, rate)
}
