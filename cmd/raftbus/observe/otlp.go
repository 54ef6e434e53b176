package observe

// The way of finished spans to a collector: OTLP over HTTP, with the JSON written here.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// otlp exports spans by OTLP over HTTP, as JSON, which every collector takes on its port 4318. The SDK's own exporter would bring gRPC
// along, and make the binary a quarter larger.
type otlp struct {
	endpoint string
	client   *http.Client
}

type (
	otlpRequest struct {
		ResourceSpans []otlpResource `json:"resourceSpans"`
	}
	otlpResource struct {
		Resource   otlpAttributes `json:"resource"`
		ScopeSpans []otlpScope    `json:"scopeSpans"`
	}
	otlpAttributes struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScope struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		ParentID   string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"` // a number, which JSON has as text
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
	}
	otlpAttribute struct {
		Key   string            `json:"key"`
		Value map[string]string `json:"value"` // stringValue or intValue
	}
)

// ExportSpans implements sdktrace.SpanExporter. All spans are of one provider: they share resource and scope.
func (o *otlp) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	var scope otlpScope
	scope.Scope.Name = spans[0].InstrumentationScope().Name
	for _, s := range spans {
		scope.Spans = append(scope.Spans, otlpOf(s))
	}
	about := otlpAttributes{attributesOf(spans[0].Resource().Attributes())}
	body, err := json.Marshal(otlpRequest{[]otlpResource{{Resource: about, ScopeSpans: []otlpScope{scope}}}})
	if err != nil {
		return err
	}
	return o.post(ctx, body)
}

func (o *otlp) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := o.client.Do(request)
	if at := (*url.Error)(nil); errors.As(err, &at) {
		at.URL = natsopt.WithoutUser(at.URL)
	}
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection is used again
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", natsopt.WithoutUser(o.endpoint), response.Status)
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (o *otlp) Shutdown(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

func otlpOf(s sdktrace.ReadOnlySpan) otlpSpan {
	span := otlpSpan{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: int(s.SpanKind()),
		Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10), Attributes: attributesOf(s.Attributes()),
	}
	if s.Parent().SpanID().IsValid() {
		span.ParentID = s.Parent().SpanID().String()
	}
	return span
}

func attributesOf(list []attribute.KeyValue) (out []otlpAttribute) {
	for _, a := range list {
		kind := "stringValue"
		if a.Value.Type() == attribute.INT64 {
			kind = "intValue"
		}
		out = append(out, otlpAttribute{string(a.Key), map[string]string{kind: a.Value.String()}})
	}
	return out
}
