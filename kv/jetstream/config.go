package jetstream

// A stream's configuration, as JSON has it: what is given is checked and completed, and what is no bucket's is refused. settings.go
// makes a bucket's settings of it, and back.

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/subject"
)

// streamConfig has the fields of nats-server, in its order.
type streamConfig struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	Subjects     []string        `json:"subjects,omitempty"`
	Retention    string          `json:"retention"`
	MaxConsumers int64           `json:"max_consumers"`
	MaxMsgs      int64           `json:"max_msgs"`
	MaxBytes     int64           `json:"max_bytes"`
	MaxAge       time.Duration   `json:"max_age"`
	MaxMsgsPer   int64           `json:"max_msgs_per_subject"`
	MaxMsgSize   int32           `json:"max_msg_size,omitempty"`
	Discard      string          `json:"discard"`
	Storage      string          `json:"storage"`
	Replicas     int             `json:"num_replicas"`
	NoAck        bool            `json:"no_ack,omitempty"`
	Duplicates   time.Duration   `json:"duplicate_window,omitempty"`
	Placement    *placement      `json:"placement,omitempty"`
	Mirror       json.RawMessage `json:"mirror,omitempty"`
	Sources      json.RawMessage `json:"sources,omitempty"`
	Compression  string          `json:"compression"`
	FirstSeq     uint64          `json:"first_seq,omitempty"`
	Transform    json.RawMessage `json:"subject_transform,omitempty"`
	Republish    *republish      `json:"republish,omitempty"`
	AllowDirect  bool            `json:"allow_direct"`
	MirrorDirect bool            `json:"mirror_direct"`

	DiscardNewPer bool              `json:"discard_new_per_subject,omitempty"`
	Sealed        bool              `json:"sealed"`
	DenyDelete    bool              `json:"deny_delete"`
	DenyPurge     bool              `json:"deny_purge"`
	AllowRollup   bool              `json:"allow_rollup_hdrs"`
	Limits        consumerLimits    `json:"consumer_limits"`
	AllowTTL      bool              `json:"allow_msg_ttl"`
	MarkerTTL     time.Duration     `json:"subject_delete_marker_ttl,omitempty"`
	Counter       bool              `json:"allow_msg_counter,omitempty"`
	Atomic        bool              `json:"allow_atomic,omitempty"`
	Schedules     bool              `json:"allow_msg_schedules,omitempty"`
	PersistMode   string            `json:"persist_mode,omitempty"`
	Batched       bool              `json:"allow_batched,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`

	partial bool // an update that named no subjects
}

// configRequest is the body of STREAM.CREATE and STREAM.UPDATE.
type configRequest struct {
	streamConfig
	Pedantic bool `json:"pedantic"`
}

type placement struct {
	Cluster   string   `json:"cluster,omitempty"`
	Tags      []string `json:"tags,omitempty"`
	Preferred string   `json:"preferred,omitempty"`
}

// placementBytesMax bounds a placement, which is only said back: each node keeps it, and a page of streams tells it, where other characters than letters
// may take six bytes (Q11).
const placementBytesMax = 1 << 10

func (p *placement) bytes() (size int) {
	if p == nil {
		return 0
	}
	for _, tag := range p.Tags {
		size += len(tag) + len(`"",`)
	}
	return size + len(p.Cluster)
}

type republish struct {
	Source      string `json:"src,omitempty"`
	Destination string `json:"dest"`
	HeadersOnly bool   `json:"headers_only,omitempty"`
}

type consumerLimits struct {
	InactiveThreshold time.Duration `json:"inactive_threshold,omitempty"`
	MaxAckPending     int           `json:"max_ack_pending,omitempty"`
}

// replicasMax bounds what a client may ask for: it is only told.
const replicasMax = 5

// serverMetadata begins the names that nats-server adds, and clients send back.
const serverMetadata = "_nats."

func invalid(format string, args ...any) *apiError { return errInvalidConfig.says(format, args...) }

// complete checks a configuration for the bucket, of a cluster with that prefix, and fills in what it leaves out.
func (c *streamConfig) complete(prefix, bucket string) *apiError {
	for _, step := range []func(string) *apiError{c.checkBucket, c.checkRefused, c.checkTexts, c.checkNumbers, c.checkTimes} {
		if e := step(bucket); e != nil {
			return e
		}
	}
	return c.checkRepublish(prefix)
}

