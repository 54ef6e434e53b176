package observe

// Traces go to an OpenTelemetry collector, if one is named. A request is traced if its client asks for it: then the client's span has
// one of the node below it, and that has one for each part of the way.

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// Bounds: requests and spans beyond them are dropped, and nobody waits.
const (
	requestsMax   = 1024 // that were answered, and whose spans are to be made
	spansMax      = 4096 // to be exported
	exportTimeout = 5 * time.Second
	exportEvery   = time.Second
)

// Traces makes spans of requests, on a goroutine of its own. Record may be called by any goroutine.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	logger   *slog.Logger
	waiting  chan Request
	crowded  sync.Once
	stop     chan struct{}
	group    sync.WaitGroup
}

// Request is a request that was answered, and when it came how far; zero: not at all, or not known.
type Request struct {
	Node, Prefix                    string
	Parent                          string // traceparent, as the client sent it
	Door, Operation                 string
	Entry                           uint64
	Arrived, Proposed, Applied      time.Time
	SyncBegan, SyncEnded, Committed time.Time
	Confirmed, Answered             time.Time
}

// NewTraces exports to a collector by OTLP over HTTP: http://127.0.0.1:4318. Empty: it returns nil, and nothing is traced. version is the build's.
func NewTraces(collector, version string, logger *slog.Logger) (*Traces, error) {
	if collector == "" {
		return nil, nil
	}
	endpoint, err := url.JoinPath(collector, "v1/traces")
	if err != nil {
		return nil, fmt.Errorf("--traces %s: give a URL such as http://127.0.0.1:4318", natsopt.WithoutUser(collector)) // err has it with its credentials
	}
	exporter := &otlp{endpoint: endpoint, client: &http.Client{Timeout: exportTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()}}
	var told sync.Once
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		told.Do(func() { logger.Warn("traces are lost", "err", err) })
	}))
	about := resource.NewSchemaless(attribute.String("service.name", "raftbus"), attribute.String("service.version", semantic(version)))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(spansMax), sdktrace.WithBatchTimeout(exportEvery), sdktrace.WithExportTimeout(exportTimeout)),
	)
	logger.Info("traces", "collector", natsopt.WithoutUser(endpoint))
	t := &Traces{
		provider: provider, tracer: provider.Tracer("github.com/raftbus/raftbus"), logger: logger,
		waiting: make(chan Request, requestsMax), stop: make(chan struct{}),
	}
	t.group.Go(t.run)
	return t, nil
}

// Close exports what is left, for a bounded time. What is recorded from now on is lost.
func (t *Traces) Close() {
	if t == nil {
		return
	}
	close(t.stop)
	t.group.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what the collector does not take is lost
}

// Record has spans made of a request, or drops it if too many wait: who answers requests, an applier, does not wait for that work.
func (t *Traces) Record(r Request) {
	select {
	case t.waiting <- r:
	default:
		t.crowded.Do(func() {
			t.logger.Warn("requests come faster than they can be traced: some are not; have clients sample fewer")
		})
	}
}

func (t *Traces) run() {
	for {
		select {
		case r := <-t.waiting:
			t.spans(r)
		case <-t.stop:
			t.rest()
			return
		}
	}
}

// rest makes the spans of what waits.
func (t *Traces) rest() {
	for range len(t.waiting) {
		t.spans(<-t.waiting)
	}
}

// spans makes the spans of a request. A parent that is none is no trace.
func (t *Traces) spans(r Request) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": r.Parent})
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	ctx, whole := t.tracer.Start(ctx, "raftbus "+r.Door+" "+r.Operation, trace.WithTimestamp(r.Arrived), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("raftbus.cluster", r.Prefix), attribute.String("raftbus.node", r.Node),
		attribute.String("raftbus.door", r.Door), attribute.String("raftbus.operation", r.Operation), attribute.Int64("raftbus.entry", int64(r.Entry)),
	))
	for _, part := range []struct {
		name     string
		from, to time.Time
	}{
		{"replicate", r.Proposed, r.Committed}, // until a majority has it on disk
		{"sync", r.SyncBegan, r.SyncEnded},     // this node's own disk
		{"apply", r.Committed, r.Applied},
		{"confirm", r.Arrived, r.Confirmed}, // a read: a majority says that this node leads
		{"read", r.Confirmed, r.Answered},
	} {
		if part.from.IsZero() || part.to.Before(part.from) || part.name == "read" && !r.Proposed.IsZero() {
			continue
		}
		_, span := t.tracer.Start(ctx, part.name, trace.WithTimestamp(part.from))
		span.End(trace.WithTimestamp(part.to))
	}
	whole.End(trace.WithTimestamp(r.Answered))
}
