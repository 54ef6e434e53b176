//go:build !race

package sim

const seedsAtOnce = 300
