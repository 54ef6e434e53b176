package rpc_test

// What readers refuse: hostile, damaged and foreign bytes, built by hand with protowire.

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Numbers of raftbus.proto that these tests write by hand.
const (
	fieldFrom       = 3
	fieldTo         = 4
	fieldInstance   = 5
	fieldTerm       = 7
	bodyAppendLog   = 18
	bodyCommitLog   = 20
	bodyPingReturn  = 25
	bodyUnknown     = 63
	fieldUnknown    = 64
	fieldEntries    = 4 // of AppendLogCommand
	fieldConf       = 6 // of PingReturn
	fieldVoters     = 1 // of Configuration
	bodyChunk       = 26
	fieldRefusal    = 5
	fieldEntryKind  = 3
	fieldEntryIndex = 1
)

func varint(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func field(num protowire.Number, content ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(content, nil))
}

func message(fields ...[]byte) []byte {
	head := [][]byte{varint(1, rpc.ProtocolVersion), field(fieldFrom, []byte("n1")), field(fieldTo, []byte("n2"))}
	return bytes.Join(append(head, fields...), nil)
}

func fixed(num protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), v)
}

func chunk(fields ...[]byte) []byte { return message(field(bodyChunk, fields...)) }

func entry(index, term uint64) []byte { return append(varint(1, index), varint(2, term)...) }

// many is n fields, one made for each number from 1 on.
func many(n int, make func(i int) []byte) (all []byte) {
	for i := range n {
		all = append(all, make(i+1)...)
	}
	return all
}

