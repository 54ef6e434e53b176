package jetstream

// Imports: what a bucket of a JetStream is here, its settings and its messages.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
)

// ImportSettings reads the configuration of a bucket's stream, for a cluster with that prefix. The error says what of it a bucket here
// cannot have.
func ImportSettings(prefix string, config []byte) (command.Settings, error) {
	var body configRequest
	if e := decode(config, &body); e != nil {
		return command.Settings{}, errors.New(e.Description)
	}
	from, is := strings.CutPrefix(body.Name, streamPrefix)
	if !is || !names.LikeBucket(from) { // it may be longer than one here
		return command.Settings{}, fmt.Errorf("the stream %q is no bucket", body.Name)
	}
	e := body.checkWords()
	if e == nil {
		e = body.complete(prefix, from)
	}
	if e != nil {
		return command.Settings{}, errors.New(e.Description)
	}
	return body.settings(), nil
}

// ImportMessage makes an entry of a message of a bucket's stream.
func ImportMessage(bucket, subject string, header map[string][]string, data []byte, sequence uint64, stored time.Time) (command.ImportEntry, error) {
	key, is := strings.CutPrefix(subject, subjectPrefix+bucket+".")
	if !is || !names.ValidSubject(key) {
		return command.ImportEntry{}, errors.New("no key of a bucket has the subject " + subject)
	}
	r := Request{Header: header}
	e := command.ImportEntry{Key: key, Sequence: sequence, Value: data, Header: Block(header), Time: stored.UnixNano()}
	e.TTL, _ = ParseTTL(r.first(headerTTL)) // what is none was not taken for one there either
	e.Op = r.op()
	switch strings.ToLower(r.first(headerRollup)) {
	case headerRollupOfKey:
		e.Rollup = command.RollupKey
	case headerRollupOfWholeBucket:
		e.Rollup = command.RollupBucket
	}
	return e, nil
}

// ImportFits reports whether an entry's headers are as ImportMessage writes them, and say what its op says: gets go by the op, and watchers are
// sent the headers as they are. Those of a server have 64 KiB, and are longer here by a blank in each line at most: what is longer is not parsed (Q11).
func ImportFits(e *command.ImportEntry) bool {
	if len(e.Header) == 0 {
		return true
	}
	if len(e.Header) > 2*headersBytesMax {
		return false
	}
	header := parseBlock(e.Header)
	return bytes.Equal(Block(header), e.Header) && Request{Header: header}.op() == e.Op
}
