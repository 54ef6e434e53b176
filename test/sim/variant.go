package sim

// A variant of a seed is the seed with less: fewer faults, a better bus, less time. It is what a failure is made smaller to, and
// what the command line says to have that again.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type variant struct {
	faults []int         // only these happen; nil: all
	calm   []string      // what is not wrong with the bus
	chaos  time.Duration // when the faults end; 0: as the seed says

	multicast bool // nodes have it
}

// calms are the ways in which the bus can be better than the seed has it.
var calms = []struct {
	name string
	do   func(*busPlan)
}{
	{"late", func(b *busPlan) { b.late = 0 }},
	{"repeat", func(b *busPlan) { b.repeat = 0 }},
	{"reorder", func(b *busPlan) { b.reorder = false }},
	{"nobody", func(b *busPlan) { b.falseNobody = 0 }},
	{"stray", func(b *busPlan) { b.stray = 0 }},
	{"loss", func(b *busPlan) { b.loss = 0 }},
	{"payload", func(b *busPlan) { b.maxPayload = 1 << 20 }},
	{"delay", func(b *busPlan) { b.delayMean = 0 }},
}

func (v *variant) apply(p *plan) {
	p.multicast = v.multicast
	for _, c := range calms {
		if slices.Contains(v.calm, c.name) {
			c.do(&p.bus)
		}
	}
	if v.chaos > 0 {
		p.chaos = min(p.chaos, v.chaos)
	}
}

// whole reports whether it has all that the seed has.
func (v *variant) whole() bool { return v.faults == nil && len(v.calm) == 0 && v.chaos == 0 }

func (v *variant) set() map[int]bool {
	if v.faults == nil {
		return nil
	}
	set := map[int]bool{}
	for _, number := range v.faults {
		set[number] = true
	}
	return set
}

// command is what runs a seed in this variant.
func (v *variant) command(seed uint64) string {
	b := fmt.Sprintf("go test ./test/sim -run Seeds -seeds 1 -from %d", seed)
	if v.faults != nil {
		b += " -faults " + orNone(joinInts(v.faults))
	}
	if len(v.calm) > 0 {
		b += " -calm " + strings.Join(v.calm, ",")
	}
	if v.chaos > 0 {
		b += " -chaos " + v.chaos.String()
	}
	if v.multicast {
		b += " -multicast"
	}
	return b + " -show"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func joinInts(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ",")
}

// parseVariant reads what command writes.
func parseVariant(faults, calm string, chaos time.Duration) (v variant, err error) {
	v.chaos = chaos
	if calm != "" {
		v.calm = strings.Split(calm, ",")
	}
	if faults == "" {
		return v, nil
	}
	v.faults = []int{}
	for _, word := range strings.Split(faults, ",") {
		if word == "none" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil {
			return v, fmt.Errorf("-faults: %w", err)
		}
		v.faults = append(v.faults, n)
	}
	return v, nil
}
