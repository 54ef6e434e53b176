package main

// The doctor command: what is wrong with a cluster, and what to do. Package doctor looks and judges; here is what is printed, and the exit code.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/doctor"
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

// codesOfVerdicts are the exit codes that say how bad it is.
var codesOfVerdicts = map[doctor.Verdict]int{doctor.Ailing: exitError, doctor.Unserved: exitNoLeader, doctor.Unreached: exitUnavailable}

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
		d, err := consult(cmd.Context(), target, prefix)
		if err != nil {
			return err
		}
		if err := printDiagnosis(cmd.OutOrStdout(), d, *asJSON); err != nil || d.Healthy {
			return err
		}
		return failf(codesOfVerdicts[d.Verdict()], "%s", d.Summary())
	})
}

// consult has a cluster looked at. That NATS cannot be reached is a diagnosis too.
func consult(ctx context.Context, target natsopt.Target, prefix string) (*doctor.Diagnosis, error) {
	conn, err := connect(target, "doctor")
	if err != nil {
		return doctor.WithoutNATS(prefix, oneLine(err), err), nil
	}
	defer conn.Close()
	return doctor.Examine(ctx, conn, prefix)
}

func printDiagnosis(w io.Writer, d *doctor.Diagnosis, asJSON bool) error {
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
