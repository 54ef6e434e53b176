package auth_test

// Where nodes may answer, and how often.

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// NATS looks through all that was not answered yet, again and again, while the node waits for it: what a leader drops under a flood it is to forget soon (Q12).
func TestNATSForgetsWhatIsNotAnswered(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		o := options(t, layout.change)
		require.NoError(t, auth.Init(&o))
		if !o.JWT {
			require.Contains(t, content(t, o.Dir, "nats/nats.conf"), `allow_responses: {max: 1, expires: "15s"}`)
			continue
		}
		for _, id := range nodes {
			text, err := jwt.ParseDecoratedJWT([]byte(content(t, o.Dir, "nodes/"+id+"/clients.creds")))
			require.NoError(t, err)
			claims, err := jwt.DecodeUserClaims(text)
			require.NoError(t, err)
			require.Equal(t, &jwt.ResponsePermission{MaxMsgs: 1, Expires: 15 * time.Second}, claims.Resp)
		}
	}
}

// askTwice has two requests answered that name one inbox, as nats.go's Consume makes them: what a node may publish only because it was asked,
// NATS lets it answer once (L9, F12).
func askTwice(t testing.TB, p *party, bucket string) {
	answers, err := p.SubscribeSync(p.NewInbox())
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, p.PublishRequest("raftbus.kv.get."+bucket+".k", answers.Subject, nil))
	}
	for range 2 {
		m, err := answers.NextMsg(patience)
		require.NoError(t, err)
		require.Contains(t, string(m.Data), `"value":"v"`)
	}
	require.NoError(t, answers.Unsubscribe())
}

// getMany has one request answered with several messages: so often a node may answer at the inbox of its user (F12).
func getMany(t testing.TB, p *party, bucket string) {
	answers, err := p.SubscribeSync(p.NewInbox())
	require.NoError(t, err)
	require.NoError(t, p.PublishRequest("$JS.API.DIRECT.GET.KV_"+bucket, answers.Subject, []byte(`{"multi_last":["$KV.>"]}`)))
	for _, want := range []string{"", "204"} {
		m, err := answers.NextMsg(patience)
		require.NoError(t, err)
		require.Equal(t, want, m.Header.Get("Status"))
	}
	require.NoError(t, answers.Unsubscribe())
}

// requireOneAnswer has a node answer where no user's inbox is: as often as it was asked, and no more.
func requireOneAnswer(t *testing.T, node, client *party) {
	asked, err := node.SubscribeSync("raftbus.kv.>")
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	require.NoError(t, client.PublishRequest("raftbus.kv.get.app.k", "elsewhere", nil))
	m, err := asked.NextMsg(patience)
	require.NoError(t, err)
	require.NoError(t, m.Respond([]byte("once")))
	require.NoError(t, node.Flush())
	require.Empty(t, node.refusals())
	require.NoError(t, m.Respond([]byte("twice")))
	require.NoError(t, node.Flush())
	node.requireRefused("nodes/n1/clients", "elsewhere")
	require.NoError(t, asked.Unsubscribe())
}
