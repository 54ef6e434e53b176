package members

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
)

// Once the request was taken, that nobody answers is no proof that nothing was done, however the command ends.
func TestARaiseThatWasTakenMayBeDone(t *testing.T) {
	t.Parallel() // it waits
	for name, c := range map[string]struct {
		taken, interrupted bool
		kind               Kind
		text               string
	}{
		"nobody leads":           {false, false, NoLeader, "no leader answers"},
		"nobody leads, Ctrl-C":   {false, true, none, "context canceled"},
		"taken, and nobody then": {true, false, Timeout, "whether it was done is unknown"},
		"taken, and Ctrl-C then": {true, true, Timeout, "whether it was done is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, view(nil, "n1"), nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.interrupted && !c.taken {
				cancel()
			}
			if c.taken {
				p.takeOne(func() {
					if c.interrupted {
						cancel()
					}
				})
			}
			_, err := p.a.Raise(ctx, time.Second)
			require.Equal(t, c.kind, kindOf(err), "%v", err)
			require.ErrorContains(t, err, c.text)
		})
	}
}

// takeOne takes one request and answers nothing: nobody listens from then on.
func (p *puppet) takeOne(then func()) {
	sub, err := p.nc.Subscribe(admin.Subject("raftbus", admin.OpRaise), func(*nats.Msg) { then() })
	require.NoError(p.t, err)
	require.NoError(p.t, sub.AutoUnsubscribe(1))
	require.NoError(p.t, p.nc.Flush())
}

// A successor that does not hear a member refuses: that says nothing of what its predecessor may have done (C5).
func TestARaiseThatASuccessorRefusesMayBeDone(t *testing.T) {
	t.Parallel() // it waits
	for _, kind := range []admin.ErrorKind{admin.NotKnown, admin.UnknownOp} {
		p := newPuppet(t, view(nil, "n1"), nil)
		asked := 0
		_, err := p.nc.Subscribe(admin.Subject("raftbus", admin.OpRaise), func(m *nats.Msg) {
			says := kind
			if asked++; asked == 1 {
				says = admin.OutcomeUnknown
			}
			data, _ := json.Marshal(refusal(says))
			_ = m.Respond(data)
		})
		require.NoError(t, err)
		require.NoError(t, p.nc.Flush())
		_, err = p.a.Raise(t.Context(), time.Second)
		require.Equal(t, Timeout, kindOf(err), "%v", err)
		require.ErrorContains(t, err, "whether it was done is unknown")
	}
}
