package clisuite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/built"
)

// imported is what `raftbus import --json` prints.
type imported struct {
	Bucket                             string
	Copied, Entries, Expired, Revision uint64
	SHA256                             string
	Resumed, Open                      bool
	said                               string // on stderr
	code                               int
}

func importing(t testing.TB, from, into *place, args ...string) *exec.Cmd {
	t.Helper()
	built.Seen(t)
	all := append([]string{"import", "--json", "--no-context", "--nats", into.urls[0]}, args...)
	if from != into {
		all = append(all, "--from-nats", from.urls[0])
	}
	return exec.Command(raftbus, all...)
}

func runImport(t testing.TB, from, into *place, args ...string) (is imported) {
	cmd := importing(t, from, into, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out.Bytes(), &is), out.String())
	}
	is.said, is.code = stderr.String(), cmd.ProcessState.ExitCode()
	return is
}

func mustImport(t testing.TB, from, into *place, args ...string) imported {
	is := runImport(t, from, into, args...)
	require.Zero(t, is.code, is.said)
	return is
}

// messages are all that a bucket keeps, as they are stored.
func (p *place) messages(t testing.TB, bucket string) (list []jetstream.RawStreamMsg) {
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, err := js.Stream(ctx, "KV_"+bucket)
		require.NoError(t, err)
		for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
			m, err := stream.GetMsg(ctx, sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			require.NoError(t, err)
			list = append(list, *m)
		}
	})
	return list
}

func (p *place) state(t testing.TB, bucket string) (state jetstream.StreamState) {
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, err := js.Stream(ctx, "KV_"+bucket)
		require.NoError(t, err)
		state = stream.CachedInfo().State
	})
	return state
}

// Everything that a bucket keeps is there with its revision, its headers and its time, and the next revision is the same.
func TestAnImportedBucketIsTheSame(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app --history 5 --ttl 1h --marker-ttl 1h --max-value-size 2MB --compress --description words --metadata owner=ann")
	theirs.give(t, "kv create app lives v --ttl 20m")
	for i := range 7 {
		theirs.give(t, fmt.Sprint("kv put app color ", i))
	}
	theirs.give(t, "kv put app gone v", "kv del app gone -f", "kv put app purged v", "kv purge app purged -f --ttl 30m", "kv put app a.b.c v", "kv put app color blue")
	theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
		for _, m := range []*nats.Msg{
			{Subject: "$KV.app.headers", Header: nats.Header{"Nats-Msg-Id": {"id"}, "x-lower": {"1", "2"}, "X-Upper": {"a:b c"}}, Data: []byte("v")},
			{Subject: "$KV.app.ümlaut/key", Data: bytes.Repeat([]byte{0, 255}, (1<<20-8<<10)/2)},
			{Subject: "$KV.app.empty"},
			{Subject: "$KV.app.never", Header: nats.Header{"Nats-TTL": {"never"}}, Data: []byte("v")},
			{Subject: "$KV.app.last", Data: []byte("v")},
		} {
			_, err := js.PublishMsg(ctx, m)
			require.NoError(t, err)
		}
		stream, err := js.Stream(ctx, "KV_app")
		require.NoError(t, err)
		require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSubject("$KV.app.last")))
	})
	is := mustImport(t, theirs, ours, "--from-js", "app")
	want := theirs.messages(t, "app")
	require.Equal(t, want, ours.messages(t, "app"))
	state := theirs.state(t, "app")
	is.said = "" // how far it is, where that takes more than a second
	require.Equal(t, imported{
		Bucket: "app", Copied: uint64(len(want)), Entries: uint64(len(want)), Revision: state.LastSeq, SHA256: is.SHA256,
	}, is)
	state.Bytes = 0
	got := ours.state(t, "app")
	got.Bytes = 0
	require.Equal(t, state, got)
	compare(t, theirs, ours, []step{
		cli("kv info app"), cli("kv ls app -v"), cli("kv history app color"), cli("kv history app gone"), cli("kv history app purged"),
		cli("kv get app color --revision 6"), cli("kv get app lives"),
		cli("kv put app color next"), cli("kv get app color"), cli("kv create app purged again"), cli("kv history app purged"),
		cli("kv add app --history 5 --ttl 1h --marker-ttl 1h --max-value-size 2MB --compress --description words --metadata owner=ann"),
	})
}

