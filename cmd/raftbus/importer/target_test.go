package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/command"
)

// targetOn is a target on a NATS server of its own, and somebody to answer it.
func targetOn(t *testing.T, o embedded.Options) (*Target, *nats.Conn) {
	server := natstest.Run(t, o)
	conn := natstest.Connect(t, server)
	return &Target{Conn: conn, Asker: native.NewAsker(conn), Prefix: "raftbus", Bucket: "app", Patience: 10 * time.Second}, conn
}

// Whoever hears that a bucket is not being imported any more has ended it, and not heard so, if it has reached what was to be reached: it may have
// been written to since.
func TestAnEndWhoseAnswerWasLost(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{})
	current := make(chan int, 1)
	_, err := conn.Subscribe("raftbus.bucket.import_end.app", func(m *nats.Msg) {
		_ = m.Respond(fmt.Appendf(nil, `{"error":{"code":409,"err_code":%d,"current_revision":%d}}`, kv.NotImporting.ErrCode, <-current))
	})
	require.NoError(t, err)
	for reached, ended := range map[int]bool{6: false, 7: true, 9: true} {
		current <- reached
		require.Equal(t, ended, into.End(t.Context(), 7) == nil, reached)
	}
}

// A NATS server that is gone is waited for as a leader is, also before anything was heard of it, and when the connection keeps no more of what it cannot
// send (F5).
func TestNATSIsWaitedFor(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, kept := range []int{-1, nats.DefaultReconnectBufSize} {
		for _, before := range []int{0, 1} { // requests that were answered
			server := natstest.Run(t, embedded.Options{Port: -1})
			leader := natstest.Connect(t, server, native.Options)
			_, err := leader.Subscribe("raftbus.bucket.import_begin.app", func(m *nats.Msg) { _ = m.Respond([]byte(`{"bucket":"app"}`)) })
			require.NoError(t, err)
			require.NoError(t, leader.Flush())
			conn := natstest.Connect(t, server, native.Options, nats.ReconnectBufSize(kept))
			into := &Target{Conn: conn, Asker: native.NewAsker(conn), Prefix: "raftbus", Bucket: "app", Patience: 20 * time.Second}
			for range before {
				_, err := into.Begin(t.Context(), nil)
				require.NoError(t, err)
			}

			server.Shutdown()
			require.Eventually(t, conn.IsReconnecting, 10*time.Second, time.Millisecond)
			another := make(chan *embedded.Server, 1)
			time.AfterFunc(300*time.Millisecond, func() {
				back, err := embedded.StartAgain(embedded.Options{Port: server.Port()})
				assert.NoError(t, err)
				another <- back
			})
			_, err = into.Begin(t.Context(), nil)
			t.Cleanup((<-another).Shutdown)
			require.NoError(t, err, "kept %d, before %d", kept, before)
		}
	}
}

// An answer that is lost is asked for again within the patience, however little that is, on both sides.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{})
	into.Patience = 2 * time.Second
	from := source{conn: conn, asker: into.Asker, bucket: "app", patience: into.Patience}
	loses := func(subject, answer string) {
		lost := false
		_, err := conn.Subscribe(subject, func(m *nats.Msg) {
			if lost {
				_ = m.Respond([]byte(answer))
			}
			lost = true
		})
		require.NoError(t, err)
	}
	loses("raftbus.bucket.info.app", `{"bucket":"app","revision":7}`)
	loses("$JS.API.STREAM.INFO.KV_app", `{"config":{},"state":{"last_seq":7}}`)
	info, err := into.Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, info.Revision)
	stream, err := from.info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, stream.State.LastSeq)

	from.bucket = "none" // nobody is there to be waited for
	began := time.Now()
	_, err = from.info(t.Context())
	require.ErrorIs(t, err, ErrNoJetStream)
	require.Less(t, time.Since(began), into.Patience)
}

// A connection that NATS has closed for good is not waited for (F12).
func TestAClosedConnectionIsNotWaitedFor(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{})
	conn.Close()
	began := time.Now()
	_, err := into.Info(t.Context())
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.Less(t, time.Since(began), into.Patience)
}

