package pghealth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// BenchmarkReady is one probe after another: each with its query, or all from one result.
func BenchmarkReady(b *testing.B) {
	pool, err := pgxpool.New(b.Context(), pgserver.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	for name, opts := range map[string]pghealth.Options{"query": {MaxAge: -1}, "cached": {MaxAge: 1 << 62}} {
		b.Run(name, func(b *testing.B) {
			probe, err := pghealth.New(pool, opts)
			if err != nil {
				b.Fatal(err)
			}
			defer probe.Close()
			ready := probe.Ready()
			b.ReportAllocs()
			for b.Loop() {
				rec := httptest.NewRecorder()
				ready.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
				if rec.Code != http.StatusOK {
					b.Fatal(rec.Body)
				}
			}
		})
	}
}
