package main

// Numbers of bytes as people write them: 4096, 64KiB, 1GiB.

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

type byteSize uint64

var byteUnits = []string{"", "KiB", "MiB", "GiB", "TiB"}

// Set reads a number with a unit.
func (b *byteSize) Set(text string) error {
	number := strings.TrimRight(text, "kKMGTiB")
	unit := text[len(number):]
	for i, known := range byteUnits {
		if !strings.EqualFold(unit, known) {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		if err != nil || n > math.MaxInt64>>(10*i) {
			break
		}
		*b = byteSize(n << (10 * i))
		return nil
	}
	return errors.New("use a number of bytes, such as 4096, 64KiB or 1GiB")
}

// String is the number in the largest unit that tells it exactly.
func (b byteSize) String() string {
	n, unit := uint64(b), 0
	for n >= 1024 && n%1024 == 0 && unit < len(byteUnits)-1 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%d%s", n, byteUnits[unit])
}

// Type is what the help calls it.
func (*byteSize) Type() string { return "bytes" }
