package rpc_test

// The hand-written encoding against raftbus.proto: every message is built a second time as the schema says, by the names of
// its fields alone, and both forms must be the same in both directions.

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/raft/rpc"
)

func compileSchema(t *testing.T) protoreflect.FileDescriptor {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := compiler.Compile(t.Context(), "raftbus.proto")
	require.NoError(t, err)
	return files[0]
}

func TestMessagesAreOfTheSchema(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		h, b := headers.Draw(t, "header"), bodies.Draw(t, "body")
		want := asMessage(t, schema, h, b)

		got := parse(t, want.Descriptor(), rpc.Append(nil, h, b, nil))
		require.True(t, proto.Equal(want, got), "want %v\ngot %v", want, got)

		gotHeader, gotBody, err := rpc.Decode(bytesOf(t, want), nil)
		require.NoError(t, err)
		require.Equal(t, *h, gotHeader)
		require.Equal(t, b, gotBody)
	})
}

func TestEntriesAreOfTheSchema(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		e := entries.Draw(t, "entry")
		want := asSchemaSays(t, schema, &e)
		require.True(t, proto.Equal(want, parse(t, want.Descriptor(), rpc.AppendEntry(nil, &e))))

		got, err := rpc.DecodeEntry(bytesOf(t, want))
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

func TestConfigurationsAreOfTheSchema(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		c := configurations.Draw(t, "configuration")
		want := asSchemaSays(t, schema, c)
		require.True(t, proto.Equal(want, parse(t, want.Descriptor(), rpc.AppendConfiguration(nil, c))))

		got, err := rpc.DecodeConfiguration(bytesOf(t, want))
		require.NoError(t, err)
		require.Equal(t, *c, got)
	})
}

func TestMACIsOfTheSchema(t *testing.T) {
	h, b := &rpc.Header{From: "n1", To: "n2"}, &rpc.CommitLogCommand{Commit: 1}
	message := compileSchema(t).Messages().ByName("Message")
	got := parse(t, message, rpc.Append(nil, h, b, rpc.NewKeys([]byte("key"), nil)))
	require.Len(t, got.Get(message.Fields().ByName("mac")).Bytes(), 32)
}

// asMessage builds the whole message as the schema says.
func asMessage(t require.TestingT, schema protoreflect.FileDescriptor, h *rpc.Header, b rpc.Body) *dynamicpb.Message {
	fields := schema.Messages().ByName("Message").Fields()
	bodyName := protoreflect.Name(snake(reflect.TypeOf(b).Elem().Name()))

	m := dynamicpb.NewMessage(schema.Messages().ByName("Message"))
	m.Set(fields.ByName("version"), protoreflect.ValueOfUint32(rpc.ProtocolVersion))
	setFields(t, schema, m, reflect.ValueOf(h).Elem())
	m.Set(fields.ByName(bodyName), protoreflect.ValueOfMessage(asSchemaSays(t, schema, b)))
	return m
}

// asSchemaSays builds the message of the schema that has v's name, and holds it to have v's fields and no others.
func asSchemaSays(t require.TestingT, schema protoreflect.FileDescriptor, v any) *dynamicpb.Message {
	value := reflect.ValueOf(v).Elem()
	descriptor := schema.Messages().ByName(protoreflect.Name(value.Type().Name()))
	require.NotNil(t, descriptor, "%T is not in the schema", v)
	m := dynamicpb.NewMessage(descriptor)
	require.Equal(t, descriptor.Fields().Len(), setFields(t, schema, m, value), "fields of %T", v)
	return m
}

// setFields sets the fields of m that have the names of v's, and returns how many v has. An entry id is two fields.
func setFields(t require.TestingT, schema protoreflect.FileDescriptor, m *dynamicpb.Message, v reflect.Value) (count int) {
	for i := range v.NumField() {
		name := snake(v.Type().Field(i).Name)
		if id, ok := v.Field(i).Interface().(rpc.EntryID); ok {
			setField(t, schema, m, name+"_term", reflect.ValueOf(id.Term))
			setField(t, schema, m, name+"_index", reflect.ValueOf(id.Index))
			count += 2
			continue
		}
		setField(t, schema, m, name, v.Field(i))
		count++
	}
	return count
}

func setField(t require.TestingT, schema protoreflect.FileDescriptor, m *dynamicpb.Message, name string, v reflect.Value) {
	field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	require.NotNil(t, field, "%s has no field %s in the schema", m.Descriptor().Name(), name)
	if v.IsZero() {
		return
	}
	if field.IsList() {
		list := m.Mutable(field).List()
		for i := range v.Len() {
			if field.Message() == nil {
				list.Append(scalar(t, field, v.Index(i)))
				continue
			}
			list.Append(protoreflect.ValueOfMessage(asSchemaSays(t, schema, v.Index(i).Addr().Interface())))
		}
		return
	}
	if field.Message() != nil {
		m.Set(field, protoreflect.ValueOfMessage(asSchemaSays(t, schema, v.Interface())))
		return
	}
	m.Set(field, scalar(t, field, v))
}

func scalar(t require.TestingT, field protoreflect.FieldDescriptor, v reflect.Value) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.Bool())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(v.Uint()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(v.Uint())
	case protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(v.Int())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(v.String())
	case protoreflect.BytesKind:
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return protoreflect.ValueOfBytes(b)
	}
	require.Fail(t, "a kind of field we do not use", "%s", field.FullName())
	return protoreflect.Value{}
}

// bytesOf encodes with the version first, as our rules beyond protobuf's demand.
func bytesOf(t require.TestingT, m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return b
}

func parse(t require.TestingT, descriptor protoreflect.MessageDescriptor, b []byte) *dynamicpb.Message {
	m := dynamicpb.NewMessage(descriptor)
	require.NoError(t, proto.Unmarshal(b, m))
	requireAllKnown(t, m)
	return m
}

func requireAllKnown(t require.TestingT, m protoreflect.Message) {
	require.Empty(t, m.GetUnknown(), "%s has fields that the schema does not know", m.Descriptor().Name())
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				requireAllKnown(t, v.List().Get(i).Message())
			}
		case field.Message() != nil:
			requireAllKnown(t, v.Message())
		}
		return true
	})
}

var wordStart = regexp.MustCompile(`([a-z])([A-Z])`)

// snake is the name that a Go field or type has in the schema: SenderID is sender_id.
func snake(name string) string { return strings.ToLower(wordStart.ReplaceAllString(name, "${1}_$2")) }
