package bench

// What is measured, as the load sees it.

import (
	"context"
	"errors"
)

// Store is one connection to a key-value store. Clients share it, so it is safe for concurrent use. A revision is whatever Update
// compares with.
type Store interface {
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Get(ctx context.Context, key string) (revision uint64, err error)
	// Update writes the key if its revision is the one given, and fails with ErrConflict if not.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Watch calls changed with the value of every change of a key from now on, on one goroutine, until ctx ends. The value is not kept.
	Watch(ctx context.Context, changed func(value []byte)) error
	Close()
}

// Target is where stores come from: a bucket, or what stands for one.
type Target interface {
	Create(ctx context.Context) error // fails with ErrExists if it is there
	Open(ctx context.Context) (Store, error)
	Remove(ctx context.Context) error
}

// What stores and targets say in the same words.
var (
	ErrConflict = errors.New("conflict") // the key has another revision
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists")
	ErrUnknown  = errors.New("the outcome is unknown") // it may have been done, or may yet be
)
