package command

import (
	"maps"
	"slices"
	"time"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Settings are a bucket's settings. The zero value keeps one entry per key, for ever, of any size. It is written alike in
// commands and in stored buckets; fields of newer versions are kept as they came.
type Settings struct {
	// History is how many entries a key keeps, 1 to 64; 0 means 1. More costs disk.
	History uint64
	// TTL is how long an entry lives; 0 is for ever.
	TTL time.Duration
	// MaxValueSize bounds a value, in bytes; 0 leaves it to the bus.
	MaxValueSize uint64
	// MaxBytes bounds the sum of all entries, in bytes as EntrySize of package store counts them; 0 is no bound.
	MaxBytes    uint64
	Description string
	Metadata    map[string]string

	unknown []byte
}

const (
	tagHistory      = 1<<3 | wire.Varint
	tagTTL          = 2<<3 | wire.Varint
	tagMaxValueSize = 3<<3 | wire.Varint
	tagMaxBytes     = 4<<3 | wire.Varint
	tagDescription  = 5<<3 | wire.Bytes
	tagMetadata     = 6<<3 | wire.Bytes

	tagPairKey   = 1<<3 | wire.Bytes
	tagPairValue = 2<<3 | wire.Bytes
)

// Append writes the settings. Equal settings are written alike on every node, whatever order a map is in.
func (s *Settings) Append(b []byte) []byte {
	b = wire.AppendUint(b, tagHistory, s.History)
	b = wire.AppendUint(b, tagTTL, uint64(s.TTL))
	b = wire.AppendUint(b, tagMaxValueSize, s.MaxValueSize)
	b = wire.AppendUint(b, tagMaxBytes, s.MaxBytes)
	b = wire.AppendBytes(b, tagDescription, s.Description)
	for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
		pair := wire.AppendBytes(nil, tagPairKey, key)
		b = wire.AppendMessage(b, tagMetadata, wire.AppendBytes(pair, tagPairValue, s.Metadata[key]))
	}
	return append(b, s.unknown...)
}

// DecodeSettings reads settings.
func DecodeSettings(data []byte) (Settings, error) {
	var s Settings
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagHistory:
			s.History = f.Uint
		case tagTTL:
			s.TTL = time.Duration(f.Uint)
		case tagMaxValueSize:
			s.MaxValueSize = f.Uint
		case tagMaxBytes:
			s.MaxBytes = f.Uint
		case tagDescription:
			s.Description = string(f.Data)
		case tagMetadata:
			return s.addPair(f.Data)
		default:
			s.unknown = append(s.unknown, f.Raw...)
		}
		return nil
	})
	return s, err
}

func (s *Settings) addPair(data []byte) error {
	var key, value string
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagPairKey:
			key = string(f.Data)
		case tagPairValue:
			value = string(f.Data)
		}
		return nil
	})
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	s.Metadata[key] = value
	return err
}
