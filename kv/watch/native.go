package watch

import (
	"fmt"
	"strconv"
	"strings"
)

// The form of messages to native watchers: the value as it is, and everything about it in headers. A watcher numbers what it gets by
// Rb-Sequence: any other number than the next in an event, or a higher one in a progress mark, says that events may be missing, and it asks again from the
// last revision that it has.

const (
	headerWatch           = "Rb-Watch: "
	headerSequence        = "Rb-Sequence: "
	headerPending         = "Rb-Pending: "
	headerProgress        = "Rb-Progress: "
	headerFlow            = "Rb-Flow: "
	headerKey             = "Rb-Key: "
	headerOperation       = "Rb-Operation: "
	headerRevision        = "Rb-Revision: "
	headerClusterRevision = "Rb-Cluster-Revision: "
	headerTime            = "Rb-Time: "
	headerSizeOfValue     = "Rb-Size: "
)

type block []byte

func (b block) text(name, value string) block {
	return append(append(append(b, name...), value...), headerEnd...)
}

func (b block) number(name string, value uint64) block {
	return append(strconv.AppendUint(append(b, name...), value, 10), headerEnd...)
}

func (c *consumer) nativeBlock(sequence uint64) block {
	b := append(make(block, 0, 320), headerVersion+headerEnd...)
	return b.text(headerWatch, c.Client()).number(headerSequence, sequence)
}

// native is an event as a native watcher gets it. What headers were stored with it come after ours.
func (c *consumer) native(e *Entry, pending uint64) Send {
	b := c.nativeBlock(c.following()).number(headerPending, pending).text(headerKey, e.Key).text(headerOperation, e.Operation).
		number(headerRevision, e.Sequence).number(headerClusterRevision, e.Revision).text(headerTime, timeText(e.Time))
	s := Send{Subject: c.to, Body: e.Value}
	if c.Config.HeadersOnly {
		b, s.Body = b.number(headerSizeOfValue, uint64(max(e.Size, len(e.Value)))), nil
	}
	if stored, is := strings.CutPrefix(string(e.Header), headerVersion+headerEnd); is {
		s.Header = append(b, stored...)
	} else {
		s.Header = append(b, headerEnd...)
	}
	return s
}

// progress is a progress mark: everything up to the revision was sent. One that is stalled is asked again to answer: its answer may be lost.
func (c *consumer) progress(stalled string) Send {
	b := c.nativeBlock(c.sequence).number(headerProgress, c.position())
	if stalled != "" {
		b = b.text(headerFlow, stalled)
	}
	return Send{Subject: c.to, Reply: stalled, Header: append(b, headerEnd...)}
}

// flowRequest asks a native watcher to answer when it has processed everything before.
func (c *consumer) flowRequest(reply string) Send {
	b := c.nativeBlock(c.sequence).text(headerFlow, reply)
	return Send{Subject: c.to, Reply: reply, Header: append(b, headerEnd...)}
}

const (
	nanosPerSecond = 1_000_000_000
	secondsPerDay  = 24 * 60 * 60
)

// timeText is a time as RFC 3339 writes it, in UTC, without the zeros at its end. (Nothing here has the time of day: there is no clock.)
func timeText(nanoseconds int64) string {
	seconds, fraction := nanoseconds/nanosPerSecond, nanoseconds%nanosPerSecond
	if fraction < 0 {
		seconds, fraction = seconds-1, fraction+nanosPerSecond
	}
	days, second := seconds/secondsPerDay, seconds%secondsPerDay
	if second < 0 {
		days, second = days-1, second+secondsPerDay
	}
	year, month, day := civil(days)
	text := fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, second/3600, second/60%60, second%60)
	if fraction > 0 {
		text += strings.TrimRight(fmt.Sprintf(".%09d", fraction), "0")
	}
	return text + "Z"
}

// civil is the date that many days after 1970-01-01. Years are counted from March, so that the leap day is a year's last.
func civil(days int64) (year, month, day int64) {
	days += 719_468 // from 0000-03-01
	era := days / 146_097
	if days < 0 {
		era = (days - 146_096) / 146_097
	}
	dayOfEra := days - era*146_097
	yearOfEra := (dayOfEra - dayOfEra/1_460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	month = (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*month+2)/5 + 1
	year = yearOfEra + era*400
	if month += 3; month > 12 {
		month, year = month-12, year+1
	}
	return year, month, day
}
