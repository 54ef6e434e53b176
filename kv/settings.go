package kv

// Buckets and their settings on the native subjects.

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
)

// settings is the body of bucket.add and bucket.update.
type settings struct {
	History         uint64            `json:"history"`
	TTL             duration          `json:"ttl,omitempty"`
	MaxValueSize    uint64            `json:"max_value_size,omitempty"`
	MaxBytes        uint64            `json:"max_bytes,omitempty"`
	AllowTTL        bool              `json:"allow_ttl,omitempty"`
	MarkerTTL       duration          `json:"marker_ttl,omitempty"`
	DuplicateWindow duration          `json:"duplicate_window,omitempty"`
	Description     string            `json:"description,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	ReadOnly        bool              `json:"read_only,omitempty"`
}

// settingsBytesMax bounds a bucket's settings as JSON.
const settingsBytesMax = 64 << 10

// duration is a time in JSON as people write it: "90s", "1h".
type duration time.Duration

// MarshalJSON writes it as text.
func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads it from text.
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a time is a text such as \"90s\" or \"1h\", and is %s", data)
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

func (s *Service) bucketAdd(c *call) (plan, *failure) {
	body := settings{History: 1}
	if f := c.json(&body, settingsBytesMax); f != nil {
		return plan{}, f
	}
	if f := body.check(); f != nil {
		return plan{}, f
	}
	p := bucketPlan(c, command.Command{AddBucket: &command.AddBucket{Name: c.bucket, Settings: body.over(command.Settings{})}})
	p.made = c.bucket
	return p, nil
}

// bucketUpdate changes the settings that are given, and leaves the others.
func (s *Service) bucketUpdate(c *call) (plan, *failure) {
	if f := c.json(&settings{History: 1}, settingsBytesMax); f != nil {
		return plan{}, f
	}
	return plan{writes: true, read: func() (any, *failure, *plan) {
		info, err := s.store.Bucket(c.bucket)
		if err != nil {
			return nil, readFailure(err, c), nil
		}
		body, f := c.changed(&info.Settings)
		if f != nil {
			return nil, f, nil
		}
		if f := body.check(); f != nil {
			return nil, f, nil
		}
		order := command.Command{UpdateBucket: &command.UpdateBucket{Name: c.bucket, Settings: body.over(info.Settings), Changed: info.Changed}}
		update := bucketPlan(c, order)
		update.wide = isWide(&order, &info.Settings)
		return nil, nil, &update
	}}, nil
}

// changed are a bucket's settings with those in the body in their place. The bucket's own are the store's: nothing is decoded into its map.
func (c *call) changed(old *command.Settings) (settings, *failure) {
	body := settingsOf(old)
	body.Metadata = nil
	if f := c.json(&body, settingsBytesMax); f != nil {
		return body, f
	}
	var given struct{ Metadata json.RawMessage }
	if json.Unmarshal(c.msg.Data, &given); given.Metadata == nil {
		body.Metadata = old.Metadata
	}
	return body, nil
}

func (s *Service) bucketRm(c *call) (plan, *failure) {
	if f := c.emptyBody(); f != nil {
		return plan{}, f
	}
	return bucketPlan(c, command.Command{RemoveBucket: &command.RemoveBucket{Name: c.bucket}}), nil
}

func bucketPlan(c *call, order command.Command) plan {
	done := func(result store.Result) any { return bucketReply{c.bucket, result.Revision} }
	return plan{command: order.Encode(), done: done, bucket: order.OfBucket()}
}

func settingsOf(s *command.Settings) settings {
	return settings{
		History: max(s.History, 1), TTL: duration(s.TTL), MaxValueSize: s.MaxValueSize, MaxBytes: s.MaxBytes, AllowTTL: s.AllowTTL,
		MarkerTTL: duration(s.MarkerTTL), DuplicateWindow: duration(s.DuplicateWindow), Description: s.Description, Metadata: s.Metadata, ReadOnly: s.ReadOnly,
	}
}

// over are the settings that a bucket has with these in place of its own. What only KV clients set stays.
func (s *settings) over(old command.Settings) command.Settings {
	old.History, old.TTL, old.MaxValueSize, old.MaxBytes = s.History, time.Duration(s.TTL), s.MaxValueSize, s.MaxBytes
	old.AllowTTL, old.MarkerTTL, old.DuplicateWindow = s.AllowTTL || s.MarkerTTL > 0, time.Duration(s.MarkerTTL), time.Duration(s.DuplicateWindow)
	old.Description, old.Metadata, old.ReadOnly = s.Description, s.Metadata, s.ReadOnly
	return old
}

func (s *settings) check() *failure {
	size := 0
	for key, value := range s.Metadata {
		size += len(key) + len(value)
	}
	switch {
	case s.History < 1 || s.History > command.HistoryMax:
		return BadRequest.says("history must be 1 to %d, and is %d", command.HistoryMax, s.History)
	case len(s.Description) > command.DescriptionBytesMax:
		return BadRequest.says("description may have %d bytes, and has %d", command.DescriptionBytesMax, len(s.Description))
	case size > command.MetadataBytesMax:
		return BadRequest.says("metadata may have %d bytes in all, and has %d", command.MetadataBytesMax, size)
	}
	return s.checkTimes()
}

func (s *settings) checkTimes() *failure {
	for _, t := range []struct {
		name  string
		value duration
		least time.Duration
	}{{"ttl", s.TTL, command.TTLMin}, {"marker_ttl", s.MarkerTTL, command.MarkerTTLMin}, {"duplicate_window", s.DuplicateWindow, command.TTLMin}} {
		if t.value != 0 && time.Duration(t.value) < t.least {
			return BadRequest.says("%s must be %v or more, or 0s, and is %v", t.name, t.least, time.Duration(t.value))
		}
	}
	if s.TTL > 0 && s.DuplicateWindow > s.TTL {
		return BadRequest.says("duplicate_window may not be longer than ttl")
	}
	return nil
}
