package main

// The doctor command: what is wrong with a cluster, by what that shows, and what to do. doctorasks.go asks, doctorrules.go judges.

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const doctorHelp = `Look for what is wrong with a cluster, and say the remedy.

All nodes are asked over NATS, twice, so that what grows is seen: nodes that are gone or silent,
no leader or quorum, links that are broken, full, slow or damaged disks, members that lag, wiped
disks, clocks that differ, different versions, an upgrade that is not finished, connections to
NATS that are lost or refused, accounts that a node does not serve, a bus on which anybody may
speak as a node. It takes about two seconds, four when nobody leads, and changes nothing.

Each finding has a code, which scripts may rely on (docs/troubleshooting.md lists them), and is
critical (clients are not served), a warning (one more fault may end service, or somebody is not
served), or a note. The exit code is 0 when there is none but notes, 1 with warnings, 5 when NATS
or all nodes cannot be reached or these credentials may ask none, and 7 when no leader serves.`

const doctorExamples = `  raftbus doctor
  raftbus doctor --context prod --prefix orders
  raftbus doctor --json | jq -r '.findings[] | select(.severity == "critical") | .remedy'`

// Severities of findings.
const (
	critical = "critical" // clients are not served
	warning  = "warning"  // they are, and one more fault may end that; or some are not
	note     = "note"     // good to know
)

var severities = []string{critical, warning, note}

// finding is one thing that is wrong. Codes are API.
type finding struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Node     string `json:"node,omitempty"`
	Cause    string `json:"cause"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
}

// diagnosis is what `raftbus doctor --json` prints.
type diagnosis struct {
	Prefix   string    `json:"prefix"`
	Healthy  bool      `json:"healthy"` // nothing but notes
	Leader   string    `json:"leader,omitempty"`
	Nodes    int       `json:"nodes"`  // members
	Answer   int       `json:"answer"` // members that answer
	Findings []finding `json:"findings"`
}

func newDoctor(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find what is wrong, and say the remedy",
		Long:    doctorHelp,
		Example: doctorExamples,
		Args:    noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, `print {"healthy":...,"findings":[{"severity":...,"code":...,"cause":...,"evidence":...,"remedy":...}]}`)
	return targeted(cmd, lookup, func(cmd *cobra.Command, target natsopt.Target, prefix string, _ []string) error {
		d, code, err := consult(cmd.Context(), target, prefix)
		if err != nil {
			return err
		}
		if err := d.print(cmd.OutOrStdout(), *asJSON); err != nil || code == exitOK {
			return err
		}
		return failf(code, "%s", d.summary())
	})
}

func (d *diagnosis) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(d)
	}
	leads := "no leader"
	if d.Leader != "" {
		leads = d.Leader + " leads"
	}
	fmt.Fprintf(w, "%s: %s, %d of %d nodes answer\n", d.Prefix, leads, d.Answer, d.Nodes)
	for _, f := range d.Findings {
		fmt.Fprintf(w, "\n%s: %s (%s)\n  evidence: %s\n  remedy:   %s\n", strings.ToUpper(f.Severity), f.Cause, f.Code, f.Evidence, f.Remedy)
	}
	if !d.Healthy {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nhealthy\n")
	return err
}

// summary is what is wrong in one line.
func (d *diagnosis) summary() string {
	var causes []string
	for _, f := range d.Findings {
		if f.Severity != note {
			causes = append(causes, f.Cause)
		}
	}
	return strings.Join(causes, "; ")
}

// ordered puts the worst first, and by node.
func ordered(findings []finding) []finding {
	slices.SortStableFunc(findings, func(a, b finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	return findings
}

// exitCodeOf is the code that says how bad it is.
func exitCodeOf(findings []finding) int {
	code := exitOK
	for _, f := range findings {
		switch f.Code {
		case codeNoNATS, codeNoNode, codeDenied:
			return exitUnavailable
		case codeNoLeader, codeNoQuorum, codeRival:
			code = exitNoLeader
		}
		if f.Severity != note && code == exitOK {
			code = exitError
		}
	}
	return code
}
