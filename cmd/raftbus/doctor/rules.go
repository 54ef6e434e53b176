package doctor

// The rules: from facts to findings. Each looks at one thing. None asks anybody, or looks at a clock.

import (
	"crypto/tls"
	"errors"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// Codes of findings that decide the verdict.
const (
	codeNoNATS   = "nats-unreachable"
	codeDenied   = "nats-denied"
	codeNoNode   = "no-node-answers"
	codeNoQuorum = "no-quorum"
	codeNoLeader = "no-leader"
	codeFounding = "first-boot"
	codeRival    = "rival-cluster"
)

func noNATS(evidence string, err error) Finding {
	f := Finding{
		Severity: critical, Code: codeNoNATS, Cause: "NATS, which all nodes and clients need, cannot be reached or refuses these credentials", Evidence: evidence,
		Remedy: "start the NATS server, or give its address with --nats and credentials that it takes; nodes come back by themselves",
	}
	var unbelieved *tls.CertificateVerificationError
	if errors.As(err, &unbelieved) {
		f.Remedy = natsopt.CertificateRemedy
	}
	return f
}

// findings are all that the rules find.
func (f *facts) findings() []Finding {
	switch {
	case f.unheard:
		return []Finding{{
			Severity: critical, Code: codeDenied, Cause: "NATS lets these credentials hear no node's answer", Evidence: f.refused.Error(), Remedy: natsopt.InboxRemedy,
		}}
	case f.refused != nil:
		return []Finding{{
			Severity: critical, Code: codeDenied, Cause: "NATS lets these credentials ask no node", Evidence: f.refused.Error(),
			Remedy: "use credentials that may publish on " + f.prefix + ".node.>, those of an administrator or a monitor",
		}}
	case len(f.Nodes) == 0:
		return []Finding{{
			Severity: critical, Code: codeNoNode, Cause: "no node answers",
			Evidence: "nobody answers on " + busclient.StatusSubject(f.prefix, busclient.AllNodes) + " at " + f.nats,
			Remedy:   "start the nodes; or check --prefix, and that nodes and this command use the same NATS account",
		}}
	}
	if other := f.otherMembers(); len(other) > 0 {
		return other // all else that is seen follows from it
	}
	all := []Finding{} // in JSON a list, also if it is empty
	for _, rule := range []func(*facts) []Finding{
		(*facts).service, (*facts).absent, (*facts).founding, (*facts).refusals, (*facts).links, (*facts).disks, (*facts).lags, (*facts).overload,
		(*facts).clocks, (*facts).versions, (*facts).apis, (*facts).upgrade, (*facts).connections, (*facts).payload, (*facts).leaves, (*facts).accounts, (*facts).figures, (*facts).bus, (*facts).comings,
	} {
		all = append(all, rule(f)...)
	}
	return all
}

func severityIf(now bool) string {
	if now {
		return warning
	}
	return note
}
