package watch

// Consumers that are being made count in what their account may ask for: many come at once, before the first is there (Q12).

// Wanted is a consumer that is to be made, or changed.
type Wanted struct {
	Name   string // as its record has it
	Pull   bool
	Weight int // see Weigh
}

const (
	// makingMax is how long one may be on its way: its client has given it up then.
	makingMax = 10_000_000_000
	// sweepEvery is how often those are looked for that take longer: all are looked at, and there may be 100,000.
	sweepEvery = 1_000_000_000
)

// making are those that are on their way.
type making struct {
	of     map[string]made
	weight int
	swept  int64 // when those were looked for last
}

type made struct {
	weight int
	began  int64
}

func (m *making) begin(w Wanted, now int64) {
	m.end(w.Name)
	m.of[w.Name] = made{w.Weight, now}
	m.weight += w.Weight
}

// end is for one that is there, and for one that is to be made otherwise.
func (m *making) end(name string) {
	m.weight -= m.of[name].weight
	delete(m.of, name)
}

// sweep forgets those that take too long, now and then: they were refused, or not logged.
func (m *making) sweep(now int64) {
	if now-m.swept < sweepEvery {
		return
	}
	m.swept = now
	for name, made := range m.of {
		if now-made.began > makingMax {
			m.end(name)
		}
	}
}
