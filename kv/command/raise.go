package command

// How what is new comes into a cluster of members that are upgraded one after the other (F28). A command says the lowest version that may
// apply it. The store remembers up to which version it was raised; what needs a later one waits for a Raise, and that for all members to know
// it and for an administrator to want it. From then on an older build finds the Raise in the log, or a store of a format that it does not know:
// it stops, and never does something else than the others.

import (
	"fmt"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Raise opens the cluster to commands up to a version. One that was open before changes nothing.
type Raise struct {
	Version uint64
}

func (r *Raise) fields(w *wire.Walk) {
	if wire.Number(w, 1, &r.Version) && r.Version > Version {
		w.Fail(fmt.Errorf("%w (it opens version %d, this is %d)", ErrUnknown, r.Version, Version))
	}
}

// Needs is the version that an encoded command says it needs, or Base if that is enough.
func Needs(data []byte) uint64 {
	if len(data) < 2 || wire.Tag(data[0]) != tagVersion {
		return Base
	}
	return max(Base, uint64(data[1])) // one byte: no release has a version of more than 127
}