// Entries that are there already, up to the last that was sent, were done, and that was not heard. If another has been reached, somebody else imports.
func TestEntriesWhoseAnswerWasLost(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{})
	_, err := conn.Subscribe("raftbus.bucket.import_entries.app", func(m *nats.Msg) {
		_ = m.Respond(fmt.Appendf(nil, `{"error":{"code":409,"err_code":%d,"description":"wrong revision","current_revision":7}}`, kv.WrongRevision.ErrCode))
	})
	require.NoError(t, err)
	entries := func(last uint64) command.Import {
		return command.Import{Bucket: "app", After: last - 1, Entries: []command.ImportEntry{{Key: "k", Sequence: last}}}
	}
	reached, err := into.Import(t.Context(), entries(7))
	require.NoError(t, err)
	require.EqualValues(t, 7, reached)
	_, err = into.Import(t.Context(), entries(8))
	var f *native.Failure
	require.ErrorAs(t, err, &f)
	require.EqualValues(t, 7, f.Current)
	require.EqualError(t, err, "raftbus: wrong revision", "and not the JetStream")
}

// A copy that lacks an entry, or has another in its place, differs, and so does one of what was purged at the source since, also if nothing comes
// after it there (C6).
func TestACopyThatIsNotAsTheOriginalDiffers(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{StoreDir: t.TempDir()})
	js, err := conn.JetStream()
	require.NoError(t, err)
	bucket, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	for _, key := range []string{"k", "l"} {
		_, err := bucket.PutString(key, "v")
		require.NoError(t, err)
	}
	c := &copying{from: source{conn: conn, asker: into.Asker, bucket: "app", patience: 10 * time.Second}, into: *into, reached: 2}
	var copied []sumOf
	require.NoError(t, c.from.each(t.Context(), 1, func(e command.ImportEntry) (bool, error) {
		copied = append(copied, sumOf{e.Sequence, fmt.Sprintf("%x", e.Sum())})
		return true, nil
	}))
	answers := make(chan []sumOf, 1)
	_, err = conn.Subscribe("raftbus.bucket.import_sums.app", func(m *nats.Msg) {
		body, _ := json.Marshal(map[string]any{"bucket": "app", "entries": <-answers})
		_ = m.Respond(body)
	})
	require.NoError(t, err)
	compare := func(have ...sumOf) (difference string) {
		answers <- have
		info, err := c.from.info(t.Context())
		require.NoError(t, err)
		difference, err = c.compare(t.Context(), info)
		require.NoError(t, err)
		return difference
	}
	require.Empty(t, compare(copied...))
	require.Equal(t, "revision 2 is another one in raftbus: in the JetStream it is of key l", compare(copied[0], sumOf{2, copied[0].SHA256}))
	require.Equal(t, "raftbus has no revision 1, of key k", compare(copied[1]))
	require.Equal(t, "raftbus has no revision 2, of key l", compare(copied[0]))
	require.NoError(t, js.PurgeStream("KV_app", &nats.StreamPurgeRequest{Subject: "$KV.app.l"}))
	require.Equal(t, "the JetStream has no revision 2 any more", compare(copied...))
	stream, err := js.StreamInfo("KV_app")
	require.NoError(t, err)
	for _, ends := range []func(*nats.StreamConfig){
		func(c *nats.StreamConfig) { c.MaxAge = time.Hour },
		func(c *nats.StreamConfig) { c.AllowMsgTTL = true },
	} {
		changed := stream.Config
		ends(&changed)
		_, err := js.UpdateStream(&changed)
		require.NoError(t, err)
		require.Empty(t, compare(copied...), "where entries go by themselves, one that has gone is no difference")
		require.EqualValues(t, 1, c.sum.Expired)
	}
}

