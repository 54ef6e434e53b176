package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const announced = int64(AnnounceEvery)

// office is a placer, and the nodes that announce themselves to it.
type office struct {
	*Placer
	now   int64
	boots map[string]uint64 // of those that live
	able  map[string]bool
	lags  map[string]uint64 // what a node that does not follow has applied
	index uint64
	deaf  bool // what is announced does not arrive, not even where it comes from
}

func newOffice(names ...string) *office {
	o := &office{Placer: NewPlacer("n1"), now: second, boots: map[string]uint64{}, able: map[string]bool{}, lags: map[string]uint64{}}
	for _, name := range names {
		o.boots[name], o.able[name] = 1, true
	}
	o.pass(second)
	o.Lead(true)
	return o
}

// pass lets time pass, in which all that live announce themselves, and returns what was proposed.
func (o *office) pass(d int64, idle ...Idle) (all Proposals) {
	for until := o.now + d; o.now < until; o.now += announced {
		for _, name := range []string{"n1", "n2", "n3"} {
			if boot, lives := o.boots[name]; lives && (name == o.self || !o.deaf) {
				a := Announcement{Node: name, Boot: boot, Able: o.able[name], Idle: idle}
				if a.Applied = o.index; o.lags[name] > 0 {
					a.Applied = o.lags[name]
				}
				o.Hear(o.now, a)
			}
		}
		if !o.deaf {
			o.Echo(o.now)
		}
		o.index++
		p := o.Tick(o.now)
		all.Moves, all.Removals = append(all.Moves, p.Moves...), append(all.Removals, p.Removals...)
	}
	return all
}

func (o *office) put(name, host string, boot, generation uint64) {
	o.Apply([]Change{Placed{Record{Ref: Ref{testBucket, name}, Bucket: "b", Created: 5, Changed: 5, Host: host, Boot: boot, Generation: generation}}})
}

func TestConsumersAreSpreadOverTheNodesThatCanServe(t *testing.T) {
	o := newOffice("n1", "n2", "n3")
	require.Equal(t, 3, o.Able(o.now))
	took := map[string]int{}
	for range 30 {
		name, boot, ok := o.Choose(o.now, false)
		require.True(t, ok)
		require.Equal(t, uint64(1), boot)
		took[name]++
	}
	require.Equal(t, map[string]int{"n1": 10, "n2": 10, "n3": 10}, took)
	o.able["n2"] = false
	delete(o.boots, "n3")
	o.pass(second)
	for range 10 {
		name, _, ok := o.Choose(o.now, false)
		require.True(t, ok)
		require.Equal(t, "n1", name)
	}
	o.able["n1"] = false
	o.pass(second)
	_, _, ok := o.Choose(o.now, false)
	require.False(t, ok)
	require.Zero(t, o.Able(o.now))
}

func TestConsumersOfALostNodeAreMoved(t *testing.T) {
	o := newOffice("n1", "n2", "n3")
	o.put("a", "n2", 1, 1)
	o.put("b", "n3", 1, 4)
	require.Equal(t, Proposals{}, o.pass(second))
	delete(o.boots, "n3")
	require.Equal(t, Proposals{}, o.pass(lostAfter), "not before it is silent for long")
	p := o.pass(3 * announced)
	require.Len(t, p.Moves, 1)
	require.Equal(t, Move{Ref: Ref{testBucket, "b"}, Bucket: "b", Created: 5, Generation: 4, Host: p.Moves[0].Host, Boot: 1}, p.Moves[0])
	require.NotEqual(t, "n3", p.Moves[0].Host)
	require.Len(t, o.pass(proposeAgain+announced).Moves, 1, "again, since it may be lost")
	o.put("b", "n1", 1, 5)
	require.Equal(t, Proposals{}, o.pass(3*second))
}

