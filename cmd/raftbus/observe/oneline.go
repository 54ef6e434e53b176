package observe

import (
	"slices"
	"strings"
)

// OneLine writes what has several lines, as joined errors do, on one, for grep, and each of them once.
func OneLine(text string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}
