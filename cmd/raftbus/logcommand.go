package main

// The log commands: what the log of a node's data folder holds, read without writing anything.

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

const logHelp = `Read the log in the data folder of a node that does not run, or in a copy of one. Nothing is
written: what a crash left torn stays torn, what is damaged stays as it is.

The exit code is 1 when something is damaged, 3 where there is no such folder, and 4 while the
node runs.`

const logExamples = `  raftbus log verify --dir data/n1
  raftbus log dump --dir data/n1 --from 1000 --to 1010
  raftbus log dump --dir data/n1 --json | jq 'select(.kind == "hard state")'`

func newLog() *cobra.Command {
	cmd := group("log", "Read the log of a node that does not run", logHelp, logExamples)
	cmd.AddCommand(logDump(), logVerify())
	return cmd
}

// recordLine is one record in the output of log dump --json.
type recordLine struct {
	Segment    string     `json:"segment"`
	Offset     int64      `json:"offset"`
	Kind       string     `json:"kind"`
	Checkpoint bool       `json:"checkpoint,omitempty"`
	Group      uint64     `json:"group"`
	Index      uint64     `json:"index,omitempty"`
	Term       uint64     `json:"term,omitempty"`
	Entry      string     `json:"entry,omitempty"` // noop, command, configuration
	Time       *time.Time `json:"time,omitempty"`
	Bytes      int        `json:"bytes"`
	Vote       string     `json:"vote,omitempty"`
	Damaged    bool       `json:"damaged,omitempty"`
}

var entryKinds = map[rpc.EntryKind]string{rpc.EntryNoop: "noop", rpc.EntryCommand: "command", rpc.EntryConfiguration: "configuration"}

func lineOf(r *wal.Record) recordLine {
	line := recordLine{
		Segment: r.Segment, Offset: r.Offset, Kind: r.Kind, Checkpoint: r.Checkpoint, Group: uint64(r.Group),
		Index: uint64(r.ID.Index), Term: uint64(r.ID.Term), Bytes: r.Bytes, Vote: string(r.Vote), Damaged: r.Damaged,
	}
	if r.Kind == "entry" {
		at := time.Unix(0, r.Time).UTC()
		line.Time, line.Entry = &at, entryKinds[r.EntryKind]
		if line.Entry == "" {
			line.Entry = fmt.Sprintf("kind %d", r.EntryKind)
		}
	}
	return line
}

func (l *recordLine) print(w io.Writer) error {
	text := fmt.Sprintf("%s %10d  %-10s", l.Segment, l.Offset, l.Kind)
	switch l.Kind {
	case "entry":
		text += fmt.Sprintf("  %d of term %d  %-13s %d bytes  %s", l.Index, l.Term, l.Entry, l.Bytes, l.Time.Format(time.RFC3339Nano))
	case "hard state":
		text += fmt.Sprintf("  term %d, vote %q", l.Term, l.Vote)
	case "base", "last":
		text += fmt.Sprintf("  %d of term %d", l.Index, l.Term)
	}
	if l.Checkpoint {
		text += "  (checkpoint)"
	}
	if l.Damaged {
		text += "  DAMAGED"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func logDump() *cobra.Command {
	cmd := &cobra.Command{Use: "dump --dir DIR", Short: "List the records of a log: entries, hard states, bases", Long: logHelp, Example: logExamples, Args: noArgs}
	dir := cmd.Flags().String("dir", "", "data `FOLDER` of the node")
	from := cmd.Flags().Uint64("from", 0, "`INDEX` of the first entry to list")
	to := cmd.Flags().Uint64("to", 0, "`INDEX` of the last entry to list; 0: the last there is")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object per record")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *to > 0 && *to < *from {
			return usagef("--from %d, --to %d: no entry is among these: give the first and the last one", *from, *to)
		}
		out := bufio.NewWriter(stdout(cmd))
		lines := json.NewEncoder(out)
		d := damages{}
		_, err := inspect(cmd.Context(), *dir, func(r *wal.Record) error {
			d.note(r)
			if r.Kind == "entry" && (uint64(r.ID.Index) < *from || *to > 0 && uint64(r.ID.Index) > *to) {
				return nil
			}
			line := lineOf(r)
			if *asJSON {
				return lines.Encode(&line)
			}
			return line.print(out)
		})
		return errors.Join(cmp.Or(err, d.err()), out.Flush())
	}
	return cmd
}

// damages are the entries of a log whose payloads are damaged, those too that are not listed.
type damages []recordLine

func (d *damages) note(r *wal.Record) {
	if r.Damaged {
		*d = append(*d, lineOf(r))
	}
}

func (d damages) err() error {
	if len(d) == 0 {
		return nil
	}
	return failf(exitError, "%d entries are damaged, the first in segment %s at offset %d (entry %d of term %d): start the node, which has them repaired by its leader", len(d), d[0].Segment, d[0].Offset, d[0].Index, d[0].Term)
}

