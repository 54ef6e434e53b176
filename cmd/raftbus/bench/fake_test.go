package bench

// A store in memory, for tests that run in a bubble of testing/synctest, where time passes only while everybody waits: what it
// takes is known to the nanosecond.

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type fake struct {
	takes time.Duration // each operation
	fails func(now time.Duration) error
	stall func(now time.Duration) time.Duration // until when nothing is done

	mu       sync.Mutex
	base     time.Time
	count    int
	conns    int
	closed   int
	keys     map[string]uint64
	last     uint64
	watchers []func([]byte)
}

func newFake(takes time.Duration) *fake {
	return &fake{takes: takes, base: time.Now(), keys: map[string]uint64{}}
}

func (f *fake) Create(context.Context) error { return nil }
func (f *fake) Remove(context.Context) error { return nil }

func (f *fake) Open(context.Context) (Store, error) {
	f.conns++
	return f, nil
}

func (f *fake) Close() { f.closed++ }

// act waits as long as an operation takes.
func (f *fake) act(ctx context.Context) error {
	pause := f.takes
	now := time.Since(f.base)
	if f.stall != nil {
		pause += max(f.stall(now)-now, 0)
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.fails != nil {
		return f.fails(time.Since(f.base))
	}
	return nil
}

func (f *fake) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return f.write(ctx, key, value, func(uint64) bool { return true })
}

func (f *fake) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return f.write(ctx, key, value, func(have uint64) bool { return have == revision })
}

func (f *fake) write(ctx context.Context, key string, value []byte, may func(uint64) bool) (uint64, error) {
	if err := f.act(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !may(f.keys[key]) {
		return 0, ErrConflict
	}
	f.count++
	f.last++
	f.keys[key] = f.last
	for _, tell := range f.watchers {
		tell(value)
	}
	return f.last, nil
}

func (f *fake) Get(ctx context.Context, key string) (uint64, error) {
	if err := f.act(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.keys[key] == 0 {
		return 0, ErrNotFound
	}
	return f.keys[key], nil
}

func (f *fake) Watch(_ context.Context, changed func([]byte)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers = append(f.watchers, changed)
	return nil
}

// bubble runs a workload on a store in a bubble; change alters store and options.
func bubble(t *testing.T, name string, change func(*fake, *Options), then func(Report, error, *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, known := Defaults(name)
		require.True(t, known)
		f := newFake(10 * time.Millisecond)
		change(f, &o)
		report, err := Run(t.Context(), f, o)
		require.Equal(t, f.conns, f.closed, "connections are left open")
		then(report, err, f)
	})
}
