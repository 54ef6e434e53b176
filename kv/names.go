package kv

import "github.com/raftbus/raftbus/kv/internal/names"

// Bounds of names, in bytes.
const (
	BucketMax = names.BucketMax
	KeyMax    = names.KeyMax
)

// ValidBucket reports whether a bucket can have this name. Who puts one into a subject asks before: a dot, a space or a wildcard would
// make it another subject.
func ValidBucket(name string) bool { return names.ValidBucket(name) }

// ValidKey reports whether a key can have this name on the native subjects.
func ValidKey(key string) bool { return names.ValidKey(key) }
