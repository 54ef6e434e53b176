package kv

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

func TestPublishedTableIsTheCodes(t *testing.T) {
	page, err := os.ReadFile("ERRORS.md")
	require.NoError(t, err)
	var rows []string
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "| 3") {
			rows = append(rows, line)
		}
	}
	require.Len(t, rows, len(ErrorTable))
	for i, k := range ErrorTable {
		require.Equal(t, 30001+i, k.ErrCode, "in order, without a gap, none twice")
		require.Less(t, k.ErrCode-errCodeBase, errCodesMax, "it is counted")
		require.Contains(t, []string{refused, unknown}, k.Outcome)
		require.Equal(t, fmt.Sprintf("| %d | %d | %s | %s | %s |", k.ErrCode, k.Code, k.Name, k.Outcome, k.Meaning), rows[i])
	}
}

func TestEveryRefusalOfTheStoreHasItsError(t *testing.T) {
	for code, want := range map[store.Code]ErrorKind{
		store.BucketExists: BucketExists, store.NoBucket: NoBucket, store.KeyExists: KeyExists, store.KeyNotFound: KeyNotFound,
		store.WrongRevision: WrongRevision, store.ValueTooLarge: TooLarge, store.MessageTooLarge: TooLarge, store.BucketFull: BucketFull,
		store.TTLDisabled: TTLDisabled, store.SettingsChanged: SettingsChanged, store.Importing: Importing, store.ReadOnly: ReadOnly,
		store.NotOpen: NotOpen, store.NotImporting: NotImporting, store.WrongLastSequence: WrongRevision,
		store.TooManyConsumers: TooManyWatches, store.NoConsumer: NoWatch,
	} {
		f := refusal(store.Result{Code: code, Current: 7}, "b", "k")
		require.Equal(t, want.ErrCode, f.ErrCode, "%v", code)
		require.Equal(t, want.Code, f.Code)
		require.EqualValues(t, 7, f.Current)
	}
}

func TestHeaderTextIsOneLine(t *testing.T) {
	require.Equal(t, "a  b é", headerText("a\r\nb é"))
}

// What a header quotes is no other header, by the lane as by NATS's client.
func TestHeaderOfALaneIsOfOneLineEach(t *testing.T) {
	header := nats.Header{"B": {"c\r\nD: e"}, "A": {"b\t\xe9"}}
	require.Equal(t, "NATS/1.0\r\nA: b\t\xe9\r\nB: c  D: e\r\n\r\n", string(jetstream.Block(header)))
	require.Len(t, jetstream.Block(header), reply{header: header}.size())
	require.Nil(t, jetstream.Block(nats.Header{}))
}

// L9: what an error quotes may be as large as a request can be, and the error is to arrive all the same.
func TestAnErrorQuotesAPartOnly(t *testing.T) {
	r := newLeader(t, nil)
	long := strings.Repeat("\u00e9", 300_000)
	answer := r.ask("kv.put.app.k", "v", headerTTL, long)
	requireError(t, BadRequest, answer)
	require.Less(t, len(answer.Data), 2*descriptionMax)
	require.True(t, utf8.Valid(answer.Data))
}
