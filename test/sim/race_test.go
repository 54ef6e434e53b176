//go:build race

package sim

// seedsAtOnce is how many seeds a test runs if nobody says: the race detector makes each ten times as slow, and a seed has one
// goroutine only.
const seedsAtOnce = 40