func TestConsumersOfAnEarlierLifeAreMovedAtOnce(t *testing.T) {
	o := newOffice("n1")
	o.put("a", "n1", 1, 1)
	o.boots["n1"] = 2
	p := o.pass(announced)
	require.Len(t, p.Moves, 1)
	require.Equal(t, uint64(2), p.Moves[0].Boot)
}

func TestConsumersOfANodeThatLeavesAreMovedAtOnce(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	o.Hear(o.now, Announcement{Node: "n2", Boot: 1, Able: true, Leaving: true})
	require.Equal(t, "n1", o.Tick(o.now).Moves[0].Host)
}

func TestALeafThatIsDownIsLikeANodeThatIs(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n1", 1, 1)
	o.able["n1"] = false
	require.Equal(t, "n2", o.pass(second).Moves[0].Host)
	o.able["n2"] = false
	require.Empty(t, o.pass(5*second).Moves, "nobody can")
}

func TestANodeThatDoesNotFollowTheLogServesNobody(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	o.lags["n2"] = o.index
	require.Empty(t, o.pass(lagMax).Moves)
	require.Equal(t, "n1", o.pass(lostAfter + 3*announced).Moves[0].Host)
	require.Equal(t, 1, o.Able(o.now))
	o.lags["n2"] = 0
	o.pass(announced)
	require.Equal(t, 2, o.Able(o.now))
}

func TestAnEarlierLifeIsNotHeard(t *testing.T) {
	o := newOffice("n1", "n2")
	o.boots["n2"] = 5
	o.put("a", "n2", 5, 1)
	o.pass(announced)
	o.Hear(o.now, Announcement{Node: "n2", Boot: 4, Able: true, Applied: o.index})
	require.Empty(t, o.Tick(o.now).Moves)
}

// A node whose data folder was replaced begins to count its starts anew: it is another one, and is given consumers like any other. The
// leader has heard the former one all along (F23).
func TestANodeWithAnotherFolderServesAgain(t *testing.T) {
	o := newOffice("n1")
	const caughtUp = 1 << 20
	former := Announcement{Node: "n2", Instance: "a", Boot: 7, Able: true, Applied: caughtUp}
	fresh := Announcement{Node: "n2", Instance: "b", Boot: 1, Able: true, Applied: caughtUp}
	o.Hear(o.now, former)
	o.put("a", "n2", 7, 1)
	o.Hear(o.now, fresh)
	require.Empty(t, o.Tick(o.now).Moves, "the former was heard just now: of two processes the one that is known counts")
	o.pass(lostAfter + announced)
	o.Hear(o.now, fresh)
	require.Equal(t, 2, o.Able(o.now))
	p := o.Tick(o.now)
	require.Len(t, p.Moves, 1, "its former life is over")
	o.put("a", "n2", 1, 2)
	o.Hear(o.now, former)
	require.Empty(t, o.Tick(o.now).Moves, "nor does the former come back while the fresh one is heard")
	o.Hear(o.now, Announcement{Node: "n2", Instance: "b", Boot: 2, Able: true, Applied: caughtUp})
	require.Len(t, o.pass(announced+proposeAgain).Moves, 1, "within one folder boots count")
}

// Earlier releases do not say which folder they run on.
func TestANodeThatBeginsToSayItsFolderIsHeardAtOnce(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	o.Hear(o.now, Announcement{Node: "n2", Instance: "a", Boot: 2, Able: true})
	require.Len(t, o.Tick(o.now).Moves, 1)
	o.Hear(o.now, Announcement{Node: "n2", Instance: "a", Boot: 1, Able: true})
	require.EqualValues(t, 2, o.host("n2").boot)
}

func TestANewLeaderKnowsWhoIsGone(t *testing.T) {
	o := newOffice("n1", "n2")
	o.Lead(false)
	o.put("a", "n1", 1, 1)
	o.put("b", "n3", 1, 1) // which this node has never heard
	delete(o.boots, "n1")
	require.Equal(t, Proposals{}, o.pass(2*second))
	o.Lead(true)
	require.Len(t, o.Tick(o.now).Moves, 2)
	require.Empty(t, o.Tick(o.now).Moves)
	o.Lead(false)
	o.Lead(true)
	require.Len(t, o.Tick(o.now).Moves, 2, "what was proposed in an earlier term may be lost with it")
}

