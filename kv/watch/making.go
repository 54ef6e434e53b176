package watch

// Consumers that are being made count in what their account may ask for: many come at once, before the first is there (Q12).

// Wanted is a consumer that is to be made, or changed.
type Wanted struct {
	Name   string // as its record has it
	Pull   bool
	Weight int // see Weigh
}

// makingMax is how long one may be on its way: its client has given it up then.
const makingMax = 10_000_000_000

// making are those that are on their way.
type making struct {
	of     map[string]made
	weight int
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

// sweep forgets those that began before: they were refused, or not logged.
func (m *making) sweep(before int64) {
	for name, made := range m.of {
		if made.began < before {
			m.end(name)
		}
	}
}