func TestDecodeRefuses(t *testing.T) {
	commit := field(bodyCommitLog, varint(1, 5))
	_, _, err := rpc.Decode(message(commit), nil)
	require.NoError(t, err, "what the cases below break is in order")

	manyEntries := func(n int) []byte {
		return message(field(bodyAppendLog, many(n, func(i int) []byte { return field(fieldEntries, entry(uint64(i), 1)) })))
	}
	_, _, err = rpc.Decode(manyEntries(rpc.SmallEntries), nil)
	require.NoError(t, err)

	group := protowire.AppendTag(protowire.AppendTag(nil, fieldUnknown, protowire.StartGroupType), fieldUnknown, protowire.EndGroupType)
	for name, c := range map[string]struct {
		frame  []byte
		reason string
	}{
		"nothing":                  {nil, "does not begin with a version"},
		"no version":               {message(commit)[2:], "does not begin with a version"},
		"version zero":             {append(varint(1, 0), message(commit)[2:]...), "does not begin with a version"},
		"no body":                  {message(), "without sender, receiver or body"},
		"no sender":                {bytes.Join([][]byte{varint(1, 1), field(fieldTo, []byte("n2")), commit}, nil), "without sender"},
		"no receiver":              {bytes.Join([][]byte{varint(1, 1), field(fieldFrom, []byte("n1")), commit}, nil), "without sender"},
		"two bodies":               {message(commit, commit), "a second body"},
		"unknown body":             {message(field(bodyUnknown)), "field 63: a body unknown"},
		"body that is a number":    {message(varint(bodyCommitLog, 1)), "another type"},
		"sender too long":          {message(field(fieldFrom, bytes.Repeat([]byte("n"), rpc.MaxIDBytes+1)), commit), "at most 64"},
		"sender is no token":       {message(field(fieldFrom, []byte("n1.>")), commit), "an id is"},
		"sender is not text":       {message(field(fieldFrom, []byte{0xff}), commit), "not UTF-8"},
		"sender is a number":       {message(varint(fieldFrom, 1), commit), "another type"},
		"term is text":             {message(field(fieldTerm, []byte("7")), commit), "another type"},
		"instance too short":       {message(field(fieldInstance, make([]byte, 15)), commit), "15 bytes where 16"},
		"instance too long":        {message(field(fieldInstance, make([]byte, 17)), commit), "17 bytes where 16"},
		"instance empty":           {message(field(fieldInstance), commit), "0 bytes where 16"},
		"cut in a tag":             {append(message(commit), 0x80), "tag is broken"},
		"cut in a length":          {append(message(commit), protowire.AppendTag(nil, fieldFrom, protowire.BytesType)...), "cut off"},
		"longer than it is":        {append(message(commit), 0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f), "cut off"},
		"group":                    {append(message(commit), group...), "broken or cut off"},
		"broken in the body":       {message(field(bodyCommitLog, []byte{0x08})), "cut off"},
		"entry after a gap":        {message(field(bodyAppendLog, varint(2, 7), field(fieldEntries, entry(9, 1)))), "entry 1/9 does not follow 0/7"},
		"entry twice":              {message(field(bodyAppendLog, field(fieldEntries, entry(1, 1)), field(fieldEntries, entry(1, 1)))), "entry 1/1 does not follow 1/1"},
		"entry's term falls":       {message(field(bodyAppendLog, field(fieldEntries, entry(1, 2)), field(fieldEntries, entry(2, 1)))), "entry 1/2 does not follow 2/1"},
		"entry's term below prev":  {message(field(bodyAppendLog, varint(1, 3), field(fieldEntries, entry(1, 2)))), "entry 2/1 does not follow 3/0"},
		"entry beyond all indexes": {message(field(bodyAppendLog, varint(2, math.MaxUint64), field(fieldEntries, entry(0, 1)))), "begin at 1"},
		"entry of term zero":       {message(field(bodyAppendLog, field(fieldEntries, entry(1, 0)))), "begin at 1"},
		"entry cut":                {message(field(bodyAppendLog, field(fieldEntries, []byte{0x08}))), "cut off"},
		"entry of a large kind":    {message(field(bodyAppendLog, field(fieldEntries, entry(1, 1), varint(fieldEntryKind, 256)))), "too large"},
		"too many small entries":   {manyEntries(rpc.SmallEntries * 2), "items in"},
		"too many members": {message(field(bodyPingReturn, field(fieldConf, many(rpc.MaxMembers+1, func(i int) []byte {
			return field(fieldVoters, field(1, bytes.Repeat([]byte("n"), i%64+1)))
		})))), "more than 64 items"},
		"too many starts":                  {message(field(bodyPingReturn, many(rpc.MaxMembers+1, func(int) []byte { return field(10, field(1, []byte("n1"))) }))), "more than 64 items"},
		"start cut":                        {message(field(bodyPingReturn, field(10, []byte{0x0a}))), "cut off"},
		"member twice":                     {message(field(bodyPingReturn, field(fieldConf, field(fieldVoters, field(1, []byte("n1"))), field(fieldVoters, field(1, []byte("n1")))))), "n1 is listed twice"},
		"member without id":                {message(field(bodyPingReturn, field(fieldConf, field(fieldVoters)))), "without an id"},
		"member cut":                       {message(field(bodyPingReturn, field(fieldConf, field(fieldVoters, []byte{0x0a})))), "cut off"},
		"configuration twice":              {message(field(bodyPingReturn, field(fieldConf), field(fieldConf))), "a second configuration"},
		"chunk of no transfer":             {chunk(varint(2, 9), field(5, []byte("x"))), "impossible shape"},
		"chunk of no snapshot":             {chunk(fixed(3, 1), field(5, []byte("x"))), "impossible shape"},
		"chunk of nothing":                 {chunk(varint(2, 9), fixed(3, 1)), "impossible shape"},
		"last chunk without digest":        {chunk(varint(2, 9), fixed(3, 1), varint(7, 1), field(9)), "impossible shape"},
		"last chunk with a short digest":   {chunk(varint(2, 9), fixed(3, 1), varint(7, 1), field(8, make([]byte, 31)), field(9)), "impossible shape"},
		"last chunk without configuration": {chunk(varint(2, 9), fixed(3, 1), varint(7, 1), field(8, make([]byte, 32))), "impossible shape"},
		"digest before the last chunk":     {chunk(varint(2, 9), fixed(3, 1), field(5, []byte("x")), field(8, make([]byte, 32))), "impossible shape"},
		"refusal too long":                 {message(field(bodyPingReturn, field(fieldRefusal, make([]byte, rpc.MaxRefusalBytes+1)))), "at most 1024"},
		"refusal is no text":               {message(field(bodyPingReturn, field(fieldRefusal, []byte{0xff}))), "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			h, b, err := rpc.Decode(c.frame, nil)
			require.ErrorIs(t, err, rpc.ErrMalformed)
			require.ErrorContains(t, err, c.reason)
			require.Zero(t, h)
			require.Nil(t, b)
		})
	}
}

