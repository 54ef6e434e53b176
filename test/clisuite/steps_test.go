package clisuite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// kvCommands is every command of `nats kv`, in the order in which they build on each other.
func kvCommands() []step {
	return slices.Concat(nothingThere(), buckets(), values(), deletes(), lists(), histories(), watches(), timesToLive(), edits(), limits(), removals())
}

func nothingThere() []step {
	return []step{
		cli("kv ls"),
		cli("kv ls -n"),
		cli("kv ls none"),
		cli("kv ls none -v"),
		cli("kv info none"),
		cli("kv status none"),
		cli("kv view none"),
		cli("kv get none k"),
		cli("kv get none k --revision 1"),
		cli("kv put none k v"),
		cli("kv create none k v"),
		cli("kv update none k v 1"),
		cli("kv del none k -f"),
		cli("kv purge none k -f"),
		cli("kv history none k"),
		cli("kv watch none"),
		cli("kv revert none k 1 --force"),
		cli("kv compact none -f"),
		cli("kv edit none --history 2"),
		cli("kv rm none -f"),
	}
}

func buckets() []step {
	return []step{
		cli("kv add app --history 5"),
		cli("kv info app"),
		cli("kv add app --history 5"),
		cli("kv add app --history 6"),
		cli("kv add app"),
		cli("kv add all --history 64 --ttl 1h --replicas 1 --max-value-size 2KB --max-bucket-size 1MB --compress --storage memory --metadata owner=ann --metadata team=a").
			with("--description").with("All that can be said, and more"),
		cli("kv info all"),
		cli("kv add marked --history 3 --marker-ttl 1h30m"),
		cli("kv info marked"),
		cli("kv add copied --republish-source > --republish-destination copies.>"),
		cli("kv info copied"),
		cli("kv add heads --republish-source > --republish-destination heads.> --republish-headers"),
		cli("kv info heads"),
		cli("kv add placed --tags ssd"),
		cli("kv info placed"),
		cli("kv add").with("bad name"),
		cli("kv add bad.name"),
		cli("kv add large --history 65"),
		cli("kv add short --ttl 10ms"),
		cli("kv add short --marker-ttl 10ms"),
		cli("kv add cyclic --republish-source > --republish-destination $KV.cyclic.>"),
		cli("kv add copies --replicas 6"),
		cli("kv add copies --replicas 3").butOurs("Bucket Name: copies", "three replicas are what it has"),
		cli("kv rm copies -f").butOurs("", "theirs was not made"),
		cli("kv add image --mirror app").butOurs("mirror is not supported by raftbus", "not offered"),
		cli("kv rm image -f").butOurs("", "ours was not made"),
		cli("kv add merged --source app").butOurs("sources are not supported by raftbus", "not offered"),
		cli("kv rm merged -f").butOurs("", "ours was not made"),
		cli("kv add app --history nonsense"),
		cli("kv rm copied -f"),
		cli("kv rm heads -f"),
		cli("kv rm placed -f"),
	}
}

func values() []step {
	return []step{
		cli("kv put app color blue"),
		cli("kv get app color"),
		cli("kv get app color --raw"),
		cli("kv put app color").reading("from stdin\nof two lines\n"),
		cli("kv get app color"),
		cli("kv get app color --raw"),
		cli("kv get app color --revision 1"),
		cli("kv get app color --revision 1 --raw"),
		cli("kv get app color --revision 2"),
		cli("kv get app color --revision 3"),
		cli("kv get app none"),
		cli("kv get app none --revision 1"),
		cli("kv put app empty").reading(""),
		cli("kv get app empty"),
		cli("kv get app empty --raw"),
		cli("kv put app binary").reading("\x00\x01\xff"),
		cli("kv get app binary"),
		cli("kv get app binary --raw"),
		cli("kv put app long").with(strings.Repeat("0123456789", 30)),
		cli("kv get app long"),
		cli("kv put app a.b.c three"),
		cli("kv put app a=b/c_d-e.F words"),
		cli("kv get app a=b/c_d-e.F"),
		cli("kv put app").with("bad key").with("v"),
		cli("kv put app .a v"),
		cli("kv put app a. v"),
		cli("kv put app a..b v"),
		cli("kv put app a.* v"),
		cli("kv put app a.> v"),
		cli("kv get app a.*"),
		cli("kv get app").with("bad key"),
		cli("kv create app color red"),
		cli("kv create app fresh red"),
		cli("kv create app fresh red"),
		cli("kv create app fresh2 red --ttl 1h"),
		cli("kv update app fresh orange 8"),
		cli("kv update app fresh yellow 9"),
		cli("kv update app fresh yellow 1"),
		cli("kv update app fresh yellow 0"),
		cli("kv update app none yellow 7"),
		cli("kv update app first yellow 0"),
		cli("kv update app fresh yellow nonsense"),
		cli("kv get app fresh"),
		cli("kv put all big").with(strings.Repeat("x", 2<<10)),
		cli("kv put all big").with(strings.Repeat("x", 2<<10+1)),
		cli("kv info app"),
		cli("kv info all"),
	}
}