// give gives commands that must succeed.
func (p *place) give(t testing.TB, commands ...string) {
	for _, command := range commands {
		is := p.run(t, "", strings.Fields(command)...)
		require.Zero(t, is.code, "%s: %v", command, is)
	}
}

// What had a time to live when it was imported has the rest of it.
func TestWhatWasImportedExpires(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app --history 3 --marker-ttl 2s", "kv create app k v --ttl 4s", "kv put app l v")
	stored := theirs.messages(t, "app")[0].Time
	mustImport(t, theirs, ours, "--from-js", "app")
	var marker jetstream.RawStreamMsg
	await(t, func() bool {
		list := ours.messages(t, "app")
		marker = list[len(list)-1]
		return marker.Sequence == 3
	}, "it does not expire")
	require.Equal(t, "MaxAge", marker.Header.Get("Nats-Marker-Reason"))
	require.GreaterOrEqual(t, marker.Time.Sub(stored), 4*time.Second-50*time.Millisecond, "not early")
	ours.give(t, "kv put app l w")
}

// fill puts many entries into a bucket of a JetStream.
func (p *place) fill(t testing.TB, bucket string, count int, value []byte) {
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		for i := range count {
			_, err := js.PublishAsync(fmt.Sprintf("$KV.%s.k%06d", bucket, i), value, jetstream.WithStallWait(commandTime))
			require.NoError(t, err)
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		}
	})
	require.EqualValues(t, count, p.state(t, bucket).Msgs)
}

// An import that is killed goes on where it was; meanwhile nobody else writes to the bucket.
func TestAnImportThatWasKilledGoesOn(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app")
	const count = 20_000
	theirs.fill(t, "app", count, bytes.Repeat([]byte("v"), 1000))
	nc, err := nats.Connect(ours.urls[0])
	require.NoError(t, err)
	defer nc.Close()
	for try := 1; !killedWhileItCopied(t, theirs, ours, nc, count); try++ {
		require.Less(t, try, 5, "an import cannot be killed before it has copied everything")
		ours.give(t, "kv rm app -f")
	}
	require.Less(t, ours.state(t, "app").LastSeq, uint64(count))
	for _, command := range []string{"kv put app k v", "kv del app k000000 -f", "kv add app", "kv edit app --history 2", "kv purge app k000000 -f"} {
		is := ours.run(t, "", strings.Fields(command)...)
		require.Contains(t, is.err, "the bucket is being imported, and can only be read until 'raftbus import' has ended", command)
	}
	ours.give(t, "kv get app k000000")
	is := mustImport(t, theirs, ours, "--from-js", "app")
	require.True(t, is.Resumed)
	require.Less(t, is.Copied, uint64(count))
	require.EqualValues(t, count, is.Entries)
	ours.give(t, "kv put app k v")
	require.Equal(t, 4, runImport(t, theirs, ours, "--from-js", "app").code, "it has ended")
}

// killedWhileItCopied kills an import of count entries once it has begun to copy, and reports whether there was more to copy. On a busy machine it may
// have gone further before that is seen: to the comparison, in which the import is still open, or to its end.
func killedWhileItCopied(t *testing.T, theirs, ours *place, nc *nats.Conn, count uint64) bool {
	cmd := importing(t, theirs, ours, "--from-js", "app")
	require.NoError(t, cmd.Start())
	type state struct {
		Revision  uint64
		Importing bool
	}
	var info state
	begun := func() bool {
		info = state{}
		m, err := nc.Request("raftbus.bucket.info.app", nil, 10*time.Second)
		return err == nil && json.Unmarshal(m.Data, &info) == nil && info.Revision > 0
	}
	await(t, begun, "nothing is imported")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	await(t, begun, "the bucket is gone")
	const batch = 500 // entries that may have been on their way when it was killed
	return info.Importing && info.Revision+batch < count
}

