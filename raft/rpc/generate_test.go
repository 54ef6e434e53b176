package rpc_test

// Arbitrary messages, within the bounds that readers keep to.

import (
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/rpc"
)

var (
	nodeIDs   = rapid.Map(rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`), func(s string) rpc.NodeID { return rpc.NodeID(s) })
	noNodeIDs = rapid.OneOf(rapid.Just(rpc.NodeID("")), nodeIDs)
	sixteens  = rapid.OneOf(rapid.Just([16]byte{}), rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) [16]byte { return [16]byte(b) }))
	indexes   = rapid.Map(rapid.Uint64(), func(n uint64) rpc.Index { return rpc.Index(n) })
	terms     = rapid.Map(rapid.Uint64(), func(n uint64) rpc.Term { return rpc.Term(n) })

	headers = rapid.Custom(func(t *rapid.T) *rpc.Header {
		return &rpc.Header{
			Cluster:  sixteens.Draw(t, "cluster"),
			From:     nodeIDs.Draw(t, "from"),
			To:       nodeIDs.Draw(t, "to"),
			Instance: sixteens.Draw(t, "instance"),
			Boot:     rpc.BootEpoch(rapid.Uint64().Draw(t, "boot")),
			Term:     terms.Draw(t, "term"),
			Round:    rapid.Uint64().Draw(t, "round"),

			Addressees: nilIfEmpty(rapid.SliceOfN(nodeIDs, 0, 6).Draw(t, "addressees")),
		}
	})

	members = rapid.Custom(func(t *rapid.T) rpc.Member {
		return rpc.Member{ID: nodeIDs.Draw(t, "id"), Instance: sixteens.Draw(t, "instance")}
	})
	starts = rapid.Custom(func(t *rapid.T) rpc.Start {
		who := members.Draw(t, "who")
		return rpc.Start{ID: who.ID, Instance: who.Instance, Boot: rpc.BootEpoch(rapid.Uint64().Draw(t, "boot"))}
	})
	tables = rapid.Map(rapid.SliceOfNDistinct(members, 0, 8, func(m rpc.Member) rpc.NodeID { return m.ID }), nilIfEmpty)

	// configurations are drawn from one set of members, so that nobody is two instances, or voter and learner.
	configurations = rapid.Custom(func(t *rapid.T) *rpc.Configuration {
		c := &rpc.Configuration{Cluster: sixteens.Draw(t, "cluster"), Index: indexes.Draw(t, "index")}
		for _, m := range tables.Draw(t, "members") {
			switch rapid.IntRange(0, 3).Draw(t, "part") {
			case 0:
				c.Voters = append(c.Voters, m)
			case 1:
				c.Outgoing = append(c.Outgoing, m)
			case 2:
				c.Voters, c.Outgoing = append(c.Voters, m), append(c.Outgoing, m)
			default:
				c.Learners = append(c.Learners, m)
			}
		}
		return c
	})
	noConfigurations = rapid.OneOf(rapid.Just((*rpc.Configuration)(nil)), configurations)

	entries = rapid.Custom(func(t *rapid.T) rpc.Entry {
		return rpc.Entry{
			Index: max(1, indexes.Draw(t, "index")),
			Term:  max(1, terms.Draw(t, "term")),
			Kind:  rpc.EntryKind(rapid.Uint8().Draw(t, "kind")),
			Time:  rapid.Int64().Draw(t, "time"),
			Data:  nilIfEmpty(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")),
		}
	})

	appendLogs = rapid.Custom(func(t *rapid.T) *rpc.AppendLogCommand {
		batch := nilIfEmpty(rapid.SliceOfN(entries, 0, 8).Draw(t, "entries"))
		prev := rpc.EntryID{
			Term:  rpc.Term(rapid.Uint64Range(0, 1<<62).Draw(t, "prev term")),
			Index: rpc.Index(rapid.Uint64Range(0, 1<<62).Draw(t, "prev index")),
		}
		last := max(1, prev.Term)
		for i := range batch {
			last = max(last, batch[i].Term)
			batch[i].Term, batch[i].Index = last, prev.Index+1+rpc.Index(i)
		}
		return &rpc.AppendLogCommand{Prev: prev, Commit: indexes.Draw(t, "commit"), Entries: batch}
	})

	chunks = rapid.Custom(func(t *rapid.T) *rpc.InstallSnapshotCommand {
		c := &rpc.InstallSnapshotCommand{
			Snapshot: rpc.EntryID{Term: terms.Draw(t, "term"), Index: max(1, indexes.Draw(t, "index"))},
			Transfer: max(1, rapid.Uint64().Draw(t, "transfer")), Offset: rapid.Uint64().Draw(t, "offset"),
			Data: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "data"), Sum: rapid.Uint64().Draw(t, "sum"),
			Final: rapid.Bool().Draw(t, "final"),
		}
		if c.Final {
			c.Digest = rapid.SliceOfN(rapid.Byte(), rpc.DigestBytes, rpc.DigestBytes).Draw(t, "digest")
			c.Configuration = configurations.Draw(t, "configuration")
		}
		return c
	})

	bodies = rapid.OneOf(
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.HeartbeatCommand{Commit: indexes.Draw(t, "commit"), Read: rapid.Uint64().Draw(t, "read")}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.HeartbeatReturn{Read: rapid.Uint64().Draw(t, "read"), Last: indexes.Draw(t, "last")}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body { return appendLogs.Draw(t, "append log") }),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.AppendLogReturn{
				Prev: indexes.Draw(t, "prev"), Accepted: rapid.Bool().Draw(t, "accepted"), Match: indexes.Draw(t, "match"),
				Hint:    rpc.EntryID{Term: terms.Draw(t, "hint term"), Index: indexes.Draw(t, "hint index")},
				Damaged: rapid.Bool().Draw(t, "damaged"),
			}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body { return &rpc.CommitLogCommand{Commit: indexes.Draw(t, "commit")} }),
		rapid.Custom(func(t *rapid.T) rpc.Body { return &rpc.CommitLogReturn{Commit: indexes.Draw(t, "commit")} }),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.RequestVoteCommand{
				Last:    rpc.EntryID{Term: terms.Draw(t, "last term"), Index: indexes.Draw(t, "last index")},
				PreVote: rapid.Bool().Draw(t, "pre-vote"), Early: rapid.Bool().Draw(t, "early"), Transfer: rapid.Bool().Draw(t, "transfer"),
			}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.RequestVoteReturn{Granted: rapid.Bool().Draw(t, "granted"), PreVote: rapid.Bool().Draw(t, "pre-vote")}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body { return chunks.Draw(t, "chunk") }),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.InstallSnapshotReturn{
				Snapshot: rpc.EntryID{Term: terms.Draw(t, "term"), Index: indexes.Draw(t, "index")}, Transfer: rapid.Uint64().Draw(t, "transfer"),
				Next: rapid.Uint64().Draw(t, "next"), Installed: rapid.Bool().Draw(t, "installed"), Restored: rapid.Uint64().Draw(t, "restored"),
			}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.TimeoutNowCommand{Last: rpc.EntryID{Term: terms.Draw(t, "last term"), Index: indexes.Draw(t, "last index")}}
		}),
		rapid.Just(rpc.Body(&rpc.TimeoutNowReturn{})),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.PingCommand{
				SenderID: noNodeIDs.Draw(t, "sender"), Timestamp: rapid.Int64().Draw(t, "timestamp"), WantTable: rapid.Bool().Draw(t, "want table"),
				WantStarts: rapid.Bool().Draw(t, "want starts"), Known: indexes.Draw(t, "known"), Start: rpc.BootEpoch(rapid.Uint64().Draw(t, "start")), Configuration: noConfigurations.Draw(t, "configuration"),
			}
		}),
		rapid.Custom(func(t *rapid.T) rpc.Body {
			return &rpc.PingReturn{
				SenderID: noNodeIDs.Draw(t, "sender"), Timestamp: rapid.Int64().Draw(t, "timestamp"), Leader: noNodeIDs.Draw(t, "leader"),
				Forgot: rapid.Bool().Draw(t, "forgot"), Lacks: rapid.Bool().Draw(t, "lacks"), NoRoom: rapid.Bool().Draw(t, "no room"), Start: rpc.BootEpoch(rapid.Uint64().Draw(t, "start")),
				Starts:        nilIfEmpty(rapid.SliceOfN(starts, 0, rpc.MaxMembers).Draw(t, "starts")),
				Multicast:     rapid.Bool().Draw(t, "multicast"),
				Configuration: noConfigurations.Draw(t, "configuration"), Refusal: rapid.StringN(0, -1, rpc.MaxRefusalBytes).Draw(t, "refusal"),
			}
		}),
	)
)

// nilIfEmpty is how an empty list comes back from the wire.
func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}
