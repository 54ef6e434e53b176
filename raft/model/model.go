package model

// The one type of this package: fields, and hooks that events meet in a fixed order.

// EventKind says which hooks an event meets. Kinds are numbered from 0 by whoever defines the events.
type EventKind uint8

// Event is what happens to a model. Make it a struct, not a pointer or an interface: it is then raised without allocation.
type Event interface {
	Kind() EventKind
}

// IEventDrivenModel is behaviour as a list of hooks. F holds the fields, E is the type of its events. All calls are the
// owner's: from one goroutine.
type IEventDrivenModel[F any, E Event] interface {
	// Hook adds a handler for one kind of event. It panics after the first Raise, in a handler too: a model that grows
	// hooks while it lives cannot be replayed.
	Hook(kind EventKind, h Handler[F, E])

	// Raise runs the handlers of the event's kind, writers first, and returns when they, and the handlers of all events
	// they raised, are through. Called by a handler it only queues the event, behind those queued before; it panics when
	// MaxQueued events wait, since then handlers raise each other without end. An event nobody hooked does nothing.
	Raise(e E)
}

// MaxQueued bounds the events that wait while handlers run.
const MaxQueued = 64

// Handler is what a model does about one kind of event: Writes or Reads makes one.
type Handler[F any, E Event] struct {
	write func(*F, E)
	read  func(F, E)
}

// Writes makes a handler that changes the fields. The pointer is its own until it returns, and not to be kept.
func Writes[F any, E Event](h func(*F, E)) Handler[F, E] { return Handler[F, E]{write: h} }

// Reads makes a handler that acts on the fields as the event left them. It is given a copy: what the fields point at is
// shared, and not to be written.
func Reads[F any, E Event](h func(F, E)) Handler[F, E] { return Handler[F, E]{read: h} }

// EventDrivenModel is the IEventDrivenModel. A handler that panics leaves it unusable, its fields half written.
type EventDrivenModel[F any, E Event] struct {
	fields *F
	hooks  []hooks[F, E] // by kind
	phase  phase
	queue  [MaxQueued]E // a ring: waiting events from head on
	head   int
	queued int
}

type hooks[F any, E Event] struct {
	writers []func(*F, E)
	readers []func(F, E)
}

type phase uint8

const (
	building phase = iota
	idle
	running
)

// New makes a model of the fields, without hooks. From here on nobody but its writers writes the fields; between two
// calls of Raise the owner may read them.
func New[F any, E Event](fields *F) *EventDrivenModel[F, E] {
	return &EventDrivenModel[F, E]{fields: fields}
}

// Hook adds a handler for one kind of event: see IEventDrivenModel.
func (m *EventDrivenModel[F, E]) Hook(kind EventKind, h Handler[F, E]) {
	if m.phase != building {
		panic("model: Hook after the first Raise: register all hooks while building")
	}
	if h.write == nil && h.read == nil {
		panic("model: Hook without a handler: make it with Writes or Reads")
	}
	for len(m.hooks) <= int(kind) {
		m.hooks = append(m.hooks, hooks[F, E]{})
	}
	at := &m.hooks[kind]
	if h.write != nil {
		at.writers = append(at.writers, h.write)
		return
	}
	at.readers = append(at.readers, h.read)
}

// Raise runs the handlers of the event's kind: see IEventDrivenModel.
func (m *EventDrivenModel[F, E]) Raise(e E) {
	if m.phase == running {
		m.enqueue(e)
		return
	}
	m.phase = running
	m.run(e)
	for m.queued > 0 {
		m.run(m.dequeue())
	}
	m.phase = idle
}

func (m *EventDrivenModel[F, E]) run(e E) {
	kind := int(e.Kind())
	if kind >= len(m.hooks) {
		return
	}
	for _, write := range m.hooks[kind].writers {
		write(m.fields, e)
	}
	for _, read := range m.hooks[kind].readers {
		read(*m.fields, e)
	}
}

func (m *EventDrivenModel[F, E]) enqueue(e E) {
	if m.queued == MaxQueued {
		panic("model: too many events wait: handlers raise each other without end")
	}
	m.queue[(m.head+m.queued)%MaxQueued] = e
	m.queued++
}

// dequeue clears the slot, so that the ring keeps nothing alive that an old event points at.
func (m *EventDrivenModel[F, E]) dequeue() E {
	var none E
	e := m.queue[m.head]
	m.queue[m.head] = none
	m.head = (m.head + 1) % MaxQueued
	m.queued--
	return e
}
