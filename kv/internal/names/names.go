// Package names has the rules of names: which buckets and keys there can be.
package names

import (
	"strings"
	"unicode/utf8"
)

// The rules are those of NATS KV, so that both doors reach the same keys; the lengths keep every subject under 1 KiB.
const (
	BucketMax = 128
	KeyMax    = 768
)

// ValidBucket reports whether a bucket can have this name.
func ValidBucket(name string) bool { return len(name) <= BucketMax && LikeBucket(name) }

// LikeBucket reports whether a bucket of NATS KV can have this name, which may be longer than one here.
func LikeBucket(name string) bool { return made(name, false) }

// ValidKey reports whether a key can have this name: tokens with single dots between them.
func ValidKey(key string) bool {
	if len(key) > KeyMax {
		return false
	}
	for token := range strings.SplitSeq(key, ".") {
		if !made(token, true) {
			return false
		}
	}
	return true
}

// made reports whether a name is made of what tokens are made of, those of keys or those of buckets. Every put asks.
func made(name string, key bool) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case key && (c == '/' || c == '='):
		default:
			return false
		}
	}
	return name != ""
}

// ValidSubject reports whether a key can have this name where the name came as a NATS subject, which has more to choose from:
// tokens of UTF-8 without wildcards, spaces and control characters.
func ValidSubject(key string) bool {
	return len(key) <= KeyMax && utf8.ValidString(key) && Literal(key)
}

// Literal reports whether a message can have the subject: tokens with single dots between them, none of them a wildcard, without spaces and
// control characters, which a line of NATS's protocol cannot carry, or which nobody sees.
func Literal(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsFunc(token, forbidden) {
			return false
		}
	}
	return true
}

// Inbox is the inbox of a client whose answer goes to a subject: without the token that tells its requests apart. Who makes an inbox for each
// request cannot be known, and is another client each time.
func Inbox(reply string) string {
	if end := strings.LastIndexByte(reply, '.'); end > 0 && strings.IndexByte(reply[:end], '.') > 0 {
		return reply[:end]
	}
	return reply
}

func forbidden(r rune) bool { return r <= ' ' || r == 0x7f }

// JSONBytesMax is at least what a name takes as a string of JSON, whose writers put up to six bytes in the place of one that means something
// to JSON or to HTML, or of the three of a line separator.
func JSONBytesMax(name string) int {
	size := len(name) + len(`""`)
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"', c == '\\':
			size++
		case c == '<', c == '>', c == '&':
			size += len(`\u003c`) - 1
		case c == lineSeparator:
			size += len(`\u2028`) - len("\u2028")
		}
	}
	return size
}

// lineSeparator is the first byte of those that JSON escapes, and of some that it does not.
const lineSeparator = 0xe2
