package replica

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

// failures hears on a replica's pool that the server is gone.
type failures struct{ standby *standby }

var (
	_ pgx.QueryTracer   = (*failures)(nil)
	_ pgx.BatchTracer   = (*failures)(nil)
	_ pgx.ConnectTracer = (*failures)(nil)
)

func (f *failures) heard(ctx context.Context, err error) {
	if err == nil {
		return
	}
	switch pgerr.Of(err) {
	case pgerr.Connection, pgerr.Shutdown, pgerr.Refused, pgerr.StartingUp:
		f.standby.lost(ctx, err)
	}
}

// TraceQueryStart does nothing.
func (f *failures) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd looks at the error.
func (f *failures) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	f.heard(ctx, data.Err)
}

// TraceBatchStart does nothing.
func (f *failures) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

// TraceBatchQuery does nothing.
func (f *failures) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd looks at the error.
func (f *failures) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	f.heard(ctx, data.Err)
}

// TraceConnectStart does nothing.
func (f *failures) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd looks at the error.
func (f *failures) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	f.heard(ctx, data.Err)
}
