package members

// The end of an upgrade, from which on there is no way back.

import (
	"context"
	"errors"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// Raise asks the leader to open the cluster, again while nobody leads or the outcome is unknown, for so long: it may be done twice.
func (a *Administrator) Raise(ctx context.Context, patience time.Duration) (raised admin.Raised, err error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	doubt := false // a sending may have been done
	for waiting.Err() == nil {
		var f *admin.Failure
		err = a.ask(waiting, admin.OpRaise, nil, &raised, a.Timeout)
		switch answered := errors.As(err, &f); {
		case doubt && (f.OfKind(admin.UnknownOp) || f.OfKind(admin.NotKnown)): // another leader knows less of the members: what the one before did stands (C5)
		case f.OfKind(admin.UnknownOp):
			return raised, Refused.says("the leader runs a release that knows nothing of this: upgrade all members first, see 'raftbus upgrade status'")
		case f.OfKind(admin.NotKnown):
			return raised, Refused.says("%w", f)
		case err == nil, !mayAskAgain(err) && !f.OfKind(admin.OutcomeUnknown) && !f.OfKind(admin.Busy) && waiting.Err() == nil:
			return raised, err
		case f.OfKind(admin.OutcomeUnknown), !answered && !errors.Is(err, errNobodyLeads):
			doubt = true
		}
		select {
		case <-time.After(native.AskAgain):
		case <-waiting.Done():
		}
	}
	switch {
	case doubt: // that nobody answers by now proves nothing
		return raised, Timeout.says("whether it was done is unknown: see 'raftbus upgrade status', and give the same command again")
	case ctx.Err() != nil:
		return raised, ctx.Err()
	}
	return raised, a.noLeader(patience)
}