// C1: what clients write to the source while the copy is compared is copied too, though what was compared does not differ.
func TestWhatIsWrittenDuringTheComparisonIsCopied(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{StoreDir: t.TempDir()})
	js, err := conn.JetStream()
	require.NoError(t, err)
	bucket, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	_, err = bucket.PutString("k", "v")
	require.NoError(t, err)
	var have []sumOf
	_, err = conn.Subscribe("raftbus.bucket.*.app", func(m *nats.Msg) { // the copy, one request at a time
		var answer any
		if strings.Contains(m.Subject, "import_sums") {
			if len(have) == 1 {
				_, err := bucket.PutString("late", "v")
				require.NoError(t, err)
			}
			answer = map[string]any{"bucket": "app", "entries": have}
		} else {
			c, err := command.Decode(m.Data)
			require.NoError(t, err)
			for _, e := range c.Import.Entries {
				have = append(have, sumOf{e.Sequence, fmt.Sprintf("%x", e.Sum())})
			}
			answer = map[string]any{"bucket": "app", "revision": have[len(have)-1].Revision}
		}
		body, _ := json.Marshal(answer)
		_ = m.Respond(body)
	})
	require.NoError(t, err)
	c := &copying{
		options: Options{Bucket: "app", Name: "app"}, from: source{conn: conn, asker: into.Asker, bucket: "app", patience: 10 * time.Second}, into: *into,
	}
	info, err := c.from.info(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.follow(t.Context(), info))
	require.EqualValues(t, 2, c.reached)
	require.Len(t, have, 2)
}

// A time to live that the source's stream does not allow ends no entry there, and none of the copy (C6). That one never ends is heeded there all the
// same.
func TestATimeToLiveThatTheSourceDoesNotHeed(t *testing.T) {
	for allowed, want := range map[bool]time.Duration{false: 0, true: time.Hour} {
		into, conn := targetOn(t, embedded.Options{StoreDir: t.TempDir()})
		js, err := conn.JetStream()
		require.NoError(t, err)
		_, err = js.AddStream(&nats.StreamConfig{Name: "before", Subjects: []string{"before.>"}, AllowMsgTTL: true})
		require.NoError(t, err)
		for key, ttl := range map[string]string{"hour": "1h", "never": "never"} {
			_, err = js.PublishMsg(&nats.Msg{Subject: "before." + key, Header: nats.Header{"Nats-TTL": {ttl}}})
			require.NoError(t, err)
		}
		config := nats.StreamConfig{Name: "KV_app", Subjects: []string{"$KV.app.>"}, AllowMsgTTL: allowed, Sources: []*nats.StreamSource{
			{Name: "before", SubjectTransforms: []nats.SubjectTransformConfig{{Source: "before.>", Destination: "$KV.app.>"}}},
		}}
		_, err = js.AddStream(&config)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			info, err := js.StreamInfo("KV_app")
			return err == nil && info.State.Msgs == 2
		}, 20*time.Second, 20*time.Millisecond)
		config.Sources = nil // they make it no bucket
		_, err = js.UpdateStream(&config)
		require.NoError(t, err)

		got := map[string]time.Duration{}
		_, err = conn.Subscribe("raftbus.bucket.*.app", func(m *nats.Msg) {
			revision := 0
			if strings.Contains(m.Subject, "import_entries") {
				c, err := command.Decode(m.Data)
				require.NoError(t, err)
				for _, e := range c.Import.Entries {
					got[e.Key], revision = time.Duration(e.TTL), int(e.Sequence)
				}
			}
			_ = m.Respond(fmt.Appendf(nil, `{"bucket":"app","revision":%d,"entries":[]}`, revision))
		})
		require.NoError(t, err)
		_, err = Run(t.Context(), Options{From: conn, Bucket: "app", Into: into.Conn, Prefix: "raftbus", Name: "app", Patience: 10 * time.Second})
		require.ErrorIs(t, err, ErrDiffers, "nothing was kept")
		require.Equal(t, map[string]time.Duration{"hour": want, "never": time.Duration(command.Never)}, got, allowed)
	}
}

