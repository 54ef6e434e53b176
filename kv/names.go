package kv

import "regexp"

// The rules of names are those of NATS KV, so that both doors reach the same keys; the lengths keep every subject under 1 KiB.
const (
	bucketNameMax = 128
	keyMax        = 768
)

var (
	bucketRule = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	keyRule    = regexp.MustCompile(`^[a-zA-Z0-9_/=-]+(\.[a-zA-Z0-9_/=-]+)*$`)
)

// ValidBucket reports whether a bucket can have this name.
func ValidBucket(name string) bool { return len(name) <= bucketNameMax && bucketRule.MatchString(name) }

// ValidKey reports whether a key can have this name.
func ValidKey(key string) bool { return len(key) <= keyMax && keyRule.MatchString(key) }
