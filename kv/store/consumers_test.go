package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestConsumers(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		add := func(name string, mode command.AddMode, config string) command.Command {
			return command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: name, Config: []byte(config), Deliver: "_INBOX.x", Host: "n1", Boot: 7, Mode: mode}}
		}
		require.Equal(t, Result{Code: NoBucket}, f.one(add("c", command.AddOrUpdate, "{}")))
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
		require.Equal(t, Result{Code: NoConsumer}, f.one(add("c", command.UpdateOnly, "{}")))
		require.Equal(t, Result{Sequence: 1}, f.one(add("c", command.AddOnly, "{}")))
		f.one(put("app", "k", "w"))
		require.Equal(t, Result{Again: true, Sequence: 1}, f.one(add("c", command.AddOnly, "{}")))
		require.Equal(t, Result{Code: ConsumerExists}, f.one(add("c", command.AddOnly, "{1}")))
		require.Equal(t, Result{Again: true, Sequence: 1}, f.one(add("c", command.AddOrUpdate, "{2}")))
		require.Equal(t, Result{Sequence: 2}, f.one(add("d", command.AddOrUpdate, "{}")))
		want := Consumer{
			Bucket: "app", Incarnation: 1, Name: "c", Config: []byte("{2}"), Deliver: "_INBOX.x", Host: "n1", Boot: 7,
			Generation: 1, Added: 5, Changed: 9, Created: 5000, Start: 1,
		}
		get := func(name string) Consumer {
			c, err := f.store.Consumer("app", name)
			require.NoError(t, err)
			return c
		}
		require.Equal(t, want, get("c"))
		move := func(generation uint64) command.Command {
			return command.Command{MoveConsumers: &command.MoveConsumers{Moves: []command.ConsumerMove{
				{Bucket: "app", Name: "c", Added: 5, Generation: generation, Host: "n2", Boot: 8}, {Bucket: "app", Name: "none", Generation: 1},
			}}}
		}
		require.Equal(t, []Result{{Count: 1}, {}}, f.apply(move(1), move(1)), "two leaders' moves: one is done")
		want.Generation, want.Host, want.Boot, want.Moved, want.MovedAt = 2, "n2", 8, 2, 11_000
		f.close()
		f = open(t, d)
		require.Equal(t, want, get("c"))
		names, err := f.store.ConsumerNames("app", "c", 10)
		require.NoError(t, err)
		require.Equal(t, []string{"d"}, names.Names)
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		require.EqualValues(t, 2, info.Consumers)

		remove := func(name string, added uint64) Result {
			return f.one(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: name, Added: rpc.Index(added)}})
		}
		require.Equal(t, Result{Code: NoConsumer}, remove("c", 4))
		require.Equal(t, Result{}, remove("c", 5))
		require.Equal(t, Result{Code: NoConsumer}, remove("c", 0))
		_, err = f.store.Consumer("app", "c")
		require.ErrorIs(t, err, NoConsumer)
		_, err = f.store.Consumer("none", "c")
		require.ErrorIs(t, err, NoBucket)
		f.one(removeBucket("app"))
		require.Equal(t, 1, records(t, f.store), "a bucket takes its consumers with it")
		f.close()
	})
}

// From feature level 3 on it is kept when a consumer was changed: members of an older release would not keep it.
func TestItIsKnownWhenAConsumerWasChanged(t *testing.T) { // F28
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		changedAt := func() int64 {
			f.one(command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: "c"}})
			c, err := f.store.Consumer("app", "c")
			require.NoError(t, err)
			return c.ChangedAt
		}
		f.apply(addBucket("app", command.Settings{}))
		require.Zero(t, changedAt(), "it is made")
		require.Zero(t, changedAt())
		f.one(command.Command{Raise: &command.Raise{Version: 3}})
		require.EqualValues(t, 5_000, changedAt())
		f.close()
	})
}

// Who was told that it has changed its consumer keeps it: that it was idle was said of what it was before.
func TestARemovalIsOfAConfiguration(t *testing.T) { // 7.2
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		add := command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: "c"}}
		remove := func(changed rpc.Index) Code {
			return f.one(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: "c", Added: 3, Changed: changed}}).Code
		}
		f.apply(command.Command{Raise: &command.Raise{Version: 3}}, addBucket("app", command.Settings{}), add, add)
		require.Equal(t, NoConsumer, remove(3))
		require.Equal(t, Done, remove(4))
		f.close()
	})
}

func TestABucketHasABoundedNumberOfConsumers(t *testing.T) {
	t.Parallel()
	f := open(t, newMemory())
	f.one(addBucket("app", command.Settings{}))
	var batch []command.Command
	for i := range consumersMax + 1 {
		batch = append(batch, command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: name(i)}})
	}
	results := f.apply(batch...)
	require.Equal(t, Result{}, results[consumersMax-1])
	require.Equal(t, Result{Code: TooManyConsumers, Limit: consumersMax}, results[consumersMax])
	seen := 0
	at, err := f.store.EachConsumer(func(Consumer) bool { seen++; return seen < 10 })
	require.NoError(t, err)
	require.Equal(t, f.store.Applied().Index, at)
	require.Equal(t, 10, seen, "no more than was wanted")
	f.close()
}
