package watch

// Which consumers a leader removes, of those that their hosts call idle.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A client has changed its consumer, and was answered: what its host said of it before is of another.
func TestAConsumerThatWasChangedIsNotIdle(t *testing.T) { // 7.2
	o := newOffice("n1", "n2")
	idle := Idle{Ref: Ref{testBucket, "a"}, Created: 5, Changed: 5}
	changed := Record{Ref: idle.Ref, Bucket: "b", Created: 5, Changed: 6, Host: "n1", Boot: 1}
	o.put("a", "n1", 1, 0)
	o.Lead(false) // whoever was to remove it is gone
	o.Hear(o.now, Announcement{Node: "n1", Boot: 1, Able: true, Applied: o.index, Idle: []Idle{idle}})
	o.Apply([]Change{Placed{changed}})
	o.Lead(true)
	require.Empty(t, o.Tick(o.now).Removals)
	require.Empty(t, o.pass(announced, idle).Removals, "it has not heard of the change yet")
	idle.Changed = 6
	require.Equal(t, []Removal{{idle, "b"}}, o.pass(announced, idle).Removals)
	o.Forget(idle.Ref)
	idle.Changed = 0
	removals := o.pass(announced, idle).Removals
	require.Len(t, removals, 1, "a release that does not say which")
	require.EqualValues(t, 6, removals[0].Changed, "the one that is known here")
}

// Who has a consumer no more does not know how it is.
func TestOnlyItsHostSaysThatAConsumerIsIdle(t *testing.T) { // 7.2
	o := newOffice("n1", "n2")
	idle := Idle{Ref: Ref{testBucket, "a"}, Created: 5, Changed: 5}
	o.put("a", "n2", 1, 1)
	delete(o.boots, "n2")
	o.Lead(false)
	o.Hear(o.now, Announcement{Node: "n2", Boot: 1, Able: true, Applied: o.index, Idle: []Idle{idle}})
	o.pass(second)
	o.Lead(true)
	p := o.Tick(o.now)
	require.Empty(t, p.Removals, "it is lost: somebody may listen since")
	require.Len(t, p.Moves, 1)
	o.put("a", "n1", 1, 2)
	o.Hear(o.now, Announcement{Node: "n2", Boot: 1, Able: true, Applied: o.index, Idle: []Idle{idle}})
	require.Empty(t, o.Tick(o.now).Removals, "it was moved")
	require.Len(t, o.pass(announced, idle).Removals, 1)
}