// What was proposed for a consumer is done once its record says so: it is moved again at once if its new host leaves, and of those that are gone nothing
// is remembered.
func TestWhatWasProposedIsForgottenOnceItIsDone(t *testing.T) {
	o := newOffice("n1", "n2", "n3")
	o.put("a", "n3", 1, 1)
	o.Hear(o.now, Announcement{Node: "n3", Boot: 1, Able: true, Leaving: true})
	require.Len(t, o.Tick(o.now).Moves, 1)
	o.put("a", "n2", 1, 2)
	o.Hear(o.now, Announcement{Node: "n2", Boot: 1, Able: true, Leaving: true})
	moves := o.Tick(o.now).Moves
	require.Len(t, moves, 1)
	require.EqualValues(t, 2, moves[0].Generation)
	o.Apply([]Change{Removed{moves[0].Ref}})
	require.Empty(t, o.proposed)
}

// A snapshot is taken in place of what was known: of a consumer that is not in it nothing is moved any more (F29).
func TestAStateIsTakenInPlaceOfWhatWasKnown(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	o.Reset(nil)
	require.Zero(t, o.Consumers())
	delete(o.boots, "n2")
	require.Equal(t, Proposals{}, o.pass(2*second))
}

func TestANodeThatPausedBlamesNobody(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	o.now += 60 * second
	o.Hear(o.now, Announcement{Node: "n1", Boot: 1, Able: true, Applied: o.index}) // it hears itself first
	require.Equal(t, Proposals{}, o.Tick(o.now))
	require.Equal(t, Proposals{}, o.pass(2*second))
}

// A leader whose announcements do not come back to it hears nobody's: who is silent then need not be, and keeps its consumers. Those of a node that
// was lost before, or left, are moved all the same.
func TestALeaderThatDoesNotHearItselfBlamesNobody(t *testing.T) { // F6, F7, F9, F12, F26
	o := newOffice("n1", "n2", "n3")
	o.put("a", "n2", 1, 1)
	o.put("b", "n3", 1, 1)
	o.deaf = true
	require.Equal(t, Proposals{}, o.pass(5*second))
	require.Equal(t, 3, o.Able(o.now))
	o.deaf = false
	require.Equal(t, Proposals{}, o.pass(second), "all are heard again")

	o.deaf = true
	o.pass(5 * second)
	o.deaf = false
	delete(o.boots, "n2")
	require.Equal(t, Proposals{}, o.pass(lostAfter), "it was not silent before, as far as is known")
	moves := o.pass(2 * announced).Moves
	require.Len(t, moves, 1)
	require.Equal(t, "a", moves[0].Name)

	o.deaf = true
	o.Hear(o.now, Announcement{Node: "n3", Boot: 1, Able: true, Leaving: true})
	moves = o.pass(2 * second).Moves
	require.Equal(t, []string{"b", "a", "b"}, []string{moves[0].Name, moves[1].Name, moves[2].Name}, "again and again, until it is done")
	for _, m := range moves {
		require.Equal(t, "n1", m.Host, "nobody else is able")
	}
}

// A pause, after which a node hears itself later than it looks, is not counted twice: who is gone is lost as soon as after any other.
func TestAPauseIsCountedOnce(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n2", 1, 1)
	delete(o.boots, "n2")
	const silent = 4 * announced
	o.pass(silent)
	o.now += 60 * second
	require.Equal(t, Proposals{}, o.pass(lostAfter-silent+announced))
	require.Len(t, o.pass(announced).Moves, 1)
}

