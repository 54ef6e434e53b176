package kv

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// C4: a purge is done once, and who sends it again hears what it was answered, also if the purge's own entry has ended since.
func TestAPurgeSentAgainIsAnsweredAsThen(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", `{"allow_ttl":true}`)
	r.ask("kv.put.app.k", "v")
	purge := []string{headerMsgID, "id", headerTTL, "1s"}
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":3}`, "kv.purge.app.k", "", purge...)
	require.Eventually(t, func() bool { // the log's time goes on with each entry
		r.ask("kv.put.app.other", "v")
		history, err := r.request("kv.history.app.k", "")
		return err == nil && history.Header.Get(headerErrorCode) == "404"
	}, 5*time.Second, 10*time.Millisecond)
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":3,"duplicate":true}`, "kv.purge.app.k", "", purge...)
	r.expectError(KeyNotFound, "kv.purge.app.k", "", headerMsgID, "another")
	r.expectError(KeyNotFound, "kv.purge.app.k", "")
	r.expectError(NoBucket, "kv.purge.none.k", "", purge...)
}

// After the last revision that a number can be there is none: the count does not begin anew.
func TestNothingComesAfterTheLastRevision(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("kv.put.app.k", "v")
	r.expect(`{"bucket":"app","key":"k","entries":[]}`, "kv.history.app.k", `{"after":18446744073709551615}`)
	r.expect(`{"bucket":"app","entries":[]}`, "bucket.import_sums.app", `{"after":18446744073709551615}`)
}
