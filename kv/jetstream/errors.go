package jetstream

// Clients compare codes, and some of them texts: an error here says, to the letter, what nats-server would say.

import "fmt"

// apiError is an error as it is answered.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// says is the same error with another text, for those whose text has a part that varies.
func (e *apiError) says(format string, args ...any) *apiError {
	return &apiError{e.Code, e.ErrCode, fmt.Sprintf(format, args...)}
}

var (
	errBadRequest       = &apiError{400, 10003, "bad request"}
	errBadKey           = &apiError{400, 10003, "bad request: key %q: no wildcards, white space, control characters or empty tokens, and 768 bytes of UTF-8 at most; many keys are purged with STREAM.PURGE and a filter"}
	errUnavailable      = &apiError{503, 10008, "JetStream system temporarily unavailable"}
	errReadOnly         = &apiError{400, 10109, "invalid operation on sealed stream: the bucket is read-only"}
	errImporting        = &apiError{503, 10008, "JetStream system temporarily unavailable: the bucket is being imported, and can only be read until 'raftbus import' has ended"}
	errNoConsumer       = &apiError{404, 10014, "consumer not found"}
	errInvalidJSON      = &apiError{400, 10025, "invalid JSON: "}
	errNoMessage        = &apiError{404, 10037, "no message found"}
	errNotEmpty         = &apiError{400, 10038, "expected an empty request payload"}
	errNoStorage        = &apiError{500, 10047, "insufficient storage resources available"}
	errInvalidConfig    = &apiError{500, 10052, ""}
	errMessageTooLarge  = &apiError{400, 10054, "message size exceeds maximum allowed"}
	errStreamMismatch   = &apiError{400, 10056, "stream name in subject does not match request"}
	errDeleteForbidden  = &apiError{500, 10057, "message delete not permitted"}
	errStreamExists     = &apiError{400, 10058, "stream name already in use with a different configuration"}
	errNoStream         = &apiError{404, 10059, "stream not found"}
	errExpectedStream   = &apiError{400, 10060, "expected stream does not match"}
	errSubjectsOverlap  = &apiError{400, 10065, "subjects overlap with an existing stream"}
	errWrongLastMsgID   = &apiError{400, 10070, "wrong last msg ID: %s"}
	errWrongLast        = &apiError{400, 10071, "wrong last sequence: %d"}
	errBucketFull       = &apiError{503, 10077, "maximum bytes exceeded"}
	errHeadersTooLarge  = &apiError{400, 10097, "header size exceeds maximum allowed of 64k"}
	errHeadersTooLong   = &apiError{400, 10097, "header size exceeds maximum allowed of 64k: it may have 1000 lines"}
	errRollup           = &apiError{500, 10111, "rollup value invalid: %q"}
	errRollupDenied     = &apiError{500, 10111, "rollup not permitted"}
	errNegativeReplicas = &apiError{400, 10133, "replicas count cannot be negative"}
	errTTLInvalid       = &apiError{400, 10165, "invalid per-message TTL"}
	errTTLDisabled      = &apiError{400, 10166, "per-message TTL is disabled"}
	errNoCounters       = &apiError{400, 10168, "message counters is disabled"}
	errNoAtomic         = &apiError{400, 10174, "atomic publish is disabled"}
	errLevel            = &apiError{412, 10185, "JetStream minimum api level required"}
	errNoSchedules      = &apiError{400, 10188, "message schedules is disabled"}
	errExpectedSubject  = &apiError{400, 10193, "missing sequence for expected last sequence per subject"}
	errSourceHeader     = &apiError{400, 10227, "message stream source header is not allowed"}
)

// The errors of consumer requests. An ordered client of nats.go that comes back tries again after 10008 and 10023 alone: what passes must be one of them, or
// its watch ends for good.
var (
	errConsumerName         = &apiError{500, 10052, "consumer name can not contain '.', '*', '>', '\\', '/'"}
	errConsumerPath         = &apiError{400, 10127, "Consumer name can not contain path separators"}
	errConsumerDescription  = &apiError{400, 10107, "consumer description is too long, maximum allowed is %d"}
	errConsumerNotKV        = &apiError{400, 10003, "bad request: %s is not offered for key-value buckets"}
	errDurableMismatch      = &apiError{400, 10017, "consumer name in subject does not match durable name in request"}
	errDurableNotSet        = &apiError{400, 10018, "consumer expected to be durable but a durable name was not set"}
	errDurableUnnamed       = &apiError{400, 10020, "consumer expected to be ephemeral but a durable name was set in request"}
	errConsumerChange       = &apiError{500, 10012, "%s can not be updated"}
	errDeliverWildcards     = &apiError{400, 10079, "consumer deliver subject has wildcards"}
	errDeliverInvalid       = &apiError{400, 10112, "invalid push consumer deliver subject"}
	errDeliverCycle         = &apiError{400, 10081, "consumer deliver subject forms a cycle"}
	errWaitingOfPush        = &apiError{400, 10080, "consumer in push mode can not set max waiting"}
	errPendingWithoutAcks   = &apiError{400, 10082, "consumer requires ack policy for max ack pending"}
	errNegativeAckWait      = &apiError{400, 10183, "consumer ack wait needs to be positive"}
	errSampling             = &apiError{400, 10095, "failed to parse consumer sampling configuration: %v"}
	errHeartbeatOfPull      = &apiError{400, 10088, "consumer idle heartbeat requires a push based consumer"}
	errFlowOfPull           = &apiError{400, 10089, "consumer flow control requires a push based consumer"}
	errSmallExpires         = &apiError{400, 10115, "consumer max request expires needs to be >= 1ms"}
	errPushToPull           = &apiError{500, 10012, "can not update push consumer to pull based"}
	errPullToPush           = &apiError{500, 10012, "can not update pull consumer to push based"}
	errSmallHeartbeat       = &apiError{400, 10083, "consumer idle heartbeat needs to be >= 100ms"}
	errStartPolicy          = &apiError{400, 10094, ""}
	errFlowWithoutHeartbeat = &apiError{400, 10108, "consumer with flow control also needs heartbeats"}
	errFilterMismatch       = &apiError{400, 10131, "Consumer create request did not match filtered subject from create subject"}
	errBothFilters          = &apiError{400, 10136, "consumer cannot have both FilterSubject and FilterSubjects specified"}
	errFiltersInSubject     = &apiError{400, 10137, "consumer with multiple subject filters cannot use subject based API"}
	errOverlappingFilters   = &apiError{400, 10138, "consumer subject filters cannot overlap"}
	errEmptyFilter          = &apiError{400, 10139, "consumer filter in FilterSubjects cannot be empty"}
	errConsumerExists       = &apiError{400, 10148, "consumer already exists"}
	errConsumerMissing      = &apiError{400, 10149, "consumer does not exist"}
	errTooManyConsumers     = &apiError{503, 10023, "insufficient resources: maximum consumers limit reached"} // passes: who comes back from a host that is gone has a consumer there, which goes soon
	errLargeConsumers       = &apiError{503, 10023, "insufficient resources: maximum consumers limit reached: the configurations of those of the account have as many KiB as there may be consumers"}
	errConsumersFull        = &apiError{503, 10023, "insufficient resources: no disk space, or too many open files, for the record of a watch: it can begin once there is room"}
	errNoHost               = &apiError{503, 10008, "JetStream system temporarily unavailable: no node of raftbus has a leaf connection, which watches need: add leafnodes{listen} to the NATS server, or name it with --leaf"}
)