func deletes() []step {
	return []step{
		cli("kv del app color -f"),
		cli("kv get app color"),
		cli("kv get app color --revision 1"),
		cli("kv del app color -f"),
		cli("kv del app none -f"),
		cli("kv del app fresh"),
		cli("kv create app color green"),
		cli("kv get app color"),
		cli("kv purge app color -f"),
		cli("kv get app color"),
		cli("kv get app color --revision 1"),
		cli("kv history app color"),
		cli("kv create app color violet"),
		cli("kv history app color"),
		cli("kv purge app never -f"),
		cli("kv purge app fresh"),
		cli("kv purge app first -f --ttl 1h"),
		cli("kv info app"),
	}
}

func lists() []step {
	return []step{
		cli("kv ls").inAnyOrder(),
		cli("kv ls -n"),
		cli("kv ls app"),
		cli("kv ls app -n"),
		cli("kv ls app -v"),
		cli("kv ls app -v --display-value"),
		cli("kv ls app a.b.*"),
		cli("kv ls app a.>"),
		cli("kv ls app color"),
		cli("kv ls app none.*"),
		cli("kv ls app none.* -n"),
		cli("kv ls app a..b"),
		cli("kv ls marked"),
		cli("kv ls marked -v"),
	}
}

func histories() []step {
	return []step{
		cli("kv history app none"),
		cli("kv history app first"),
		cli("kv history app a.>"),
		cli("kv history app long"),
		cli("kv history app binary"),
		cli("kv put app old 1"),
		cli("kv put app old 2"),
		cli("kv del app old -f"),
		cli("kv put app old 3"),
		cli("kv put app old 4"),
		cli("kv put app old 5"),
		cli("kv history app old"),
		cli("kv get app old --revision 19"),
		cli("kv revert app old 20 --force"),
		cli("kv revert app old 1000 --force"),
		cli("kv revert app long 5 --force"),
		cli("kv revert app none 5 --force"),
		cli("kv revert app old 20"),
		cli("kv history app old"),
		cli("kv add deep --history 64"),
		filling("deep", func(t testing.TB, ctx context.Context, kv jetstream.KeyValue) {
			for i := range 70 {
				_, err := kv.PutString(ctx, "k", fmt.Sprint("value ", i))
				require.NoError(t, err)
			}
		}),
		cli("kv history deep k"),
		cli("kv get deep k --revision 6"),
		cli("kv get deep k --revision 7"),
		cli("kv revert deep k 7 --force"),
		cli("kv info deep"),
	}
}

func watches() []step {
	writes := []step{
		cli("kv put seen b 3"), cli("kv del seen a -f"), cli("kv put seen c.d 4"), cli("kv purge seen b -f"), cli("kv put seen last 5"),
	}
	return []step{
		cli("kv add seen --history 10"),
		watching("kv watch seen", 0, writes, 5),
		watching("kv watch seen", 4, writes, 5),
		watching("kv watch seen --history", 7, writes, 5),
		watching("kv watch seen --history --no-deletes", 6, writes, 3),
		watching("kv watch seen --no-deletes", 2, writes, 3),
		watching("kv watch seen --updates", 0, writes, 5),
		watching("kv watch seen --updates --no-deletes", 0, writes, 3),
		watching("kv watch seen a", 1, writes, 1),
		watching("kv watch seen c.*", 1, writes, 1),
		watching("kv watch seen c.>", 1, writes, 1),
		watching("kv watch seen a --history", 10, writes, 1),
		watching("kv watch seen --revision 50", 5, writes, 5),
		watching("kv watch seen --revision 1000", 0, nil, 0),
		cli("kv watch seen").with("bad key"),
		cli("kv watch seen a..b"),
		cli("kv watch seen --history --updates"),
		cli("kv info seen"),
	}
}

