package observe

import "sync"

// breaksMax bounds the peers that are remembered: nodes come and go for years.
const breaksMax = 256

// breaks counts by peer.
type breaks struct {
	mu    sync.Mutex
	count map[string]uint64
}

func (b *breaks) add(peer string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == nil {
		b.count = map[string]uint64{}
	}
	if _, known := b.count[peer]; known || len(b.count) < breaksMax {
		b.count[peer]++
	}
}

func (b *breaks) of(peer string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count[peer]
}
