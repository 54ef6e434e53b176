package command

// A bucket's settings: what they mean, and how they are written.

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

// Append writes the settings. Equal settings are written alike on every node, whatever order a map is in.
func (s *Settings) Append(b []byte) []byte {
	w := wire.Append(b)
	s.fields(&w)
	return append(w.Bytes(), s.unknown...)
}

// DecodeSettings reads settings.
func DecodeSettings(data []byte) (s Settings, err error) {
	w := wire.Read(data)
	for w.Next() {
		if s.fields(&w); !w.Known() {
			s.unknown = append(s.unknown, w.Raw...)
		}
	}
	s.Echo = bytes.Clone(s.Echo)
	return s, w.Err
}

// Field has a message's list have the settings as one of its fields.
func (s *Settings) Field(w *wire.Walk, num wire.Tag) {
	var data []byte
	if !w.Reading() {
		data = s.Append(nil)
	}
	if wire.Shared(w, num, &data) {
		read, err := DecodeSettings(data)
		*s = read
		w.Fail(err)
	}
}

func (s *Settings) fields(w *wire.Walk) {
	wire.Number(w, 1, &s.History)
	wire.Number(w, 2, &s.TTL)
	wire.Number(w, 3, &s.MaxValueSize)
	wire.Number(w, 4, &s.MaxBytes)
	wire.Text(w, 5, &s.Description)
	s.pairs(w, 6)
	wire.Number(w, 7, &s.MarkerTTL)
	wire.Boolean(w, 8, &s.AllowTTL)
	wire.Number(w, 9, &s.DuplicateWindow)
	wire.Number(w, 10, &s.MaxMessageSize)
	wire.Message(w, 11, "republish", &s.Republish, func() { s.Republish.fields(w) })
	wire.Shared(w, 12, &s.Echo)
	wire.Boolean(w, 13, &s.ReadOnly)
}

func (r *Republish) fields(w *wire.Walk) {
	wire.Text(w, 1, &r.Source)
	wire.Text(w, 2, &r.Destination)
	wire.Boolean(w, 3, &r.HeadersOnly)
}

// pair is one of the metadata.
type pair struct{ key, value string }

func (p *pair) fields(w *wire.Walk) {
	wire.Text(w, 1, &p.key)
	wire.Text(w, 2, &p.value)
}

// pairs is the metadata, in order of key.
func (s *Settings) pairs(w *wire.Walk, num wire.Tag) {
	var list []pair
	if !w.Reading() {
		for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
			list = append(list, pair{key, s.Metadata[key]})
		}
	}
	wire.Messages(w, num, "pair", &list, func(p *pair) { p.fields(w) })
	if !w.Reading() {
		return // who appends may share the map with who reads it
	}
	if s.Metadata == nil && len(list) > 0 {
		s.Metadata = map[string]string{}
	}
	for _, p := range list {
		s.Metadata[p.key] = p.value
	}
}

// version is the lowest of commands that may hold the settings, 0 if any may: a build of version 1 would keep most of them and not act on them, and so would
// come to another state than this one.
func (s *Settings) version() uint64 {
	if !s.ReadOnly && (s.MarkerTTL > 0 || s.AllowTTL || s.DuplicateWindow > 0 || s.MaxMessageSize > 0) {
		return 2
	}
	return s.raised()
}

// raised is the same for builds that know updates, which came with version 2: those before version 3 would not act on some settings.
func (s *Settings) raised() uint64 {
	if s.ReadOnly {
		return 3
	}
	return 0
}
