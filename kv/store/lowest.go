package store

import "slices"

// lowest keeps the lowest of many sequences, without memory for all.
type lowest struct {
	most  int
	list  []uint64
	bound uint64 // if not 0: higher ones are none of them
}

func (l *lowest) add(sequences ...uint64) {
	for _, s := range sequences {
		if l.bound > 0 && s > l.bound {
			continue
		}
		if l.list = append(l.list, s); len(l.list) >= 2*l.most {
			l.list = l.sorted()[:l.most]
			l.bound = l.list[l.most-1]
		}
	}
}

func (l *lowest) sorted() []uint64 {
	slices.Sort(l.list)
	return l.list
}
