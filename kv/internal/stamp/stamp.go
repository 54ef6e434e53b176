// Package stamp writes the log's times for people and clients.
package stamp

import "time"

// Text is a time, nanoseconds since 1970 UTC, as RFC 3339 writes it, in UTC, without the zeros at its end.
func Text(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339Nano)
}