func TestIdleConsumersAreRemoved(t *testing.T) {
	o := newOffice("n1", "n2")
	o.put("a", "n1", 1, 1)
	idle := Idle{Ref{testBucket, "a"}, 5, 5}
	p := o.pass(proposeAgain, idle)
	require.Equal(t, []Removal{{idle, "b"}}, p.Removals, "once, though announced again and again")
	o.Forget(idle.Ref)
	require.Len(t, o.pass(announced, idle).Removals, 1, "again when it was not logged")
	o.Apply([]Change{Removed{idle.Ref}})
	require.Empty(t, o.pass(3*second, idle).Removals)
	o.put("a", "n1", 1, 1)
	require.Empty(t, o.pass(second, Idle{idle.Ref, 4, 4}).Removals, "another of that name")
	require.Empty(t, o.pass(second, Idle{Ref{9, "a"}, 5, 5}).Removals, "of no bucket that there is")
}

func TestManyMovesGoInParts(t *testing.T) {
	o := newOffice("n1")
	for i := range 2*movesMax + 10 {
		o.put(fmt.Sprintf("%04d", i), "n2", 1, 1)
	}
	moved := map[string]bool{}
	for range 12 {
		p := o.pass(announced)
		require.LessOrEqual(t, len(p.Moves), movesMax)
		for _, m := range p.Moves {
			moved[m.Name] = true
			o.put(m.Name, m.Host, m.Boot, m.Generation+1)
		}
	}
	require.Len(t, moved, 2*movesMax+10)
	o.Apply([]Change{BucketGone{testBucket}})
	require.Empty(t, o.records)
}

func TestHostsRememberedAreBounded(t *testing.T) {
	o := newOffice()
	for i := range 10 * hostsMax {
		o.Hear(o.now, Announcement{Node: fmt.Sprint(i), Boot: 1, Able: true})
	}
	require.Len(t, o.hosts, hostsMax)
}

// However many nodes there were in the life of this one, a new one is heard, in place of one that is lost. What that served is moved all the same.
func TestALostHostMakesRoomForANewOne(t *testing.T) {
	o := newOffice("n1")
	announce := func(name string) { o.Hear(o.now, Announcement{Node: name, Boot: 1, Able: true, Applied: o.index}) }
	for i := range hostsMax - 1 {
		announce(fmt.Sprint("old-", i))
	}
	o.put("a", "old-0", 1, 1)
	announce("new")
	require.Equal(t, hostsMax, o.Able(o.now), "all others were heard just now")
	o.pass(lostAfter + announced)
	announce("new")
	require.Equal(t, 2, o.Able(o.now))
	for i := range hostsMax {
		announce(fmt.Sprint("new-", i))
	}
	require.Equal(t, hostsMax, o.Able(o.now))
	require.NotEmpty(t, o.pass(proposeAgain+announced).Moves)
	require.Len(t, o.hosts, hostsMax)
}

// Hosts and consumers of another account are none of a placer's: it neither counts, chooses, moves nor removes them (Q7).
func TestAPlacerKnowsItsOwnAccountOnly(t *testing.T) {
	for self, others := range map[string]string{"n1": "n2@team-a", "n1@team-a": "n2", "n1@team-b": "n2@team-a"} {
		_, account := Parted(others)
		w := Ref{testBucket, In(account, "w")}
		p := NewPlacer(self)
		p.Lead(true)
		p.Reset([]Record{{Ref: w, Bucket: "b", Created: 5, Host: others, Boot: 1}})
		for now := int64(second); now < 5*second; now += announced {
			p.Hear(now, Announcement{Node: self, Boot: 1, Able: true})
			p.Hear(now, Announcement{Node: others, Boot: 2, Able: now < 2*second, Idle: []Idle{{w, 5, 0}}})
			require.Empty(t, p.Tick(now), "%s has begun another life, and is lost, and says that it is idle", others)
		}
		require.Equal(t, 1, p.Able(5*second))
		host, _, ok := p.Choose(5*second, false)
		require.True(t, ok)
		require.Equal(t, self, host)
	}
}

