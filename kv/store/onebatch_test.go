package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
)

// counted is an engine that counts commits.
type counted struct {
	engine.Engine
	commits *int
}

func (c counted) Open() (engine.DB, error) {
	db, err := c.Engine.Open()
	return countedDB{db, c.commits}, err
}

type countedDB struct {
	engine.DB
	commits *int
}

func (c countedDB) NewBatch() engine.Batch { return countedBatch{c.DB.NewBatch(), c.commits} }

type countedBatch struct {
	engine.Batch
	commits *int
}

func (c countedBatch) Commit() error {
	*c.commits++
	return c.Batch.Commit()
}

// All entries of one Apply, and the mark of the last of them, are one batch: a crash between two would leave one without the other
// (K56), and it can fall there only by the rarest chance.
func TestApplyIsOneBatch(t *testing.T) {
	commits := 0
	s, err := Open(Options{Engine: counted{memengine.New(), &commits}, ManualFlush: true})
	require.NoError(t, err)
	feeder{t: t, store: s}.apply(
		command.Command{AddBucket: &command.AddBucket{Name: "b"}},
		command.Command{Write: &command.Write{Bucket: "b", Key: "k", Value: []byte("v")}},
		command.Command{Write: &command.Write{Bucket: "b", Key: "l", Value: []byte("w")}},
	)
	require.Equal(t, 1, commits)
	require.NoError(t, s.Close())
}