// The entries that were counted last may be gone before they are sent: then nothing comes any more, and that is the end.
func TestReadingEndsIfTheLastEntriesExpire(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{StoreDir: t.TempDir()})
	js, err := conn.JetStream()
	require.NoError(t, err)
	_, err = js.AddStream(&nats.StreamConfig{Name: "KV_app", Subjects: []string{"$KV.app.>"}, MaxAge: 2 * time.Second})
	require.NoError(t, err)
	value := bytes.Repeat([]byte("v"), 512<<10) // flow control holds back what comes after some of these
	for i := range 100 {
		_, err := js.Publish(fmt.Sprintf("$KV.app.k%d", i), value)
		require.NoError(t, err)
	}
	from, read := source{conn: conn, asker: into.Asker, bucket: "app", patience: 3 * time.Second}, 0 // after which it knows that nothing comes
	require.NoError(t, from.each(t.Context(), 1, func(command.ImportEntry) (bool, error) {
		if read++; read == 1 {
			require.Eventually(t, func() bool {
				info, err := js.StreamInfo("KV_app")
				return err == nil && info.State.Msgs == 0
			}, 20*time.Second, 50*time.Millisecond)
		}
		return true, nil
	}))
	require.Less(t, read, 100, "nothing expired before it was sent")
}

// Who may not read the source is told so at once, and not that the JetStream is silent.
func TestReadingThatNATSRefuses(t *testing.T) {
	server := natstest.Run(t, embedded.Options{StoreDir: t.TempDir(), Users: []embedded.User{
		{Name: "owner", Password: "secret"}, {Name: "half", Password: "secret", DenyPublish: []string{"$JS.API.CONSUMER.CREATE.>"}},
	}})
	owner := natstest.Connect(t, server, nats.UserInfo("owner", "secret"))
	js, err := owner.JetStream()
	require.NoError(t, err)
	_, err = js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "app"})
	require.NoError(t, err)
	conn := natstest.Connect(t, server, nats.UserInfo("half", "secret"))
	from := source{conn: conn, asker: native.NewAsker(conn), bucket: "app", patience: 5 * time.Second}
	_, err = from.info(t.Context())
	require.NoError(t, err)
	began := time.Now()
	err = from.each(t.Context(), 1, func(command.ImportEntry) (bool, error) { return true, nil })
	require.ErrorContains(t, err, `Publish to "$JS.API.CONSUMER.CREATE.KV_app`)
	require.ErrorContains(t, err, "use credentials that may do it")
	require.NotErrorIs(t, err, native.ErrDenied, "an import that has begun is something that was done")
	require.Less(t, time.Since(began), from.patience)
}

// F11: what fits entry by entry fits in batches.
func TestABatchFitsInAMessage(t *testing.T) {
	into, conn := targetOn(t, embedded.Options{MaxPayload: 16 << 10})
	i, size := command.Import{Bucket: into.Bucket, After: 1 << 60}, 0
	for {
		e := command.ImportEntry{Key: strings.Repeat("k", 100), Sequence: 1<<60 + uint64(len(i.Entries)), Value: make([]byte, 100), Time: 1 << 62, TTL: 1 << 62}
		if size += e.Size(); size > into.batchBytes() {
			break
		}
		i.Entries = append(i.Entries, e)
	}
	require.Greater(t, len(i.Entries), 20)
	require.LessOrEqual(t, int64(len(command.Command{Import: &i}.Encode())), conn.MaxPayload())
}

// Who answers something else has imported nothing, nor ended an import.
func TestAStrangerImportsNothing(t *testing.T) { // C5
	into, conn := targetOn(t, embedded.Options{})
	words := make(chan string, 1)
	_, err := conn.Subscribe("raftbus.bucket.*.app", func(m *nats.Msg) { _ = m.Respond([]byte(<-words)) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for _, word := range []string{`{}`, `[]`, `ok`, `{"revision":7}`} {
		words <- word
		require.ErrorIs(t, into.End(t.Context(), 7), native.ErrStranger, word)
		words <- word
		_, err := into.Begin(t.Context(), nil)
		require.ErrorIs(t, err, native.ErrStranger, word)
		words <- word
		_, err = into.Info(t.Context())
		require.ErrorIs(t, err, native.ErrStranger, word)
	}
}