// checkWords checks the fields that have choices.
func (c *streamConfig) checkWords() *apiError {
	for _, word := range []struct {
		field   *string
		choices []string
	}{
		{&c.Retention, []string{"limits", "interest", "workqueue"}},
		{&c.Discard, []string{"old", "new"}},
		{&c.Storage, []string{"file", "memory"}},
	} {
		if e := checkWord(word.field, word.choices...); e != nil {
			return e
		}
	}
	if checkWord(&c.Compression, "none", "s2") != nil {
		return errInvalidJSON.says("invalid JSON: unknown compression algorithm")
	}
	return nil
}

// checkBucket refuses what is no bucket: section 8 of the specification.
func (c *streamConfig) checkBucket(bucket string) *apiError {
	switch {
	case present(c.Mirror):
		return invalid("mirror is not supported by raftbus")
	case c.MirrorDirect:
		return invalid("stream has no mirror but does have mirror direct")
	case present(c.Sources):
		return invalid("sources are not supported by raftbus")
	case bucket == "" && strings.HasPrefix(c.Name, streamPrefix) && len(c.Name) > len(streamPrefix)+names.BucketMax:
		return invalid("the name of a bucket may have %d characters in raftbus, and this one has %d", names.BucketMax, len(c.Name)-len(streamPrefix))
	case bucket == "", len(c.Subjects) != 1, c.Subjects[0] != subjectsOf(bucket) && c.Subjects[0] != subjectOf(bucket, "*"):
		return invalid("only key-value buckets are supported: stream KV_<bucket> with the subject $KV.<bucket>.>")
	}
	c.Mirror, c.Sources = nil, nil
	c.Subjects = []string{subjectsOf(bucket)} // nats.php asks for the keys of one token, and has the bucket that all have
	return nil
}

// present reports whether a field was given, and is neither null nor empty.
func present(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && string(raw) != "null" && string(raw) != "[]"
}

// checkRefused refuses what would change what a bucket is.
func (c *streamConfig) checkRefused(string) *apiError {
	for _, refused := range []struct {
		field string
		given bool
	}{
		{"sealed", c.Sealed},
		{"deny_purge", c.DenyPurge},
		{"no_ack", c.NoAck},
		{"retention other than limits", c.Retention != "limits"},
		{"first_seq", c.FirstSeq > 1},
		{"subject_transform", present(c.Transform)},
		{"allow_msg_counter", c.Counter},
		{"allow_atomic", c.Atomic},
		{"allow_batched", c.Batched},
		{"allow_msg_schedules", c.Schedules},
		{"persist_mode", c.PersistMode != "" && c.PersistMode != "default"},
		{"discard_new_per_subject", c.DiscardNewPer},
		{"max_msgs", c.MaxMsgs > 0},
		{"max_consumers", c.MaxConsumers > 0},
		{"consumer_limits", c.Limits != consumerLimits{}},
		{"max_bytes with discard old", c.MaxBytes > 0 && c.Discard != "new"},
	} {
		if refused.given {
			return invalid("%s is not supported by raftbus", refused.field)
		}
	}
	c.Retention, c.MaxMsgs, c.MaxConsumers, c.FirstSeq, c.Transform, c.PersistMode = "limits", -1, -1, 0, nil, ""
	return nil
}

func (c *streamConfig) checkTexts(string) *apiError {
	for name := range c.Metadata {
		if strings.HasPrefix(name, serverMetadata) {
			delete(c.Metadata, name)
		}
	}
	size := 0
	for name, value := range c.Metadata {
		size += len(name) + len(value)
	}
	switch {
	case len(c.Description) > command.DescriptionBytesMax:
		return invalid("stream description is too long, maximum allowed is %d", command.DescriptionBytesMax)
	case size > command.MetadataBytesMax:
		return invalid("stream metadata exceeds maximum size of %d bytes", command.MetadataBytesMax)
	case c.Placement != nil && c.Placement.Preferred != "":
		return invalid("preferred server not permitted in placement")
	case c.Placement.bytes() > placementBytesMax:
		return invalid("stream placement has %d bytes, its tags counted with 3 more each: raftbus takes %d at most", c.Placement.bytes(), placementBytesMax)
	}
	if c.Placement != nil && c.Placement.Cluster == "" && len(c.Placement.Tags) == 0 {
		c.Placement = nil
	}
	if len(c.Metadata) == 0 {
		c.Metadata = nil
	}
	return nil
}

func (c *streamConfig) checkNumbers(string) *apiError {
	switch {
	case c.Replicas < 0:
		return errNegativeReplicas
	case c.Replicas > replicasMax:
		return invalid("maximum replicas is %d", replicasMax)
	case c.MaxMsgsPer < 1 || c.MaxMsgsPer > command.HistoryMax:
		return invalid("max_msgs_per_subject must be 1 to %d: it is the bucket's history", command.HistoryMax)
	}
	c.Replicas = max(c.Replicas, 1)
	c.MaxBytes = unlimited(c.MaxBytes)
	c.MaxMsgSize = unlimited(c.MaxMsgSize)
	return nil
}

