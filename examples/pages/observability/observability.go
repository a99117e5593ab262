// Package observability shows how a service exports what pgpool tells: to OpenTelemetry, or to
// Prometheus. Both implement [pgpool.Metrics], which is named after OpenTelemetry's
// db.client.connection.* metrics, in the library that they are for; copy the one that you use.
//
//	pool, err := pgpool.Connect(ctx, cfg,
//		pgpool.WithTracer(otelpgx.NewTracer()), // a span for each query, inside a request's
//		pgpool.WithMetrics(metrics))            // of NewOpenTelemetry or NewPrometheus
package observability
