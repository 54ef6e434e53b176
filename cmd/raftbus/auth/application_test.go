package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// An application connects as docs/operating.md says: with the credential, the inboxes and the domain of its user. Without the inboxes
// it hears nothing, and NATS says what docs/troubleshooting.md quotes.
func connectAsDocumented(t *testing.T, r *realm) {
	seedFile, url := filepath.Join(r.dir, "users", "client.nk"), r.server.URL()
	// documented: from here
	seed, err := nats.NkeyOptionFromSeed(seedFile)
	require.NoError(t, err)
	nc, err := nats.Connect(url, seed, nats.CustomInboxPrefix("_INBOX_client"))
	require.NoError(t, err)
	js, err := jetstream.NewWithDomain(nc, "raftbus")
	require.NoError(t, err)
	// documented: to here
	defer nc.Close()
	kv, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "documented"})
	require.NoError(t, err)
	_, err = kv.PutString(within(t), "k", "v")
	require.NoError(t, err)
	w, err := kv.WatchAll(t.Context())
	require.NoError(t, err)
	require.Equal(t, "v", string((<-w.Updates()).Value()))
	require.NoError(t, w.Stop())
	bare, err := nc.Request("$KV.documented.k", []byte("w"), patience) // as nats.py puts, whatever the domain
	require.NoError(t, err)
	require.Contains(t, string(bare.Data), `"seq":2`)

	deaf := r.connect(seed)
	inbox := deaf.NewInbox()
	_, err = deaf.SubscribeSync(inbox)
	require.NoError(t, err)
	deaf.requireRefused("who has no inbox prefix", inbox)
	require.Contains(t, strings.ToLower(strings.Join(deaf.refused, " ")), `permissions violation for subscription to "_inbox.`)
}

func TestTheDocumentConnectsLikeThis(t *testing.T) {
	source, err := os.ReadFile("application_test.go")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(source), "// documented: from here\n")
	text, _, _ = strings.Cut(text, "// documented: to here\n")
	text = strings.NewReplacer("require.NoError(t, err)", "check(err)", "seedFile", `"auth/users/client.nk"`, "url", `"nats://127.0.0.1:4222"`).Replace(text)
	have, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operating.md"))
	require.NoError(t, err)
	require.Contains(t, unindented(string(have)), unindented(text))
}

var indent = regexp.MustCompile(`(?m)^[ \t]+`)

func unindented(text string) string { return indent.ReplaceAllString(text, "") }