// unlimited is -1 for what is no limit.
func unlimited[T int64 | int32](n T) T {
	if n < 1 {
		return -1
	}
	return n
}

func (c *streamConfig) checkTimes(string) *apiError {
	if c.Duplicates == 0 {
		c.Duplicates = (&command.Settings{TTL: c.MaxAge}).Window()
	}
	switch {
	case c.MaxAge < 0:
		return invalid("max age can not be negative")
	case c.MaxAge > 0 && c.MaxAge < command.TTLMin:
		return invalid("max age needs to be >= 100ms")
	case c.Duplicates < 0:
		return invalid("duplicates window can not be negative")
	case c.MaxAge > 0 && c.Duplicates > c.MaxAge:
		return invalid("duplicates window can not be larger then max age")
	case c.Duplicates < command.TTLMin:
		return invalid("duplicates window needs to be >= 100ms")
	case c.MarkerTTL < 0:
		return invalid("subject delete marker TTL must not be negative")
	case c.MarkerTTL > 0 && c.MarkerTTL < command.MarkerTTLMin:
		return invalid("subject delete marker TTL must be at least 1 second")
	}
	if c.MarkerTTL > 0 {
		c.AllowTTL, c.AllowRollup = true, true
	}
	return nil
}

const (
	// destinationMax bounds where a bucket publishes again, in bytes: with a key it is to fit into a line of NATS (F11).
	destinationMax = 1 << 10
	// SourceMax bounds what a bucket publishes again. No pattern is longer than the subjects that it matches, and those of keys are shorter; who publishes
	// keeps sixteen bytes more of each token (Q11).
	SourceMax = 1 << 10
)

func (c *streamConfig) checkRepublish(prefix string) *apiError {
	r := c.Republish
	if r == nil {
		return nil
	}
	if r.Source == "" {
		r.Source = ">"
	}
	switch {
	case len(r.Source) > SourceMax:
		return invalid("republish source of %d bytes: raftbus takes %d at most, which is more than the subject of any key has", len(r.Source), SourceMax)
	case len(r.Destination) > destinationMax:
		return invalid("republish destination of %d bytes: raftbus takes %d at most, since NATS ends connections for longer subjects", len(r.Destination), destinationMax)
	}
	// Other buckets count too: two of them that publish to each other would never end.
	if subject.Overlap(r.Destination, "$KV.>") || subject.Overlap(r.Destination, "$JS.>") {
		return invalid("stream configuration for republish destination forms a cycle")
	}
	if !mappable(r.Source, r.Destination) {
		return invalid("stream configuration for republish with transform from '%s' to '%s' not valid", r.Source, r.Destination)
	}
	if mayOrder(prefix, r.Destination) {
		return invalid("republish destination '%s' is refused by raftbus: messages on $... and on %s.> are orders to NATS and to nodes; use another subject", r.Destination, prefix)
	}
	return nil
}

// RepublishElsewhere is why a client of a further account has no bucket publish again, which is done in the first account: there it would
// have messages sent (Q1). One that does so already stays as it is.
const RepublishElsewhere = "republish is refused here: buckets publish again in the first account of the cluster, so let a client of that account say it"

// checkAccount refuses what only a client of the first account may change; before is what the bucket has.
func (c *streamConfig) checkAccount(account string, before *republish) *apiError {
	if account == "" || c.Republish == nil || before != nil && *before == *c.Republish {
		return nil
	}
	return invalid(RepublishElsewhere)
}

// keeping is a configuration that is to take the place of another. One that names no subjects, as of async-nats, means to keep what it does not know of: without
// rollups KV clients could not purge any more.
func (c *streamConfig) keeping(old *streamConfig) *streamConfig {
	now := *c
	now.AllowRollup = c.AllowRollup || c.partial && old.AllowRollup
	return &now
}

// checkUpdate refuses what a bucket that exists cannot become.
func (c *streamConfig) checkUpdate(old *streamConfig) *apiError {
	switch {
	case c.Storage != old.Storage:
		return invalid("stream configuration update can not change storage type")
	case old.DenyDelete && !c.DenyDelete:
		return invalid("stream configuration update can not cancel deny message deletes")
	case old.AllowTTL && !c.AllowTTL:
		return invalid("message TTL status can not be disabled")
	}
	return nil
}