// An older release, which knows no accounts, gives a consumer to a host of another: no hub serves it there, and its placer takes it back.
func TestAConsumerThatWasGivenToAnotherAccountComesBack(t *testing.T) {
	stray := Record{Ref: Ref{testBucket, "w@team-a"}, Bucket: "b", Created: 5, Host: "n1", Boot: 1, Generation: 1}
	require.False(t, New("n1", 1, DefaultLimits()).mine(&stray))
	p := NewPlacer("n1@team-a")
	p.Lead(true)
	p.Reset([]Record{stray})
	var moves []Move
	for now := int64(second); now < 5*second && len(moves) == 0; now += announced {
		p.Hear(now, Announcement{Node: "n1@team-a", Boot: 1, Able: true})
		p.Echo(now)
		moves = p.Tick(now).Moves
	}
	require.Equal(t, []Move{{stray.Ref, "b", 5, 1, "n1@team-a", 1}}, moves)
}

func TestNamesInAccounts(t *testing.T) {
	for _, account := range []string{"", "team-a"} {
		name, of := Parted(In(account, "w"))
		require.Equal(t, []string{"w", account}, []string{name, of})
		require.Equal(t, In(account, "w"), Given(account, "w"))
		require.Empty(t, Given(account, "w@team-a"), "it would be another account's, or its own by another name")
		require.Empty(t, Given(account, ""))
	}
}

// Announcements are fewer while there are no consumers, but what is new is told at once.
func TestAnnouncementsAreFewerWithoutConsumers(t *testing.T) {
	require.True(t, NewPlacer("n1").Tells(1, &Announcement{Node: "n1", Boot: 2}), "a new life is told of at once, able or not")
	o := newOffice("n1")
	tells := func(a Announcement) bool { o.now += announced; return o.Tells(o.now, &a) }
	able := Announcement{Node: "n1", Boot: 1, Able: true}
	require.True(t, tells(able))
	require.Equal(t, []bool{false, true, false, true}, []bool{tells(able), tells(able), tells(able), tells(able)})
	require.True(t, tells(Announcement{Node: "n1", Boot: 1}), "it is not able any more")
	require.True(t, tells(Announcement{Node: "n1", Boot: 1, Leaving: true}))
	o.put("c", "n1", 1, 1)
	require.Equal(t, []bool{true, true, true}, []bool{tells(able), tells(able), tells(able)})
}

// Of many consumers that are to be moved those are chosen that a sort of all of them would bring to the front.
func TestOrphansAreTheFirstOfAll(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, movesMax - 1, movesMax, movesMax + 1, 5_000} {
		p := NewPlacer("n1")
		p.Lead(true)
		p.Echo(second)
		var all []Ref
		for i := range n {
			r := Record{Ref: Ref{1 + dice.Uint64N(5), fmt.Sprint(dice.Uint32(), i)}, Bucket: "b", Host: "n2", Boot: 1 + dice.Uint64N(3)}
			p.Apply([]Change{Placed{r}})
			if dice.IntN(4) == 0 {
				p.proposed[r.Ref] = second
			} else {
				all = append(all, r.Ref)
			}
		}
		for range 3 {
			p.Echo(p.now + pauseMin)
		}
		slices.SortFunc(all, compareRefs)
		require.Equal(t, all[:min(len(all), movesMax)], p.orphans())
	}
}

// Nodes of another account are none of this one's hosts.
func TestHostsOfAnotherAccountAreNotHeard(t *testing.T) {
	p := NewPlacer("n1@team-a")
	p.Hear(second, Announcement{Node: "n2", Boot: 1, Able: true})
	p.Hear(second, Announcement{Node: "n2@team-b", Boot: 1, Able: true})
	require.Zero(t, p.Able(second))
	p.Hear(second, Announcement{Node: "n2@team-a", Boot: 1, Able: true})
	require.Equal(t, 1, p.Able(second))
}