// logReport is what log verify prints.
type logReport struct {
	Node        string              `json:"node,omitempty"`
	Instance    string              `json:"instance,omitempty"`
	Segments    []wal.SegmentInfo   `json:"segments"`
	Batches     uint64              `json:"batches"`
	Records     uint64              `json:"records"`
	Entries     uint64              `json:"entries"`
	First       uint64              `json:"first"` // the first entry that counts; last+1 if there is none
	Last        uint64              `json:"last"`
	LastTerm    uint64              `json:"last_term"`
	Term        uint64              `json:"term"`
	Vote        string              `json:"vote"`
	Damaged     damages             `json:"damaged"`
	Problem     string              `json:"problem,omitempty"`
	Successions []folder.Succession `json:"successions,omitempty"`
}

func logVerify() *cobra.Command {
	cmd := &cobra.Command{Use: "verify --dir DIR", Short: "Check every checksum of a log, and say what it holds", Long: logHelp, Example: logExamples, Args: noArgs}
	dir := cmd.Flags().String("dir", "", "data `FOLDER` of the node")
	asJSON := cmd.Flags().Bool("json", false, `print {"segments":[...],"entries":...,"last":...,"damaged":[...]}`)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := verifyLog(cmd.Context(), *dir)
		if r == nil {
			return err
		}
		if *asJSON {
			return errors.Join(json.NewEncoder(cmd.OutOrStdout()).Encode(r), err)
		}
		return errors.Join(r.print(cmd.OutOrStdout()), err)
	}
	return cmd
}

// verifyLog reads a log from end to end; with an error that is about damage what was read is there too.
func verifyLog(ctx context.Context, dir string) (*logReport, error) {
	r := &logReport{Damaged: damages{}}
	in, err := inspect(ctx, dir, func(record *wal.Record) error {
		r.Records++
		if record.Kind == "entry" {
			r.Entries++
		}
		r.Damaged.note(record)
		return nil
	})
	corrupt := (*wal.CorruptError)(nil)
	if err != nil && !errors.As(err, &corrupt) {
		return nil, err
	}
	if corrupt != nil {
		r.Problem = corrupt.Error()
	}
	state := in.Groups[0]
	r.Segments, r.Batches, r.Last, r.LastTerm = in.Segments, in.Batches, uint64(state.Last.Index), uint64(state.Last.Term)
	r.First, r.Term, r.Vote = uint64(state.Base.ID.Index)+1, uint64(state.HardState.Term), string(state.HardState.Vote)
	if id, instance, successions, err := folder.Peek(vfs.Default, dir); err == nil {
		r.Node, r.Instance, r.Successions = string(id), instance, successions
	}
	return r, cmp.Or(err, r.Damaged.err())
}

func (r *logReport) print(w io.Writer) error {
	if r.Node != "" {
		fmt.Fprintf(w, "node %s, instance %s\n", r.Node, r.Instance)
	}
	for _, s := range r.Segments {
		fmt.Fprintf(w, "segment %s: %d of %d bytes", s.Name, s.End, s.Bytes)
		if s.Torn > 0 {
			fmt.Fprintf(w, ", and %d that a crash left of a batch that was never synced", s.Torn)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d batches, %d records, %d entries; the log is entries %d to %d (term %d); hard state term %d, vote %q\n",
		r.Batches, r.Records, r.Entries, r.First, r.Last, r.LastTerm, r.Term, r.Vote)
	for i := range r.Damaged {
		if err := r.Damaged[i].print(w); err != nil {
			return err
		}
	}
	for _, s := range r.Successions {
		fmt.Fprintf(w, "went on from cluster %s at %s (%s): revision %d, old log %s\n", s.Old, s.At.Format(time.RFC3339), s.Kind, s.Revision, cmp.Or(s.OldLog, "none"))
	}
	if r.Problem == "" && len(r.Damaged) == 0 {
		_, err := fmt.Fprintln(w, "all checksums fit")
		return err
	}
	return nil
}

// inspect reads the log of a data folder, or of a folder that is a log itself, while no node can use it, and until ctx ends.
func inspect(ctx context.Context, dir string, visit func(*wal.Record) error) (in wal.Inspection, err error) {
	if dir == "" {
		return in, usagef("--dir is missing: name the data folder")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return in, err
	}
	unlock, err := lockIfThere(filepath.Join(dir, "LOCK"))
	if err != nil {
		return in, err
	}
	defer unlock()
	path := filepath.Join(dir, "wal")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		path = dir
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return in, failf(exitNotFound, "%w: name the data folder of a node", err)
	}
	return wal.Inspect(vfs.Default, path, func(r *wal.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return visit(r)
	})
}

// lockIfThere keeps a node from starting meanwhile. A copy of a folder may have no lock, and one that cannot be written has no node.
func lockIfThere(path string) (unlock func(), err error) {
	if _, err := os.Stat(path); err != nil {
		return func() {}, nil
	}
	lock, err := vfs.Default.Lock(path)
	if denied := (*os.PathError)(nil); errors.As(err, &denied) {
		return func() {}, nil
	}
	if err != nil {
		return nil, failf(exitConflict, "%w (%w)", folder.ErrInUse, err)
	}
	return func() { _ = lock.Close() }, nil // it was only read under it
}
