package memengine

// The disk of the engine in memory: what is durable on it, and what a crash leaves.

import (
	"errors"
	"sync"

	"github.com/raftbus/raftbus/kv/store/engine"
)

// Point is a moment at which a Memory shows itself: around what changes what a crash leaves.
type Point int

const (
	// BeforeFlush: all that is committed becomes durable next.
	BeforeFlush Point = iota
	// AfterFlush: it is durable, and nobody knows yet.
	AfterFlush
	// BeforeSwitch: a database that was prepared takes the place of the one in use next.
	BeforeSwitch
	// AfterSwitch: it has, and nobody knows yet.
	AfterSwitch
)

var (
	errInUse  = errors.New("in use by another store: close that first")
	errClosed = errors.New("database closed")
)

// Memory is an engine.Engine, and what a disk is to Pebble: it outlives the store that is opened on it. Safe for use by
// several goroutines, as an engine is.
type Memory struct {
	// At, if set, is called at each Point; an error fails the database for good, as a failing disk does. It may Crash the Memory
	// to see what is left. Set it before the store is opened.
	At func(Point) error

	mu    sync.Mutex
	inUse *image
}

var _ engine.Engine = (*Memory)(nil)

// image is a database as it lies on the disk.
type image struct {
	durable *tree     // owned: nobody else has it
	open    *database // nil while nobody has it open
}

// New makes an empty Memory.
func New() *Memory { return &Memory{inUse: &image{durable: newTree()}} }

// Crash gives what a power loss now would leave: what was flushed of the database in use. The Memory itself goes on.
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{inUse: &image{durable: m.inUse.durable.Clone()}}
}

// Flush makes durable what is committed to the database in use, unseen by the store, as Pebble does by itself when a table
// in memory is full. So a crash may leave more than the store knows. It does nothing while no store is open.
func (m *Memory) Flush() error {
	m.mu.Lock()
	d := m.inUse.open
	m.mu.Unlock()
	if d == nil {
		return nil
	}
	return d.Flush()
}

// Open opens the database in use.
func (m *Memory) Open() (engine.DB, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inUse.open != nil {
		return nil, errInUse
	}
	return m.open(m.inUse), nil
}

// Prepare opens an empty database that a crash loses.
func (m *Memory) Prepare() (engine.DB, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open(&image{durable: newTree()}), nil
}

func (m *Memory) open(i *image) engine.DB {
	i.open = &database{memory: m, image: i, head: i.durable.Clone()}
	return i.open
}

// Switch puts a prepared database in the place of the one in use; of it a crash leaves what was flushed.
func (m *Memory) Switch(prepared engine.DB) error {
	if err := m.at(BeforeSwitch); err != nil {
		return err
	}
	m.mu.Lock()
	m.inUse = prepared.(*database).image
	m.mu.Unlock()
	return m.at(AfterSwitch)
}

// RemoveLeftovers has nothing to do: what nobody refers to is gone.
func (m *Memory) RemoveLeftovers() error { return nil }

func (m *Memory) at(p Point) error {
	if m.At == nil {
		return nil
	}
	return m.At(p)
}
