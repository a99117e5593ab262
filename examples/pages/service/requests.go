package service

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// requests counts, times, traces and logs what a service answers.
type requests struct {
	*prometheus.HistogramVec
	log    *slog.Logger
	tracer trace.Tracer
}

func newRequests(service string, log *slog.Logger) *requests {
	return &requests{
		HistogramVec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_server_request_duration_seconds", Help: "Time to answer a request.",
			ConstLabels: prometheus.Labels{"service": service},
			Buckets:     []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
		log:    log,
		tracer: otel.Tracer("examples/pages/" + service),
	}
}

// observe wraps a service's routes. A span is the parent of those that otelpgx makes for the
// queries of the request.
func (q *requests) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := q.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(answer, r.WithContext(ctx))

		status, route := answer.Status(), chi.RouteContext(ctx).RoutePattern()
		if status == 0 {
			status = http.StatusOK
		}
		took := time.Since(began)
		q.WithLabelValues(r.Method, route, strconv.Itoa(status)).Observe(took.Seconds())
		span.SetName(r.Method + " " + route)
		span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
		level := slog.LevelDebug
		if status >= http.StatusInternalServerError {
			level = slog.LevelError
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		q.log.LogAttrs(ctx, level, "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", status), slog.Duration("took", took), slog.String("trace",
				span.SpanContext().TraceID().String()))
	})
}
