package replica

// Which commands the members know, and the opening of the cluster to new ones. It is an administrator's decision, or that of the first leader of a new cluster
// (founding.go): nothing here opens by itself.

import (
	"context"
	"fmt"
	"runtime"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// VersionStatus says how new the commands are that a node applies (F28).
type VersionStatus struct {
	Knows uint64 `json:"knows"` // the newest that its release applies
	Open  uint64 `json:"open"`  // what the cluster was raised to: no member can go back to a release that does not know it
}

func (r *Replica) versions() VersionStatus {
	return VersionStatus{Knows: r.store.CommandVersion(), Open: r.store.Open()}
}

func goroutines() int { return runtime.NumGoroutine() }

// raise opens the cluster to the newest version of commands that a member knows, for an administrator, and returns what it is open to then:
// what needs it can be done from then on, and no member can go back to a release that does not know it. It is refused, by an error that is
// admin.ErrNotKnown, unless all members know it and answer. To open what is open is no error, whoever answers. Any other error leaves open what was done.
func (r *Replica) raise(ctx context.Context) (open uint64, err error) {
	s := r.node.Status()
	version, lacks := newest(r.o.ID, r.store.CommandVersion(), s.Configuration.Members(), s.Links)
	switch open = r.store.Open(); {
	case open >= version: // who is silent runs no release that does not know it
		return open, nil
	case lacks != "":
		return 0, fmt.Errorf("%w: %s", admin.ErrNotKnown, lacks)
	}
	r.logger.Info("an administrator raises the feature level: from now on no member can go back to a release that does not know it", "feature_level", version)
	return version, r.open(ctx, version)
}

// open has a Raise logged, and waits until it is applied. Any error but those of Propose leaves open whether it will be.
func (r *Replica) open(ctx context.Context, version uint64) error {
	raise, done := command.Command{Raise: &command.Raise{Version: version}}, make(chan any, 1)
	if err := r.node.Propose(raise.Encode(), func(result any, _ rpc.EntryID) { done <- result }); err != nil {
		return err
	}
	select {
	case result := <-done:
		switch result := result.(type) {
		case store.Result:
			return nil
		case error:
			return result // it was not logged
		}
		return node.ErrUnknown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newest is the newest version of commands that a member knows, as they say when they are pinged, and which of them does not know it; empty:
// all do. One that does not answer now may be of any release.
func newest(self string, own uint64, members []rpc.Member, links []busclient.LinkStatus) (version uint64, lacks string) {
	knows := map[string]uint64{self: own}
	for _, l := range links {
		if l.State == "connected" {
			knows[string(l.Peer)] = max(l.Commands, command.Base)
		}
	}
	for _, m := range members {
		version = max(version, knows[string(m.ID)])
	}
	for _, m := range members {
		switch known := knows[string(m.ID)]; {
		case known == 0:
			return version, fmt.Sprintf("member %s does not answer: start it, or remove it", m.ID)
		case known < version:
			return version, fmt.Sprintf("member %s knows feature level %d, and others know %d: upgrade it; if it was started just now, try again", m.ID, known, version)
		}
	}
	return version, ""
}
