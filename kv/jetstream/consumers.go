package jetstream

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The operations on consumers: section 7 of the specification. What they ask for is read and checked here.

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
	ackWaitDefault     = 30 * time.Second
	ackPendingDefault  = 1_000
	consumerFiltersMax = 4_096
	consumerWildMax    = 256 // of them: each entry may have to be compared with all that begin alike
	consumerNameMax    = 255
	// DeliverBytesMax bounds a subject that messages go to: each of them has it, and no client may subscribe to one of 4 KiB (Q11).
	DeliverBytesMax  = 1 << 10
	consumerBytesMax = 64 << 10 // of a configuration: each node keeps it in memory
)

// consumerCreate has a consumer's record logged. That it was made its host answers, when it is about to deliver.
func (p *Protocol) consumerCreate(c call) Plan {
	body, e := c.consumerOf()
	if e != nil {
		return c.refuse(e)
	}
	if IsOrder(p.Prefix, body.Config.DeliverSubject) {
		return c.refuse(errDeliverCycle)
	}
	if body.Config.Name == "" {
		body.Config.Name = c.madeUpName()
	}
	config, err := json.Marshal(&body.Config)
	if err != nil || len(config) > consumerBytesMax {
		return c.refuse(errBadRequest.says("bad request: the consumer's configuration may have %d bytes", consumerBytesMax))
	}
	return c.placed(&command.AddConsumer{
		Bucket: c.bucket, Name: watch.In(c.account, body.Config.Name), Config: config, Deliver: body.Config.deliver(), Mode: addModes[body.Action], Answer: c.Reply,
	})
}

// placed has a consumer's record logged with the host that is chosen for it; where there are too many, only of one that is there, with the host
// that it has.
func (c call) placed(add *command.AddConsumer) Plan {
	var err error
	add.Host, add.Boot, err = c.host(add.Deliver == watch.PullDeliver)
	if err == nil {
		return c.adding(add)
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		there, missing := s.Consumer(c.bucket, add.Name)
		if err != watch.ErrTooMany || missing != nil {
			return c.refuse(hostErrors[err])
		}
		add.Host, add.Boot = there.Host, there.Boot
		return c.adding(add)
	})
}

// adding has a record logged. What of a consumer that is there may not change only its own configuration can say, so it is compared first: a name
// that is new costs no look for that, since nothing is changed by a command that only adds.
func (c call) adding(add *command.AddConsumer) Plan {
	switch add.Mode {
	case command.UpdateOnly:
		return c.look(func(s *store.Store, _ store.BucketInfo) Plan { return c.changing(s, add) })
	case command.AddOrUpdate:
		only := *add
		only.Mode = command.AddOnly
		return c.logged(&only, func(s *store.Store, r store.Result) Plan {
			if r.Code == store.ConsumerExists {
				return c.changing(s, add)
			}
			return c.added(s, r, &only)
		})
	}
	return c.logged(add, func(s *store.Store, r store.Result) Plan { return c.added(s, r, add) })
}

// changing has a consumer changed that is there: asked for as it is, it stays as it is, or the delivery would begin again (W1).
func (c call) changing(s *store.Store, add *command.AddConsumer) Plan {
	there, err := s.Consumer(c.bucket, add.Name)
	switch {
	case err == store.NoConsumer: // the store says so of an update too
	case err != nil:
		return c.refuse(readError(err))
	case add.Deliver == there.Deliver && bytes.Equal(add.Config, there.Config):
		return Plan{Ask: &Ask{there, true}}
	default:
		if e := checkChange(there.Config, add.Config); e != nil {
			return c.refuse(e)
		}
	}
	return c.logged(add, func(s *store.Store, r store.Result) Plan { return c.added(s, r, add) })
}

