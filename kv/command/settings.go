package command

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/raftbus/raftbus/kv/internal/wire"
)

// Bounds of settings, whoever gives them. Those of nats-server are larger for metadata, and it has none for history.
const (
	HistoryMax          = 64
	DescriptionBytesMax = 4 << 10
	MetadataBytesMax    = 16 << 10 // names and values, in all
	TTLMin              = 100 * time.Millisecond
	MarkerTTLMin        = time.Second
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
	// MarkerTTL is how long the marker lives that is left when a key's last entry expires; 0 leaves none. It is also the least TTL
	// of an entry, unless a key keeps one only.
	MarkerTTL time.Duration
	// AllowTTL lets writes have a TTL of their own.
	AllowTTL bool
	// DuplicateWindow is how long a message id is remembered; 0 is as Window says.
	DuplicateWindow time.Duration
	// MaxMessageSize bounds header and value together, in bytes; 0 leaves it to the bus.
	MaxMessageSize uint64
	Republish      *Republish
	// Echo is what else a client has set that only has to be told back, as it gave it.
	Echo []byte
	// ReadOnly has the bucket take no writes and no purges. Entries still expire, and it can be removed.
	ReadOnly bool

	unknown []byte
}

// Republish says where entries are published once they are stored, and as which subjects.
type Republish struct {
	Source, Destination string
	HeadersOnly         bool
}

// WindowDefault is how long a message id is remembered if a bucket does not say.
const WindowDefault = 2 * time.Minute

// Window is how long a message id is remembered.
func (s *Settings) Window() time.Duration {
	switch {
	case s.DuplicateWindow > 0:
		return s.DuplicateWindow
	case s.TTL > 0:
		return min(s.TTL, WindowDefault)
	}
	return WindowDefault
}

// Equal reports whether the settings are the same, those of newer versions included.
func (s *Settings) Equal(other *Settings) bool { return bytes.Equal(s.Append(nil), other.Append(nil)) }

const (
	tagHistory      = 1<<3 | wire.Varint
	tagTTL          = 2<<3 | wire.Varint
	tagMaxValueSize = 3<<3 | wire.Varint
	tagMaxBytes     = 4<<3 | wire.Varint
	tagDescription  = 5<<3 | wire.Bytes
	tagMetadata     = 6<<3 | wire.Bytes

	tagMarkerTTL       = 7<<3 | wire.Varint
	tagAllowTTL        = 8<<3 | wire.Varint
	tagDuplicateWindow = 9<<3 | wire.Varint
	tagMaxMessageSize  = 10<<3 | wire.Varint
	tagRepublish       = 11<<3 | wire.Bytes
	tagEcho            = 12<<3 | wire.Bytes
	tagReadOnly        = 13<<3 | wire.Varint

	tagSource      = 1<<3 | wire.Bytes
	tagDestination = 2<<3 | wire.Bytes
	tagHeadersOnly = 3<<3 | wire.Varint

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
	b = wire.AppendUint(b, tagMarkerTTL, uint64(s.MarkerTTL))
	b = wire.AppendBool(b, tagAllowTTL, s.AllowTTL)
	b = wire.AppendUint(b, tagDuplicateWindow, uint64(s.DuplicateWindow))
	b = wire.AppendUint(b, tagMaxMessageSize, s.MaxMessageSize)
	if s.Republish != nil {
		b = wire.AppendMessage(b, tagRepublish, s.Republish.encode())
	}
	b = wire.AppendBytes(b, tagEcho, s.Echo)
	b = wire.AppendBool(b, tagReadOnly, s.ReadOnly)
	return append(b, s.unknown...)
}

func (r *Republish) encode() []byte {
	b := wire.AppendBytes(nil, tagSource, r.Source)
	b = wire.AppendBytes(b, tagDestination, r.Destination)
	return wire.AppendBool(b, tagHeadersOnly, r.HeadersOnly)
}

// version begins a command that holds the settings: a build of version 1 would keep most of them and not act on them, and so would
// come to another state than this one.
func (s *Settings) version() []byte {
	if s.ReadOnly {
		return s.raised()
	}
	if s.MarkerTTL > 0 || s.AllowTTL || s.DuplicateWindow > 0 || s.MaxMessageSize > 0 {
		return wire.AppendUint(nil, tagVersion, 2)
	}
	return nil
}

// raised begins a command that holds settings which builds before version 3 would not act on. Those knew no update before version 2, so
// that one says no more than this.
func (s *Settings) raised() []byte {
	if s.ReadOnly {
		return wire.AppendUint(nil, tagVersion, 3)
	}
	return nil
}

// DecodeSettings reads settings.
func DecodeSettings(data []byte) (Settings, error) {
	var s Settings
	err := wire.Each(data, func(f wire.Field) (err error) {
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
		case tagMarkerTTL:
			s.MarkerTTL = time.Duration(f.Uint)
		case tagAllowTTL:
			s.AllowTTL = f.Uint != 0
		case tagDuplicateWindow:
			s.DuplicateWindow = time.Duration(f.Uint)
		case tagMaxMessageSize:
			s.MaxMessageSize = f.Uint
		case tagRepublish:
			s.Republish, err = decodeRepublish(f.Data)
		case tagEcho:
			s.Echo = bytes.Clone(f.Data)
		case tagReadOnly:
			s.ReadOnly = f.Uint != 0
		default:
			s.unknown = append(s.unknown, f.Raw...)
		}
		return err
	})
	return s, err
}

func decodeRepublish(data []byte) (*Republish, error) {
	var r Republish
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagSource:
			r.Source = string(f.Data)
		case tagDestination:
			r.Destination = string(f.Data)
		case tagHeadersOnly:
			r.HeadersOnly = f.Uint != 0
		}
		return nil
	})
	return &r, err
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
