package leaf

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// F12: a subscription that was not allowed is there once a reload of NATS allows it. The server says what it allows at the beginning of a connection
// only, so there is another; and none once nothing lacks.
func TestWhatWasDeniedIsThereOnceItIsAllowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	allow := func(subject string) {
		require.NoError(t, os.WriteFile(file, []byte(`authorization { users: [
			{user: app, password: x}, {user: leaf, password: y, permissions: {subscribe: "`+subject+`"}}]}`), 0o600))
	}
	allow("elsewhere")
	s := startNATS(t, func(o *embedded.Options) { o.ConfigFile = file })
	var heard atomic.Bool
	c := dial(t, s.LeafURL(), asUser("leaf", "y"), func(o *Options) {
		o.regainAfter = 10 * time.Millisecond
		o.Subject, o.OnMessage = "$JS.FC.app.c.n1.t", func(Message) { heard.Store(true) }
	})
	eventually(t, "in vain, twice", func() bool { return disconnectsOf(c) > 1 })
	allow("$JS.FC.>")
	require.NoError(t, s.Reload())
	nc := client(t, s.URL(), nats.UserInfo("app", "x"))
	eventually(t, "heard", func() bool {
		require.NoError(t, nc.Publish("$JS.FC.app.c.n1.t", nil))
		return heard.Load()
	})
	require.True(t, isUp(c))
	require.Empty(t, c.LastError())
}

// A connection that was closed is not made anew.
func TestAClosedConnectionAsksForNothingAgain(t *testing.T) {
	c := dial(t, startNATS(t).LeafURL())
	c.regain.Refused()
	c.Close()
	require.False(t, c.regain.Lacks())
}
