package jetstream

// From a stream's configuration to a bucket's settings, and back.

import (
	"encoding/json"
	"maps"
	"strconv"

	"github.com/raftbus/raftbus/kv/command"
)

// echo is the part of a configuration that is only said back, but for DenyRollup, which the leader goes by. Every field is empty for what nats.go asks for, so that a bucket made by
// the native API is the same as one made by it with the same settings.
type echo struct {
	Memory      bool       `json:"memory,omitempty"`
	Replicas    int        `json:"replicas,omitempty"` // 0: 1
	S2          bool       `json:"s2,omitempty"`
	Placement   *placement `json:"placement,omitempty"`
	DiscardOld  bool       `json:"discard_old,omitempty"`
	AllowDelete bool       `json:"allow_delete,omitempty"`
	DenyRollup  bool       `json:"no_rollup,omitempty"` // "deny_rollup" is of builds that only told it, and stored it for updates of async-nats that do not say so
	DenyDirect  bool       `json:"deny_direct,omitempty"`
}

// settings are what the store keeps of a complete configuration.
func (c *streamConfig) settings() command.Settings { return c.over(command.Settings{}) }

// over are the settings that a bucket has with those of a complete configuration in place of its own. What a configuration cannot say stays:
// that nobody may write, that a bound is one of values alone, and what a newer release has set (F28).
func (c *streamConfig) over(s command.Settings) command.Settings {
	s.History, s.TTL, s.MaxBytes = uint64(c.MaxMsgsPer), c.MaxAge, limit(c.MaxBytes)
	if size := limit(int64(c.MaxMsgSize)); size != messageMax(s) {
		s.MaxMessageSize, s.MaxValueSize = size, 0
	}
	s.Description, s.Metadata, s.AllowTTL, s.MarkerTTL, s.Echo = c.Description, c.Metadata, c.AllowTTL, c.MarkerTTL, c.echo()
	s.DuplicateWindow = 0
	if c.Duplicates != s.Window() {
		s.DuplicateWindow = c.Duplicates
	}
	s.Republish = nil
	if r := c.Republish; r != nil {
		s.Republish = &command.Republish{Source: r.Source, Destination: r.Destination, HeadersOnly: r.HeadersOnly}
	}
	return s
}

func (c *streamConfig) echo() []byte {
	e := echo{
		Memory: c.Storage == "memory", S2: c.Compression == "s2", Placement: c.Placement, DiscardOld: c.Discard == "old",
		AllowDelete: !c.DenyDelete, DenyRollup: !c.AllowRollup, DenyDirect: !c.AllowDirect,
	}
	if c.Replicas > 1 {
		e.Replicas = c.Replicas
	}
	if (e == echo{}) {
		return nil
	}
	data, _ := json.Marshal(e) // never fails: plain fields
	return data
}

// limit is how settings say that there is none.
func limit(n int64) uint64 { return uint64(max(n, 0)) }

// TakesRollups reports whether a bucket takes puts that drop what was before them.
func TakesRollups(s *command.Settings) bool {
	var e echo
	return len(s.Echo) == 0 || json.Unmarshal(s.Echo, &e) != nil || !e.DenyRollup
}

// configOf is the configuration of a bucket's stream.
func configOf(bucket string, s command.Settings) *streamConfig {
	var e echo
	if json.Unmarshal(s.Echo, &e) != nil {
		e = echo{} // there is none
	}
	c := &streamConfig{
		Name: streamOf(bucket), Description: s.Description, Subjects: []string{subjectsOf(bucket)}, Retention: "limits",
		MaxConsumers: -1, MaxMsgs: -1, MaxBytes: noLimit(s.MaxBytes), MaxAge: s.TTL, MaxMsgsPer: int64(max(s.History, 1)),
		MaxMsgSize: int32(min(noLimit(messageMax(s)), 1<<31-1)), Discard: choice(e.DiscardOld, "old", "new"),
		Storage: choice(e.Memory, "memory", "file"), Replicas: max(e.Replicas, 1), Duplicates: s.Window(), Placement: e.Placement,
		Compression: choice(e.S2, "s2", "none"), AllowDirect: !e.DenyDirect, DenyDelete: !e.AllowDelete, AllowRollup: !e.DenyRollup,
		AllowTTL: s.AllowTTL, MarkerTTL: s.MarkerTTL, Metadata: s.Metadata,
	}
	if r := s.Republish; r != nil {
		c.Republish = &republish{Source: r.Source, Destination: r.Destination, HeadersOnly: r.HeadersOnly}
	}
	return c
}

// told is a configuration as clients are told it: with the metadata that a server adds, which some count on (nats.java's tests), and which is
// not kept. What earlier releases took without a bound is left out where it is too long, or no answer would hold it, nor any list in which it is (L9).
func (c *streamConfig) told() *streamConfig {
	told := *c
	if c.Placement.bytes() > toldBytesMax {
		told.Placement = nil
	}
	if r := c.Republish; r != nil && len(r.Source)+len(r.Destination) > toldBytesMax {
		told.Republish = nil
	}
	told.Metadata = maps.Clone(c.Metadata)
	if told.Metadata == nil {
		told.Metadata = map[string]string{}
	}
	required := 0
	if c.AllowTTL || c.MarkerTTL > 0 {
		required = level
	}
	told.Metadata[serverMetadata+"req.level"] = strconv.Itoa(required)
	told.Metadata[serverMetadata+"level"] = strconv.Itoa(level)
	told.Metadata[serverMetadata+"ver"] = levelSince
	return &told
}

// toldBytesMax bounds what is told of where a bucket is placed, and of what it publishes again.
const toldBytesMax = 8 << 10

func choice(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func noLimit(n uint64) int64 {
	if n == 0 {
		return -1
	}
	return int64(min(n, 1<<63-1))
}

// messageMax is what bounds a message; a bucket of the native API bounds its values.
func messageMax(s command.Settings) uint64 {
	if s.MaxMessageSize > 0 {
		return s.MaxMessageSize
	}
	return s.MaxValueSize
}
