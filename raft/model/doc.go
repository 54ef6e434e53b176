// Package model is the event-driven model that states with behaviour are written on: what a state does is a list of
// hooks, each on one kind of event, and things happen to it only by Raise.
//
// The fields of a model are written in one place and read in another (read/write separation): a hook made by Writes is
// given a pointer to the fields and nothing to tell others with but the next event; a hook made by Reads is given a copy,
// so it can act on the fields and cannot change them. For one event all writers run before all readers, each in the order
// in which they were registered: readers see the fields as the event left them.
//
//	type fields struct{ misses int }
//
//	m := model.New[fields, event](&fields{})
//	m.Hook(pingFailed, model.Writes(func(f *fields, e event) { f.misses++ }))
//	m.Hook(pingFailed, model.Reads(func(f fields, e event) {
//		if f.misses == 2 {
//			m.Raise(event{kind: lost}) // waits until pingFailed is through
//		}
//	}))
//	m.Raise(event{kind: pingFailed})
//
// Hook is for building, Raise for living: no hook is added once an event was raised, so that what a model does follows
// from its hooks and its events alone, and a recorded run can be replayed. The package has no clock, no goroutine, no lock
// and imports nothing: a model belongs to one goroutine, which is the only one to call it.
package model