func (c call) logged(add *command.AddConsumer, done func(*store.Store, store.Result) Plan) Plan {
	return Plan{Write: &Write{Command: command.Command{AddConsumer: add}, Done: done}}
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

var addModes = map[string]command.AddMode{"": command.AddOrUpdate, "create": command.AddOnly, "update": command.UpdateOnly}

// hostErrors say why there is no host.
var hostErrors = map[error]*apiError{watch.ErrNoHost: errNoHost, watch.ErrTooMany: errTooManyConsumers}

// host names the node that is to serve a consumer.
func (c call) host(pull bool) (rpc.NodeID, rpc.BootEpoch, error) {
	if c.Host == nil {
		return "", 0, watch.ErrNoHost
	}
	return c.Host(pull)
}

// madeUpName is a name as a server picks one, for a client that gives none. Whoever asks again gets another.
func (c call) madeUpName() string {
	sum := sha256.Sum256([]byte(c.Reply + c.Now.Format(time.RFC3339Nano)))
	return base32.StdEncoding.EncodeToString(sum[:])[:8]
}

// added goes on when a consumer's record was applied.
func (c call) added(s *store.Store, r store.Result, add *command.AddConsumer) Plan {
	switch {
	case r.Code == store.Done && r.Again && add.Mode == command.AddOnly: // nothing has changed, so its host does not know of the request
		return c.ask(s, add.Name, true)
	case r.Code == store.Done:
		return Plan{}
	case r.Code == store.ConsumerExists:
		return c.refuse(errConsumerExists)
	case r.Code == store.NoConsumer:
		return c.refuse(errConsumerMissing)
	case r.Code == store.TooManyConsumers:
		return c.refuse(errTooManyConsumers)
	}
	return c.refuse(failure(r))
}

// ask has the host of a consumer answer.
func (c call) ask(s *store.Store, name string, made bool) Plan {
	consumer, err := s.Consumer(c.bucket, name)
	switch err {
	case nil:
		return Plan{Ask: &Ask{consumer, made}}
	case store.NoConsumer:
		return c.refuse(errNoConsumer)
	}
	return c.refuse(readError(err))
}

func (p *Protocol) consumerDurable(c call) Plan {
	c.durable = true
	return p.consumerCreate(c)
}

func notOffered(what string) *apiError {
	return errConsumerNotKV.says(errConsumerNotKV.Description, what)
}

// consumerOf reads the consumer that a request wants.
func (c call) consumerOf() (*createConsumerRequest, *apiError) {
	var body createConsumerRequest
	if e := decode(c.Data, &body); e != nil {
		return nil, e
	}
	if _, known := addModes[body.Action]; !known {
		return nil, errInvalidJSON.says("invalid JSON: unknown consumer action: %q", body.Action)
	}
	config := &body.Config
	if e := config.checkWords(); e != nil {
		return nil, e
	}
	switch {
	case body.Stream != c.stream:
		return nil, errStreamMismatch
	case strings.ContainsAny(c.consumer, `\/`), !validConsumerName(c.consumer), !validConsumerName(config.Name):
		return nil, errConsumerName
	case c.durable && config.Durable == "":
		return nil, errDurableNotSet
	case config.Durable != "" && c.consumer == "":
		return nil, errDurableUnnamed
	case config.Durable != "" && config.Durable != c.consumer:
		return nil, errDurableMismatch
	case c.rest != "" && len(config.FilterSubjects) > 0:
		return nil, errFiltersInSubject
	case c.rest != "" && config.FilterSubject != c.rest:
		return nil, errFilterMismatch
	}
	if c.consumer != "" { // else the body's name counts, if it has one
		config.Name = c.consumer
	}
	return &body, config.complete(c.bucket)
}

// validConsumerName reports whether a consumer can have this name, or none.
func validConsumerName(name string) bool {
	return len(name) <= consumerNameMax && !strings.ContainsAny(name, " \t\r\n\f.*>\\/@")
}

// complete checks a consumer and fills in what it leaves out.
func (c *consumerConfig) complete(bucket string) *apiError {
	for _, step := range []func(string) *apiError{c.checkKind, c.checkDelivery, c.checkFilters, c.checkStart} {
		if e := step(bucket); e != nil {
			return e
		}
	}
	c.MaxDeliver = max(c.MaxDeliver, -1)
	if c.MaxDeliver == 0 {
		c.MaxDeliver = -1
	}
	switch {
	case c.InactiveThreshold > 0:
	case c.Durable != "":
		c.InactiveThreshold = durableThreshold
	default:
		c.InactiveThreshold = thresholdDefault
	}
	if c.AckPolicy == "all" { // only told
		c.AckWait, c.MaxAckPending = cmp.Or(c.AckWait, ackWaitDefault), cmp.Or(c.MaxAckPending, ackPendingDefault)
	}
	return nil
}

// checkWords checks the fields that have choices.
func (c *consumerConfig) checkWords() *apiError {
	for _, word := range []struct {
		field   *string
		choices []string
	}{
		{&c.DeliverPolicy, []string{"all", "last", "new", "last_per_subject", "by_start_sequence", "by_start_time"}},
		{&c.AckPolicy, []string{"none", "all", "explicit", "flow_control"}},
		{&c.ReplayPolicy, []string{"instant", "original"}},
	} {
		if e := checkWord(word.field, word.choices...); e != nil {
			return e
		}
	}
	return nil
}

// checkKind refuses what no KV client asks for, and what could not be kept: nothing is delivered twice for want of an acknowledgement. nats.ex lists a
// bucket with a pull consumer that says that it acknowledges all, and does so for the sake of what comes next only.
func (c *consumerConfig) checkKind(string) *apiError {
	for _, refused := range []struct {
		what  string
		given bool
	}{
		{"a durable pull consumer", c.Durable != "" && c.isPull()},
		{"deliver_group", c.DeliverGroup != ""},
		{"an ack policy other than none", c.AckPolicy != "none" && !(c.AckPolicy == "all" && c.isPull())},
		{"a replay policy other than instant", c.ReplayPolicy != "instant"},
		{"backoff", len(c.BackOff) > 0},
		{"rate_limit_bps", c.RateLimit > 0},
		{"pause_until", c.PauseUntil != nil},
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
	case c.Replicas < 0:
		return errNegativeReplicas
	case strings.Contains("."+c.DeliverSubject+".", ".*.") || strings.HasSuffix("."+c.DeliverSubject, ".>"):
		return errDeliverWildcards
	case !names.Literal(c.DeliverSubject):
		return errDeliverInvalid
	case len(c.DeliverSubject) > DeliverBytesMax:
		return errDeliverInvalid.says("invalid push consumer deliver subject: it may have %d bytes", DeliverBytesMax)
	case subject.Overlap(c.DeliverSubject, subjectsOf(bucket)):
		return errDeliverCycle
	case c.Heartbeat > 0 && c.Heartbeat < heartbeatMin:
		return errSmallHeartbeat
	case c.FlowControl && c.Heartbeat <= 0:
		return errFlowWithoutHeartbeat
	}
	c.Heartbeat = max(c.Heartbeat, 0)
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
	}
	filter, err := subject.Parse(filters...)
	if err != nil {
		return invalid("%v", err)
	}
	if wild := filter.Wild(); wild > consumerWildMax {
		return errBadRequest.says("bad request: %d filters with wildcards, and there may be %d", wild, consumerWildMax)
	}
	if filter.Redundant() { // those that overlap in part may: an entry is matched by all of them together, and once
		return errOverlappingFilters
	}
	return nil
}