func TestManyEntriesAreTakenWhenTheyAreWorthIt(t *testing.T) {
	batch := func(n int) *rpc.AppendLogCommand {
		c := &rpc.AppendLogCommand{}
		for i := range n {
			c.Entries = append(c.Entries, rpc.Entry{
				Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: goldenTime, Data: []byte("ten bytes."),
			})
		}
		return c
	}
	h := &rpc.Header{From: "n1", To: "n2"}
	most := batch(rpc.MaxEntries)
	_, got, err := rpc.Decode(rpc.Append(nil, h, most, nil), nil)
	require.NoError(t, err)
	require.Equal(t, most, got)

	_, _, err = rpc.Decode(rpc.Append(nil, h, batch(rpc.MaxEntries+1), nil), nil)
	require.ErrorIs(t, err, rpc.ErrMalformed)
	require.ErrorContains(t, err, "more than 4096 items")
}

func TestDecodeRefusesOtherVersions(t *testing.T) {
	// Nothing after the version is looked at: it may mean anything.
	_, _, err := rpc.Decode(append(varint(1, 2), 0xff), nil)
	require.ErrorIs(t, err, rpc.ErrVersion)
	require.EqualError(t, err, "other protocol version: the sender speaks 2, this node 1: let both run the same release")
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	fixed32 := protowire.AppendFixed32(protowire.AppendTag(nil, fieldUnknown, protowire.Fixed32Type), 1)
	fixed64 := protowire.AppendFixed64(protowire.AppendTag(nil, fieldUnknown, protowire.Fixed64Type), 1)
	later := bytes.Join([][]byte{varint(fieldUnknown, 9), field(fieldUnknown, []byte("later")), fixed32, fixed64}, nil)

	_, b, err := rpc.Decode(message(later, field(bodyCommitLog, later, varint(1, 5), later), later), nil)
	require.NoError(t, err)
	require.Equal(t, &rpc.CommitLogCommand{Commit: 5}, b)

	_, b, err = rpc.Decode(message(field(bodyAppendLog, field(fieldEntries, later, entry(1, 1), later))), nil)
	require.NoError(t, err)
	require.Equal(t, &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1}}}, b)
}

// A kind of a later release must reach the node, which stops on it (F28).
func TestUnknownKindIsNotRefused(t *testing.T) {
	e, err := rpc.DecodeEntry(append(entry(1, 1), varint(fieldEntryKind, 200)...))
	require.NoError(t, err)
	require.Equal(t, rpc.EntryKind(200), e.Kind)
	require.False(t, e.Kind.Known())
}

func TestDecodeEntryRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":    nil,
		"index zero": entry(0, 1),
		"term zero":  entry(1, 0),
		"cut":        entry(1, 1)[:3],
		"index text": append(entry(1, 1), field(fieldEntryIndex, []byte("1"))...),
	} {
		_, err := rpc.DecodeEntry(b)
		require.ErrorIs(t, err, rpc.ErrMalformed, name)
	}
}

func TestDecodeConfigurationRefuses(t *testing.T) {
	n1, again := rpc.Member{ID: "n1"}, rpc.Member{ID: "n1", Instance: rpc.InstanceID{1}}
	for name, c := range map[string]rpc.Configuration{
		"voter twice":       {Voters: []rpc.Member{n1, n1}},
		"outgoing twice":    {Outgoing: []rpc.Member{n1, n1}},
		"learner twice":     {Learners: []rpc.Member{n1, n1}},
		"id that is no id":  {Voters: []rpc.Member{{ID: "n 1"}}},
		"id too long":       {Voters: []rpc.Member{{ID: rpc.NodeID(strings.Repeat("n", rpc.MaxIDBytes+1))}}},
		"voter and learner": {Voters: []rpc.Member{n1}, Learners: []rpc.Member{n1}},
		"learner that goes": {Outgoing: []rpc.Member{n1}, Learners: []rpc.Member{again}},
		"two instances":     {Voters: []rpc.Member{n1}, Outgoing: []rpc.Member{again}},
		"member without id": {Learners: []rpc.Member{{Instance: rpc.InstanceID{1}}}},
	} {
		_, err := rpc.DecodeConfiguration(rpc.AppendConfiguration(nil, &c))
		require.ErrorIs(t, err, rpc.ErrMalformed, name)
	}
}

func TestEntryDataSharesTheFrame(t *testing.T) {
	frame := rpc.AppendEntry(nil, &rpc.Entry{Index: 1, Term: 1, Data: []byte("blue")})
	e, err := rpc.DecodeEntry(frame)
	require.NoError(t, err)
	require.Same(t, &frame[len(frame)-4], &e.Data[0])
	require.Equal(t, len(e.Data), cap(e.Data), "an append to it cannot write to the frame")
}
