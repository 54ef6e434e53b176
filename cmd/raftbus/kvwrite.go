package main

// Commands that write a key.

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// kvVerb is a command that writes.
type kvVerb struct {
	name, op string
	aliases  []string
	short    string
	long     string
	value    bool // it takes a value
	revision bool // it may name the revision that the key must have
	required bool // and must
}

var kvWrites = []kvVerb{
	{name: "put", op: "put", value: true, short: "Write a key", long: "Write a key, whatever it has. The value is read from stdin if it is not given."},
	{name: "create", op: "create", value: true, short: "Write a key that has no value",
		long: "Write a key, if it has no value: it was never written, or was deleted. The exit code is 4 if it has one."},
	{name: "update", op: "update", value: true, revision: true, required: true, short: "Write a key that has a known revision",
		long: "Write a key, if nobody has changed it since --revision. The exit code is 4 if somebody has. Revision 0 stands\nfor a key without a value, as in create."},
	{name: "del", op: "delete", aliases: []string{"delete", "rm"}, revision: true, short: "Delete a key, and keep its history",
		long: "Delete a key. Its history stays, as far as the bucket keeps one. The exit code is 3 if it has no value."},
	{name: "purge", op: "purge", revision: true, short: "Delete a key and its history",
		long: "Delete a key with its history, also one that was deleted. The exit code is 3 if nothing is left of it."},
}

// writeFlags say how a write is to be done.
type writeFlags struct {
	revision    uint64
	ttl         string
	id          string
	asJSON      bool
	conditional bool
}

func (f *writeFlags) register(flags *pflag.FlagSet, v kvVerb) {
	if v.revision {
		flags.Uint64Var(&f.revision, "revision", 0, "`NUMBER` that the key's revision must be")
	}
	if v.value {
		flags.StringVar(&f.ttl, "ttl", "", "`DURATION` after which the value ends, such as 90s, or never; the bucket must have --allow-ttl")
	}
	flags.StringVar(&f.id, "msg-id", "", "message `ID`: what was done under it, within the bucket's duplicate window, is not done again; default: a new one")
	flags.BoolVar(&f.asJSON, "json", false, `print {"bucket":"app","key":"color","revision":3,"cluster_revision":9}`)
}

func kvWrite(lookup lookupEnv, v kvVerb) *cobra.Command {
	cmd := &cobra.Command{Use: v.name + " BUCKET KEY", Short: v.short, Long: v.long, Aliases: v.aliases, Args: takesKey(2), ValidArgsFunction: completeKeys(lookup)}
	if v.value {
		cmd.Use, cmd.Args = cmd.Use+" [VALUE]", takesKey(3)
	}
	f := &writeFlags{}
	f.register(cmd.Flags(), v)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if f.conditional = v.revision && cmd.Flags().Changed("revision"); v.required && !f.conditional {
			return usagef("--revision is missing: give the one that 'raftbus kv get' shows, or write with 'raftbus kv put'")
		}
		return f.check()
	}
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) (err error) {
		var value []byte
		if v.value {
			if value, err = readValue(cmd, args, c.BodyMax()); err != nil {
				return err
			}
		}
		done, err := c.Write(cmd.Context(), v.op, args[0], args[1], value, f.header())
		if err != nil {
			return err
		}
		if err := sayWritten(cmd.OutOrStdout(), done, f.asJSON); err != nil {
			return fmt.Errorf("%s is written, revision %d, but that could not be printed: %w", args[1], done.Revision, err)
		}
		return nil
	})
}

// check refuses a time to live that is none.
func (f *writeFlags) check() error {
	if f.ttl == "" || f.ttl == "never" {
		return nil
	}
	if d, err := time.ParseDuration(f.ttl); err != nil || d < time.Second {
		return usagef("--ttl %q: give a duration of 1s or more, such as 90s or 1h, or never", f.ttl)
	}
	return nil
}

// header is a write's conditions, as the native subjects have them.
func (f *writeFlags) header() nats.Header {
	id := f.id
	if id == "" {
		id = rand.Text()
	}
	h := nats.Header{nats.MsgIdHdr: {id}}
	if f.conditional {
		h.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(f.revision, 10))
	}
	if f.ttl != "" {
		h.Set("Nats-TTL", f.ttl)
	}
	return h
}

// readValue is valueOf, and tells a person that it waits.
func readValue(cmd *cobra.Command, args []string, limit int64) ([]byte, error) {
	if len(args) < 3 && isTerminal(cmd.InOrStdin()) {
		fmt.Fprintln(cmd.ErrOrStderr(), "raftbus: reading the value from the terminal; Ctrl-D ends it")
	}
	return valueOf(reader{cmd.Context(), cmd.InOrStdin()}, args, limit)
}

// valueOf is the value to be written: the argument, or all of stdin. What no message can hold is refused before it is all read.
func valueOf(stdin io.Reader, args []string, limit int64) ([]byte, error) {
	if len(args) == 3 {
		return []byte(args[2]), nil
	}
	value, err := io.ReadAll(io.LimitReader(stdin, limit+1))
	if err != nil {
		return nil, fmt.Errorf("the value on stdin: %w", err)
	}
	if int64(len(value)) > limit {
		return nil, failf(exitRefused, "the value on stdin is larger than the %d bytes that the bus allows: split it, or raise max_payload of the NATS server", limit)
	}
	return value, nil
}

func sayWritten(w io.Writer, done native.Written, asJSON bool) (err error) {
	switch {
	case asJSON:
		err = json.NewEncoder(w).Encode(done)
	case done.Duplicate:
		_, err = fmt.Fprintf(w, "revision %d (done before, under this message id)\n", done.Revision)
	default:
		_, err = fmt.Fprintf(w, "revision %d\n", done.Revision)
	}
	return err
}
