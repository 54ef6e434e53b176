package replica

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
)

// A leader that found another cluster's does not serve beside it when an answer is lost, nor when none comes: that cluster is gone when looks that
// come through find nobody, one after the other (F14, F27).
func TestARivalIsNotGoneForALostAnswer(t *testing.T) {
	mine := Status{ID: "n1", Instance: "a", Cluster: "c", Role: "leader"}
	peer := Status{ID: "n2", Instance: "b", Cluster: "c", Role: "follower"}
	rival := Status{ID: "m1", Instance: "x", Cluster: "d", Role: "leader"}
	namesake := Status{ID: "n1", Instance: "y", Cluster: "d", Role: "follower"}
	for name, looks := range map[string][][]Status{
		"lost":             {{mine, rival}, {mine, peer}, {mine}, {mine, rival}, {mine}, {mine}},
		"none comes":       {{}, {}, {}, {}},
		"not its own":      {{peer}, {peer}, {peer, namesake}, {peer}},
		"not one by one":   {{mine}, {mine}, {peer}, {mine}, {mine}},
		"it leads no more": {{mine, namesake}, {mine, rival}, {mine}, {mine}},
	} {
		r := &Replica{logger: slog.New(slog.DiscardHandler)}
		text := "m1 leads too"
		r.rival.Store(&text)
		for _, others := range looks {
			r.noteRival(mine, others)
			require.NotNil(t, r.rival.Load(), name)
		}
		for range aloneLooks {
			r.noteRival(mine, []Status{mine, peer, namesake})
		}
		require.Nil(t, r.rival.Load(), name)
	}
}

// Where a node awaits who else leads under the prefix, nobody can guess from what the node has told before: whoever may have it publish there would answer as
// another cluster (Q9).
func TestNobodyGuessesWhereANodeAwaitsAnswers(t *testing.T) {
	t.Parallel() // it mostly waits
	r := ready(t, alone(t, nil))
	defer stop(t, r)
	asked, err := r.first().conn.NATS().SubscribeSync(busclient.StatusSubject("raftbus", busclient.AllNodes))
	require.NoError(t, err)
	known := map[string]bool{}
	for range 2 {
		_, err := r.others(t.Context(), 0)
		require.NoError(t, err)
		m, err := asked.NextMsg(patience)
		require.NoError(t, err)
		guess, inbox := len("XDyQrzMm4dSB"), m.Reply[strings.LastIndexByte(m.Reply, '.')+1:] // what all that nuid makes in one process has in common
		require.Greater(t, len(inbox), guess)
		require.False(t, known[inbox[:guess]])
		known[inbox[:guess]] = true
	}
}

// A node whose id another process has was mistyped: nobody is to replace the one that runs (F13, F23).
func TestWhoTakesTheIDOfANodeThatRunsHasLostNothing(t *testing.T) {
	r := &Replica{o: Options{ID: "n1", Members: []string{"n1"}}}
	conf := &Configuration{Voters: []Member{{ID: "n1", Instance: "old"}, {ID: "n2", Instance: "b"}}}
	mine := Status{ID: "n1", Instance: "new", FirstBoot: "gathering"}
	n2 := Status{ID: "n2", Instance: "b", Cluster: "c", Configuration: conf}
	runs := Status{ID: "n1", Instance: "old", Cluster: "c", Configuration: conf}
	for _, others := range [][]Status{{mine, n2, runs}, {runs, n2, mine}} {
		err := r.lostFolder(mine, others)
		require.ErrorIs(t, err, busclient.ErrDuplicateNode)
		require.NotContains(t, err.Error(), "replace")
	}
	require.ErrorIs(t, r.lostFolder(mine, []Status{mine, n2}), ErrLostFolder)
	require.NoError(t, r.lostFolder(mine, []Status{mine}))
}

// A node that has a cluster, as one that was recovered while others of the old one run, is told which is which, and to stop those, and not to join.
func TestWhoHasAClusterIsNotToldToJoinAnother(t *testing.T) {
	recovered := Status{ID: "n1", Cluster: "c2", Members: []string{"n1"}}
	old := Status{ID: "n2", Cluster: "c1", Members: []string{"n1", "n2", "n3"}}
	err := foreignError("raftbus", recovered, old)
	require.ErrorIs(t, err, ErrForeignCluster)
	require.ErrorContains(t, err, "of cluster c1 with the members n1,n2,n3; this node is of cluster c2 with the members n1: stop n2 and")
	require.NotContains(t, err.Error(), "start it with --join")
	require.NotContains(t, err.Error(), "--members")

	founds := Status{ID: "m1", Members: []string{"m1"}}
	require.ErrorContains(t, foreignError("raftbus", founds, old), "this node was given m1: start one of them with another --prefix")
}