// timesToLive has times that what is looked at in between outlives, however long a command takes.
func timesToLive() []step {
	return []step{
		cli("kv add brief --ttl 8s --history 2"),
		cli("kv info brief"),
		cli("kv put brief k v"),
		cli("kv get brief k --raw").untilIt("key not found"),
		cli("kv ls brief"),
		cli("kv history brief k"),
		cli("kv info brief").untilIt("Values Stored: 0"),
		cli("kv put brief k v2"),
		cli("kv get brief k"),
		cli("kv add temporary --marker-ttl 8s --history 3"),
		cli("kv info temporary"),
		cli("kv create temporary k v --ttl 8s"),
		cli("kv create temporary stays v"),
		cli("kv create temporary k w --ttl 8s"),
		cli("kv get temporary k"),
		cli("kv create temporary k2 w --ttl 500ms"),
		cli("kv history temporary k").untilIt("PURGE"),
		cli("kv get temporary k"),
		cli("kv history temporary k").untilIt("key not found"),
		cli("kv put temporary purged v"),
		cli("kv purge temporary purged -f --ttl 8s"),
		cli("kv history temporary purged"),
		cli("kv history temporary purged").untilIt("key not found"),
		cli("kv purge temporary purged -f --ttl 100ms"),
		cli("kv ls temporary"),
		cli("kv add ages --marker-ttl 8s --ttl 8s --history 3"),
		cli("kv put ages k v"),
		watching("kv watch ages --updates", 0, nil, 1),
		cli("kv add single --marker-ttl 10s"),
		cli("kv create single k v --ttl 8s"),
		cli("kv history single k").untilIt("PURGE"),
		cli("kv create single k again"),
		cli("kv history single k"),
		cli("kv rm ages -f"),
	}
}

func edits() []step {
	return []step{
		cli("kv add edited --history 5 --ttl 1h"),
		cli("kv put edited k 1"),
		cli("kv put edited k 2"),
		cli("kv put edited k 3"),
		cli("kv edit edited --history 2 --description").with("now with words"),
		cli("kv history edited k").untilIt("2"),
		cli("kv edit edited --ttl 2h --max-value-size 100 --max-bucket-size 10KB --compress --metadata a=b"),
		cli("kv info edited"),
		cli("kv edit edited"),
		cli("kv edit edited --marker-ttl 2s"),
		cli("kv edit edited --marker-ttl 3s"),
		cli("kv edit edited --marker-ttl 0s"),
		cli("kv edit edited --ttl 10ms"),
		cli("kv edit edited --republish-source k --republish-destination copies.k"),
		cli("kv edit edited --replicas 6"),
		cli("kv put edited k").with(strings.Repeat("x", 200)),
		cli("kv info edited"),
		cli("kv edit app --ttl 1h"),
		cli("kv edit app --ttl 0s"),
		cli("kv edit all --metadata other=b"),
	}
}

func limits() []step {
	return []step{
		cli("kv add full --max-bucket-size 1KB"),
		cli("kv put full k").with(strings.Repeat("x", 800)),
		cli("kv put full k").with(strings.Repeat("y", 800)),
		cli("kv put full l").with(strings.Repeat("x", 800)),
		cli("kv put full l v"),
		cli("kv del full k -f"),
		cli("kv put full k").with(strings.Repeat("x", 2000)),
		cli("kv info full"),
	}
}

func removals() []step {
	return []step{
		cli("kv compact app -f"),
		cli("kv history app color"),
		cli("kv compact app"),
		cli("kv compact seen -f"),
		cli("kv ls seen"),
		cli("kv info seen"),
		cli("kv rm app"),
		cli("kv rm app -f"),
		cli("kv rm app -f"),
		cli("kv get app color"),
		cli("kv add app"),
		cli("kv put app color new"),
		cli("kv get app color"),
		cli("kv history app color"),
		cli("kv revert app color 1 --force"),
		cli("kv put app color newer"),
		cli("kv get app color --revision 1"),
		cli("kv ls").inAnyOrder(),
		cli("kv del app -f"),
		cli("kv ls -n"),
	}
}