// An import outlives leaders.
func TestAnImportOutlivesLeaders(t *testing.T) {
	needCLI(t)
	server := jetStream(t)
	theirs, ours := at(t, "", jetStream(t).URL()), at(t, "raftbus", server.URL())
	nodes := startNodes(t, false, server)
	theirs.give(t, "kv add app")
	const count = 30_000
	theirs.fill(t, "app", count, bytes.Repeat([]byte("v"), 300))
	ended := make(chan imported, 1)
	go func() { ended <- runImport(t, theirs, ours, "--from-js", "app") }()
	transfers := 0
	for {
		for _, r := range nodes {
			if r.Status().Role == "leader" {
				ctx, cancel := context.WithTimeout(context.Background(), commandTime)
				if r.TransferLeadership(ctx, "") == nil {
					transfers++
				}
				cancel()
			}
		}
		select {
		case is := <-ended:
			require.Zero(t, is.code, is.said)
			require.EqualValues(t, count, is.Entries)
			require.Positive(t, transfers)
			require.Equal(t, theirs.state(t, "app").LastSeq, ours.state(t, "app").LastSeq)
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// A bucket is copied while its clients write, and the rest of it once they have stopped.
func TestAnImportFollowsTheWriters(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app --history 2")
	theirs.fill(t, "app", 2_000, []byte("v"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
			kv, err := js.KeyValue(ctx, "app")
			for i := 0; err == nil; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if key := fmt.Sprintf("k%06d", i%100); i%3 == 0 {
					err = kv.Purge(ctx, key)
				} else {
					_, err = kv.PutString(ctx, key, fmt.Sprint(i))
				}
			}
			t.Errorf("the writer: %v", err)
		})
	}()
	first := runImport(t, theirs, ours, "--from-js", "app", "--keep-open") // it may have been overtaken all the time
	close(stop)
	<-stopped
	if first.code == 0 {
		require.True(t, first.Open)
	}
	is := mustImport(t, theirs, ours, "--from-js", "app")
	require.True(t, is.Resumed)
	require.False(t, is.Open)
	sameButFresh(t, theirs.messages(t, "app"), ours.messages(t, "app"))
}

// sameButFresh compares entries that were copied when just written: their time is the source's, or the cluster's where that is behind (by what
// pings take), since no entry's time is ahead of the log's.
func sameButFresh(t testing.TB, theirs, ours []jetstream.RawStreamMsg) {
	require.Len(t, ours, len(theirs))
	for i, want := range theirs {
		got := ours[i]
		require.LessOrEqual(t, got.Time, want.Time)
		require.WithinDuration(t, want.Time, got.Time, time.Second)
		require.Equal(t, got.Time.Format(time.RFC3339Nano), got.Header.Get("Nats-Time-Stamp"))
		want.Time = got.Time
		want.Header.Set("Nats-Time-Stamp", got.Header.Get("Nats-Time-Stamp"))
		require.Equal(t, want, got)
	}
}

// Who watches a bucket while it is imported sees every entry once, in order, although revisions are left out.
func TestAnImportIsWatched(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app --history 5", "kv put app a 1", "kv put app b 2")
	mustImport(t, theirs, ours, "--from-js", "app", "--keep-open")
	seen := ours.watch(t, "app", strings.Fields("kv watch app --history"), 2, func() {
		for i := range 10 {
			theirs.give(t, fmt.Sprint("kv put app a ", i), "kv put app gone v", fmt.Sprint("kv put app b ", i))
			theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
				stream, err := js.Stream(ctx, "KV_app")
				require.NoError(t, err)
				require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSubject("$KV.app.gone")))
			})
			mustImport(t, theirs, ours, "--from-js", "app", "--keep-open")
		}
		mustImport(t, theirs, ours, "--from-js", "app")
		ours.give(t, "kv put app last v")
	}, 21)
	want := []string{"app > a: 1", "app > b: 2"}
	for i := range 10 {
		want = append(want, fmt.Sprint("app > a: ", i), fmt.Sprint("app > b: ", i))
	}
	var got []string
	for line := range strings.Lines(seen.out) {
		got = append(got, strings.TrimSpace(line[strings.Index(line, "app > "):]))
	}
	require.Equal(t, append(want, "app > last: v"), got)
}

