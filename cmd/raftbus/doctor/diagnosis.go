// Package doctor looks at a cluster over NATS, and says what is wrong with it, by what that shows, and what to do. asks.go asks and judges nothing;
// the rules judge and ask nobody. It changes nothing, and prints nothing: that, and the exit code, is for who calls it.
package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
)

// Severities of findings.
const (
	critical = "critical" // clients are not served
	warning  = "warning"  // they are, and one more fault may end that; or some are not
	note     = "note"     // good to know
)

var severities = []string{critical, warning, note}

// Finding is one thing that is wrong. Codes are API.
type Finding struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Node     string `json:"node,omitempty"`
	Cause    string `json:"cause"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
}

// Diagnosis is what `raftbus doctor --json` prints.
type Diagnosis struct {
	Prefix   string    `json:"prefix"`
	Healthy  bool      `json:"healthy"` // nothing but notes
	Leader   string    `json:"leader,omitempty"`
	Nodes    int       `json:"nodes"`  // members
	Answer   int       `json:"answer"` // members that answer
	Findings []Finding `json:"findings"`
}

// Verdict is how bad it is.
type Verdict int

// The verdicts, from good to bad.
const (
	Healthy   Verdict = iota // nothing but notes
	Ailing                   // warnings
	Unserved                 // no leader serves
	Unreached                // NATS or all nodes cannot be reached, or NATS lets these credentials ask none
)

// Examine looks at a cluster by a connection. What NATS refuses is looked for: the connection's error handler need not tell it.
func Examine(ctx context.Context, conn *nats.Conn, prefix string) (*Diagnosis, error) {
	f, err := gather(ctx, conn, prefix)
	switch {
	case conn.IsClosed(): // what was seen until then proves nothing
		return WithoutNATS(prefix, "the connection to NATS was lost while the nodes were asked", nil), nil
	case err != nil:
		return nil, err
	}
	return f.diagnosis(), nil
}

// WithoutNATS is what is wrong where NATS gives no connection, by what shows that, and the error if it is one.
func WithoutNATS(prefix, evidence string, err error) *Diagnosis {
	return &Diagnosis{Prefix: prefix, Findings: []Finding{noNATS(evidence, err)}}
}

func (f *facts) diagnosis() *Diagnosis {
	d := &Diagnosis{Prefix: f.prefix, Nodes: len(f.Members()), Findings: ordered(f.findings())}
	d.Answer = d.Nodes - len(f.Unreachable)
	if leader := f.Leader(); leader != nil {
		d.Leader = leader.ID
	}
	d.Healthy = d.Verdict() == Healthy
	return d
}

// ordered puts the worst first, and leaves what is as bad in the order of the rules: the first is what a summary names.
func ordered(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	return findings
}

// Verdict is that of the worst finding.
func (d *Diagnosis) Verdict() Verdict {
	worst := Healthy
	for i := range d.Findings {
		worst = max(worst, d.Findings[i].verdict())
	}
	return worst
}

func (f *Finding) verdict() Verdict {
	switch f.Code {
	case codeNoNATS, codeNoNode, codeDenied:
		return Unreached
	case codeNoLeader, codeNoQuorum, codeFounding, codeRival:
		return Unserved
	}
	if f.Severity == note {
		return Healthy
	}
	return Ailing
}

// Summary is the worst that is wrong, and how much more is.
func (d *Diagnosis) Summary() string {
	count := len(slices.DeleteFunc(slices.Clone(d.Findings), func(f Finding) bool { return f.Severity == note }))
	switch count {
	case 0:
		return ""
	case 1:
		return d.Findings[0].Cause
	case 2:
		return d.Findings[0].Cause + "; and 1 more finding"
	}
	return fmt.Sprintf("%s; and %d more findings", d.Findings[0].Cause, count-1)
}