func (c *consumerConfig) filters() []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

// startPolicies say what a deliver policy needs, and how nats-server names it.
var startPolicies = map[string]struct {
	name           string
	sequence, time bool
}{
	"all":               {name: "all"},
	"last":              {name: "last"},
	"new":               {name: "new"},
	"last_per_subject":  {name: "last per subject"},
	"by_start_sequence": {name: "by start sequence", sequence: true},
	"by_start_time":     {name: "by start time", time: true},
}

func (c *consumerConfig) checkStart(string) *apiError {
	policy := startPolicies[c.DeliverPolicy]
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{policy.sequence && c.OptStartSeq == 0, "optional start sequence is not set"},
		{policy.time && c.OptStartTime == nil, "optional start time is not set"},
		{c.DeliverPolicy == "last_per_subject" && len(c.filters()) == 0, "optional filter subject is not set"},
		{!policy.sequence && c.OptStartSeq > 0, "optional start sequence is also set"},
		{!policy.time && c.OptStartTime != nil, "optional start time is also set"},
	} {
		if wrong.is {
			return errStartPolicy.says("consumer delivery policy is deliver %s, but %s", policy.name, wrong.text)
		}
	}
	return nil
}

func (p *Protocol) consumerInfo(c call) Plan {
	if !isEmpty(c.Data) {
		return c.refuse(errNotEmpty)
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		return c.ask(s, watch.Given(c.account, c.consumer), false)
	})
}

