package jetstream

// What a consumer can be: how its configuration is read, checked and completed.

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
)

// consumerConfig has the fields of nats-server, in its order.
type consumerConfig struct {
	Durable           string            `json:"durable_name,omitempty"`
	Name              string            `json:"name,omitempty"`
	Description       string            `json:"description,omitempty"`
	DeliverPolicy     string            `json:"deliver_policy"`
	OptStartSeq       uint64            `json:"opt_start_seq,omitempty"`
	OptStartTime      *time.Time        `json:"opt_start_time,omitempty"`
	AckPolicy         string            `json:"ack_policy"`
	AckWait           time.Duration     `json:"ack_wait,omitempty"`
	MaxDeliver        int               `json:"max_deliver,omitempty"`
	BackOff           []time.Duration   `json:"backoff,omitempty"`
	FilterSubject     string            `json:"filter_subject,omitempty"`
	FilterSubjects    []string          `json:"filter_subjects,omitempty"`
	ReplayPolicy      string            `json:"replay_policy"`
	RateLimit         uint64            `json:"rate_limit_bps,omitempty"`
	SampleFrequency   string            `json:"sample_freq,omitempty"`
	MaxWaiting        int               `json:"max_waiting,omitempty"`
	MaxAckPending     int               `json:"max_ack_pending,omitempty"`
	FlowControl       bool              `json:"flow_control,omitempty"`
	HeadersOnly       bool              `json:"headers_only,omitempty"`
	MaxBatch          int               `json:"max_batch,omitempty"`
	MaxExpires        time.Duration     `json:"max_expires,omitempty"`
	MaxBytes          int               `json:"max_bytes,omitempty"`
	DeliverSubject    string            `json:"deliver_subject,omitempty"`
	DeliverGroup      string            `json:"deliver_group,omitempty"`
	Heartbeat         time.Duration     `json:"idle_heartbeat,omitempty"`
	InactiveThreshold time.Duration     `json:"inactive_threshold,omitempty"`
	Replicas          int               `json:"num_replicas"`
	MemoryStorage     bool              `json:"mem_storage,omitempty"`
	Direct            bool              `json:"direct,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	PauseUntil        *time.Time        `json:"pause_until,omitempty"`
	PriorityGroups    []string          `json:"priority_groups,omitempty"`
	PriorityPolicy    string            `json:"priority_policy,omitempty"`
}

// createConsumerRequest is the body of CONSUMER.CREATE.
type createConsumerRequest struct {
	Stream   string         `json:"stream_name"`
	Config   consumerConfig `json:"config"`
	Action   string         `json:"action"`
	Pedantic bool           `json:"pedantic"`
}

// Bounds and defaults of a consumer.
const (
	heartbeatMin       = 100 * time.Millisecond
	thresholdDefault   = 5 * time.Second
	durableThreshold   = time.Hour // a JetStream keeps one for ever: those of clients that are gone would be as many as there may be
	thresholdMax       = time.Hour // for the same reason, whatever a client asks for: official ones ask for 5 minutes at most
	ackWaitDefault     = 30 * time.Second
	ackPendingDefault  = 1_000
	consumerFiltersMax = 4_096
	consumerWildMax    = 256 // of them: each entry may have to be compared with all that begin alike
	consumerNameMax    = 255
	// DeliverBytesMax bounds a subject that messages go to: each of them has it, and no client may subscribe to one of 4 KiB (Q11).
	DeliverBytesMax = 1 << 10
	// DeliverTokensMax bounds its tokens. Of what clients listen on nodes keep no pattern that needs more, since no message goes there: each token of one
	// costs memory (Q12). Inboxes have two to four, behind a prefix of the user's.
	DeliverTokensMax = 64
	consumerBytesMax = 64 << 10 // of a configuration: each node keeps it in memory
)

// TooManyTokens reports whether a subject that messages are to go to has more tokens than it may.
func TooManyTokens(subject string) bool { return strings.Count(subject, ".") >= DeliverTokensMax }

var errConsumerBytes = errBadRequest.says("bad request: the consumer's configuration may have %d bytes", consumerBytesMax)

func notOffered(what string) *apiError {
	return errConsumerNotKV.says(errConsumerNotKV.Description, what)
}

// validConsumerName reports whether a consumer can have this name, or none. It is a token of each delivery, and part of what nodes tell each other as JSON.
func validConsumerName(name string) bool {
	return name == "" || len(name) <= consumerNameMax && !strings.ContainsAny(name, `.*>\/@`) && names.Literal(name) && utf8.ValidString(name)
}

// complete checks a consumer and fills in what it leaves out.
func (c *consumerConfig) complete(bucket string) *apiError {
	if e := c.checkKind(); e != nil {
		return e
	}
	c.fillIn()
	for _, step := range []func(string) *apiError{c.checkAny, c.checkDelivery, c.checkFilters, c.checkStart, c.checkSampling} {
		if e := step(bucket); e != nil {
			return e
		}
	}
	return nil
}

// fillIn fills in what a consumer leaves out. What is below the least says that there is none.
func (c *consumerConfig) fillIn() {
	c.MaxDeliver, c.MaxAckPending = cmp.Or(max(c.MaxDeliver, -1), -1), max(c.MaxAckPending, -1)
	c.MaxWaiting, c.MaxBatch, c.MaxBytes = max(c.MaxWaiting, 0), max(c.MaxBatch, 0), max(c.MaxBytes, 0)
	c.MaxExpires, c.Heartbeat = max(c.MaxExpires, 0), max(c.Heartbeat, 0)
	if c.InactiveThreshold = max(c.InactiveThreshold, 0); c.Durable != "" {
		c.InactiveThreshold = cmp.Or(c.InactiveThreshold, durableThreshold)
	}
	c.InactiveThreshold = cmp.Or(c.InactiveThreshold, thresholdDefault)
	if c.isPull() {
		c.MaxWaiting = cmp.Or(c.MaxWaiting, waitingDefault)
	}
	if c.acknowledges() { // only told
		c.AckWait, c.MaxAckPending = cmp.Or(c.AckWait, ackWaitDefault), cmp.Or(c.MaxAckPending, ackPendingDefault)
	}
	if c.PriorityPolicy == "none" {
		c.PriorityPolicy = ""
	}
}

// checkAny checks what consumers of both kinds may say.
func (c *consumerConfig) checkAny(string) *apiError {
	switch {
	case c.Replicas < 0:
		return errNegativeReplicas
	case c.AckWait < 0:
		return errNegativeAckWait
	case len(c.Description) > command.DescriptionBytesMax:
		return errConsumerDescription.says(errConsumerDescription.Description, command.DescriptionBytesMax)
	}
	return nil
}

// checkSampling checks of how many acknowledgements others are to be told, in percent. They are told of none.
func (c *consumerConfig) checkSampling(string) *apiError {
	if c.SampleFrequency == "" {
		return nil
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(c.SampleFrequency, "%")); err != nil || n < 0 {
		return errSampling.says(errSampling.Description, err)
	}
	return nil
}

var deliverPolicies = map[string]watch.Policy{
	"all":               watch.DeliverAll,
	"last":              watch.DeliverLast,
	"new":               watch.DeliverNew,
	"last_per_subject":  watch.DeliverLastPerSubject,
	"by_start_sequence": watch.DeliverByStartSequence,
	"by_start_time":     watch.DeliverByStartTime,
}

// checkWords checks the fields that have choices.
func (c *consumerConfig) checkWords() *apiError {
	for _, word := range []struct {
		field   *string
		choices []string
	}{
		{&c.DeliverPolicy, slices.AppendSeq([]string{"all"}, maps.Keys(deliverPolicies))}, // the first is for who names none
		{&c.AckPolicy, []string{"none", "all", "explicit", "flow_control"}},
		{&c.ReplayPolicy, []string{"instant", "original"}},
	} {
		if e := checkWord(word.field, word.choices...); e != nil {
			return e
		}
	}
	return nil
}

// acknowledges reports whether the client says that it acknowledges. Nothing is delivered twice for want of an acknowledgement, so a client may say so where
// that is no more than a habit. nats.ex lists a bucket with a pull consumer that acknowledges all, which only asks for what comes next; for nats.php see lists.
// In nats.java, nats.go and nats.py a plain subscription to a bucket's stream makes a push consumer that goes with it, and that acknowledges each message unless
// told otherwise.
func (c *consumerConfig) acknowledges() bool {
	return c.AckPolicy == "all" || c.AckPolicy == "explicit"
}

// lists reports whether it can be the pull consumer with which nats.php lists a bucket: it acknowledges each message as it comes, and says nothing of what is to
// become of one that it does not acknowledge. Who gives its consumer a name, or says that, may count on it that messages come again.
func (c *consumerConfig) lists() bool {
	return c.AckPolicy == "explicit" && c.Name == "" && c.AckWait == 0 && c.MaxDeliver == 0 && c.MaxAckPending == 0
}

// checkKind refuses what no KV client asks for, and what could not be kept. To the latter belongs a client that wants little sent ahead: we send all at once, and
// it would drop what it does not hold (a channel of nats.go says how much that is).
func (c *consumerConfig) checkKind() *apiError {
	for _, refused := range []struct {
		what  string
		given bool
	}{
		{"a durable pull consumer", c.Durable != "" && c.isPull()},
		{"deliver_group", c.DeliverGroup != ""},
		{"ack policy " + c.AckPolicy + " of a durable consumer", c.AckPolicy != "none" && c.Durable != ""},
		{"ack policy " + c.AckPolicy + " of a pull consumer", c.isPull() && c.AckPolicy != "none" && c.AckPolicy != "all" && !c.lists()},
		{"ack policy " + c.AckPolicy, c.AckPolicy != "none" && !c.acknowledges()},
		{"a max_ack_pending that nobody waits for", !c.isPull() && c.acknowledges() && c.MaxAckPending > 0 && c.MaxAckPending < ackPendingDefault},
		{"a replay policy other than instant", c.ReplayPolicy != "instant"},
		{"backoff", len(c.BackOff) > 0},
		{"rate_limit_bps", c.RateLimit > 0},
		{"a priority group", len(c.PriorityGroups) > 0 || c.PriorityPolicy != "" && c.PriorityPolicy != "none"},
		{"direct", c.Direct},
	} {
		if refused.given {
			return notOffered(refused.what)
		}
	}
	return nil
}

func (c *consumerConfig) checkDelivery(bucket string) *apiError {
	if c.isPull() {
		return c.checkPull()
	}
	switch {
	case strings.Contains("."+c.DeliverSubject+".", ".*.") || strings.HasSuffix("."+c.DeliverSubject, ".>"):
		return errDeliverWildcards
	case !names.Literal(c.DeliverSubject):
		return errDeliverInvalid
	case len(c.DeliverSubject) > DeliverBytesMax:
		return errDeliverInvalid.says("invalid push consumer deliver subject: it may have %d bytes", DeliverBytesMax)
	case TooManyTokens(c.DeliverSubject):
		return errDeliverInvalid.says("invalid push consumer deliver subject: it may have %d tokens", DeliverTokensMax)
	case subject.Overlap(c.DeliverSubject, subjectsOf(bucket)):
		return errDeliverCycle
	case c.MaxWaiting > 0:
		return errWaitingOfPush
	case c.MaxAckPending > 0 && c.AckPolicy == "none":
		return errPendingWithoutAcks
	case c.Heartbeat > 0 && c.Heartbeat < heartbeatMin:
		return errSmallHeartbeat
	case c.FlowControl && c.Heartbeat == 0:
		return errFlowWithoutHeartbeat
	}
	return nil
}

func (c *consumerConfig) checkFilters(string) *apiError {
	filters := c.filters()
	switch {
	case c.FilterSubject != "" && len(c.FilterSubjects) > 0:
		return errBothFilters
	case len(filters) > consumerFiltersMax:
		return errBadRequest.says("bad request: %d filters, and there may be %d", len(filters), consumerFiltersMax)
	case slices.Contains(filters, ""):
		return errEmptyFilter
	case bytesAtLeast(filters) > consumerBytesMax: // or they would be compared first
		return errConsumerBytes
	}
	filter, err := subject.Parse(filters...)
	if err != nil {
		return invalid("invalid subject: %v", err)
	}
	if wild := filter.Wild(); wild > consumerWildMax {
		return errBadRequest.says("bad request: %d filters with wildcards, and there may be %d", wild, consumerWildMax)
	}
	if filter.Redundant() { // those that overlap in part may: an entry is matched by all of them together, and once
		return errOverlappingFilters
	}
	return nil
}

// bytesAtLeast is less than texts have in a configuration.
func bytesAtLeast(texts []string) (size int) {
	for _, text := range texts {
		size += len(text) + len(`"",`)
	}
	return size
}

func (c *consumerConfig) filters() []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func (c *consumerConfig) checkStart(string) *apiError {
	policy := deliverPolicies[c.DeliverPolicy]
	bySequence, byTime := policy == watch.DeliverByStartSequence, policy == watch.DeliverByStartTime
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{bySequence && c.OptStartSeq == 0, "optional start sequence is not set"},
		{byTime && c.OptStartTime == nil, "optional start time is not set"},
		{!bySequence && c.OptStartSeq > 0, "optional start sequence is also set"},
		{!byTime && c.OptStartTime != nil, "optional start time is also set"},
		{c.DeliverPolicy == "last_per_subject" && len(c.filters()) == 0, "optional filter subject is not set"},
	} {
		if wrong.is {
			return errStartPolicy.says("consumer delivery policy is deliver %s, but %s", strings.ReplaceAll(c.DeliverPolicy, "_", " "), wrong.text)
		}
	}
	return nil
}

// checkChange refuses what a consumer that exists cannot become. Of a name that a native watch has nothing can be made.
func checkChange(old, wanted []byte) *apiError {
	var was, is consumerConfig
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(wanted, &is) != nil {
		return errConsumerExists
	}
	switch {
	case was.isPull() && !is.isPull():
		return errPullToPush
	case is.isPull() && !was.isPull():
		return errPushToPull
	}
	sameTime := was.OptStartTime == nil && is.OptStartTime == nil ||
		was.OptStartTime != nil && is.OptStartTime != nil && was.OptStartTime.Equal(*is.OptStartTime)
	for _, kept := range []struct {
		what string
		same bool
	}{
		{"deliver policy", was.DeliverPolicy == is.DeliverPolicy},
		{"storage type", was.MemoryStorage == is.MemoryStorage},
		{"start sequence", was.OptStartSeq == is.OptStartSeq},
		{"start time", sameTime},
		{"ack policy", was.AckPolicy == is.AckPolicy},
		{"heart beats", was.Heartbeat == is.Heartbeat},
		{"flow control", was.FlowControl == is.FlowControl},
		{"max waiting", was.MaxWaiting == is.MaxWaiting},
	} {
		if !kept.same {
			return errConsumerChange.says(errConsumerChange.Description, kept.what)
		}
	}
	return nil
}