func TestWhatCannotBeImportedIsRefused(t *testing.T) {
	needCLI(t)
	theirs, ours := at(t, "", jetStream(t).URL()), dev(t)
	theirs.give(t, "kv add app", "kv add origin", "kv add image --mirror origin", "kv add merged --source origin", "kv put app k v", "kv put app l v")
	ours.give(t, "kv add there")
	theirs.give(t, "kv add there")
	theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_deep", Subjects: []string{"$KV.deep.>"}, MaxMsgsPerSubject: 100})
		require.NoError(t, err)
	})
	theirs.give(t, "kv add large", "kv add larger")
	for bucket, size := range map[string]int{"large": 1<<20 - 8<<10 + 1, "larger": 1<<20 - 16} {
		theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
			_, err := js.Publish(ctx, "$KV."+bucket+".k", make([]byte, size))
			require.NoError(t, err)
		})
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--from-js large", 8, "raise max_payload of the NATS server"},
		{"--from-js larger", 8, "raise its max_payload"},
		{"--from-js none", 3, "the JetStream has no stream KV_none"},
		{"--from-js there", 4, "raftbus has a bucket there already"},
		{"--from-js image", 8, "mirror is not supported"},
		{"--from-js merged", 8, "sources are not supported"},
		{"--from-js deep", 8, "max_msgs_per_subject must be 1 to 64"},
		{"--from-js app --from-domain none --patience 1s", 5, "name its domain with --from-domain"},
		{"--from-js app --prefix other --patience 1s", 7, "raftbus (prefix other) does not answer for 1s"},
		{"--from-js app --to bad.name", 2, "bucket \"bad.name\": use"},
		{"--from-js there --finish", 4, "bucket there is not being imported"},
		{"--from-js none --finish", 3, "no bucket"},
		{"", 2, "--from-js is missing"},
		{"--from-js app --finish --keep-open", 2, "give one of them"},
	} {
		is := runImport(t, theirs, ours, strings.Fields(c.args)...)
		require.Equal(t, c.code, is.code, "%s: %s", c.args, is.said)
		require.Contains(t, is.said, c.says, c.args)
	}

	require.True(t, mustImport(t, theirs, ours, "--from-js", "app", "--to", "copy", "--keep-open").Open)
	theirs.client(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, err := js.Stream(ctx, "KV_app")
		require.NoError(t, err)
		require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSubject("$KV.app.k")))
	})
	is := runImport(t, theirs, ours, "--from-js", "app", "--to", "copy")
	require.Equal(t, 1, is.code)
	require.Contains(t, is.said, "the JetStream has no revision 1 any more")
	ours.give(t, "kv rm copy -f")
	require.EqualValues(t, 1, mustImport(t, theirs, ours, "--from-js", "app", "--to", "copy").Entries)
	ours.give(t, "kv rm large -f", "kv rm larger -f")
	require.Equal(t, "copy\nthere\n", ours.run(t, "", "kv", "ls", "-n").out)
}

// Where the JetStream that a bucket comes from serves the same clients, it stays theirs until it is removed there.
func TestAnImportBesideTheJetStreamItComesFrom(t *testing.T) {
	needCLI(t)
	ours, theirs := besideJetStream(t)
	theirs.give(t, "kv put foreign k v")
	is := runImport(t, ours, ours, "--from-js", "foreign")
	require.Equal(t, 8, is.code)
	require.Contains(t, is.said, "another JetStream of this account has it too")
	nc, err := nats.Connect(ours.urls[0])
	require.NoError(t, err)
	defer nc.Close()
	bare := func() string {
		m, err := nc.Request("$KV.foreign.k", []byte("w"), 10*time.Second)
		require.NoError(t, err)
		return string(m.Data)
	}
	require.Equal(t, `{"stream":"KV_foreign","seq":2}`, bare())
	require.Equal(t, 8, runImport(t, ours, ours, "--from-js", "foreign").code, "again, for what was written meanwhile")
	theirs.give(t, "kv rm foreign -f")
	require.EqualValues(t, 2, mustImport(t, ours, ours, "--from-js", "foreign", "--finish").Revision)
	require.Equal(t, `{"stream":"KV_foreign","domain":"raftbus","seq":3}`, bare())
	require.Equal(t, "w", ours.run(t, "", "kv", "get", "foreign", "k", "--raw").out)
}