// consumerDelete is answered by the leader: the host may be gone.
func (p *Protocol) consumerDelete(c call) Plan {
	if !isEmpty(c.Data) {
		return c.refuse(errNotEmpty)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	remove := command.RemoveConsumer{Bucket: c.bucket, Name: watch.Given(c.account, c.consumer)}
	return Plan{Write: &Write{Command: command.Command{RemoveConsumer: &remove}, Done: func(_ *store.Store, r store.Result) Plan {
		switch r.Code {
		case store.Done:
			return answer(jsonReply(successReply{headOf(c.verb), true}))
		case store.NoConsumer:
			return c.refuse(errNoConsumer)
		}
		return c.refuse(failure(r))
	}}}
}

type consumersReply struct {
	head
	paged
	Consumers []string `json:"consumers"`
}

func (p *Protocol) consumerNames(c call) Plan {
	return c.consumers(namesMax, func(_ *store.Store, page paged, list []string) Plan {
		reply := consumersReply{headOf(c.verb), page, []string{}}
		room := c.room()
		for _, name := range list {
			if room -= len(name) + len(`"",`); room < 0 {
				reply.Limit = len(reply.Consumers)
				break
			}
			reply.Consumers = append(reply.Consumers, name)
		}
		return answer(jsonReply(reply))
	})
}

type consumerListReply struct {
	head
	paged
	Consumers []json.RawMessage `json:"consumers"`
}

// consumerList tells how consumers were made. How far they are only their hosts know: CONSUMER.INFO asks them.
func (p *Protocol) consumerList(c call) Plan {
	return c.consumers(listMax, func(s *store.Store, page paged, list []string) Plan {
		reply := consumerListReply{headOf(c.verb), page, []json.RawMessage{}}
		room := c.room()
		for _, name := range list {
			consumer, err := s.Consumer(c.bucket, watch.In(c.account, name))
			if err == store.NoConsumer || err == store.NoBucket {
				continue // it went since the names were read
			}
			if err != nil {
				return c.refuse(readError(err))
			}
			text := jsonReply(consumerInfoReply{
				Stream: streamOf(c.bucket), Name: name, Created: timeOf(consumer.Created), Config: toldConfig(consumer.Config), Time: c.Now.UTC(),
			}).Data
			if room -= len(text) + len(","); room < 0 && len(reply.Consumers) > 0 {
				reply.Limit = len(reply.Consumers)
				break
			}
			reply.Consumers = append(reply.Consumers, text)
		}
		return answer(jsonReply(reply))
	})
}

// toldConfig is a consumer's configuration in a list. That of a native watch is none of JetStream's, and must not spoil the list.
func toldConfig(record []byte) json.RawMessage {
	if json.Valid(record) {
		return record
	}
	return json.RawMessage("{}")
}

// consumers finds a page of a bucket's consumers.
func (c call) consumers(limit int, reply func(*store.Store, paged, []string) Plan) Plan {
	var body listRequest
	if hasBody(c.Data) {
		if e := decode(c.Data, &body); e != nil {
			return c.refuse(e)
		}
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		all := []string{}
		for after := ""; ; {
			page, err := s.ConsumerNames(c.bucket, after, bucketsAt)
			if err != nil {
				return c.refuse(readError(err))
			}
			if all = append(all, c.ours(page.Names)...); !page.More {
				break
			}
			after = page.After
		}
		page := paged{Total: len(all), Offset: min(max(body.Offset, 0), len(all)), Limit: limit}
		return reply(s, page, all[page.Offset:min(page.Offset+limit, len(all))])
	})
}

// ours are the consumers among those recorded that were made in this account, as it knows them.
func (c call) ours(recorded []string) (names []string) {
	for _, text := range recorded {
		if name, account := watch.Parted(text); account == c.account {
			names = append(names, name)
		}
	}
	return names
}
