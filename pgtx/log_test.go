package pgtx_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

var durations = regexp.MustCompile(`(acquire|begin|run|commit|wait|elapsed)=[0-9.]+(ns|µs|ms|s)`)

func TestLogTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(ctx context.Context, b *bundle, opts pgtx.Options) error
		want string
	}{
		{"success", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 1, 1)
			})
		}, `level=DEBUG msg="transaction committed" name=pay ` +
			`attempt=1 outcome=committed acquire begin run commit elapsed`},
		{"own error", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(context.Context, pgx.Tx) error {
				return errors.New("card 4711 is refused")
			})
		}, `level=DEBUG msg="transaction rolled_back" name=pay ` +
			`attempt=1 outcome=rolled_back run elapsed category=unknown`},
		{"value in the server's text", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select $1::text::int`, "card 4711")
				return err
			})
		}, `level=DEBUG msg="transaction rolled_back" name=pay ` +
			`attempt=1 outcome=rolled_back acquire begin run commit elapsed category=data sqlstate=22P02`},
		{"a failure of the database", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select from nowhere`)
				return err
			})
		}, `level=WARN msg="transaction rolled_back" name=pay ` +
			`attempt=1 outcome=rolled_back acquire begin run commit elapsed category=statement sqlstate=42P01`},
		{"repeated", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if pgtx.Attempt(ctx) == 1 {
					return raiseConflict(ctx, tx)
				}
				return nil
			})
		}, `level=WARN msg="transaction rolled_back, repeated" name=pay ` +
			`attempt=1 outcome=rolled_back acquire begin run commit wait elapsed category=serialization sqlstate=40001
level=DEBUG msg="transaction committed" name=pay attempt=2 outcome=committed run elapsed`},
		{"hook", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			return pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.AfterCommit(ctx, b.pool, func(context.Context) error { return errBusiness })
			})
		}, `level=WARN msg="transaction committed" name=pay attempt=1 outcome=committed run elapsed category=unknown`},
		{"unknown", func(ctx context.Context, b *bundle, opts pgtx.Options) error {
			_, pool := cutCommit(b.t, b.url, fault.BeforeAnswer)
			return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 1, 1)
			})
		}, `level=ERROR msg="transaction unknown" name=pay ` +
			`attempt=1 outcome=unknown acquire begin run commit elapsed category=commit_unknown phase=commit`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
				Level: slog.LevelDebug,
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				},
			}))
			_ = tt.run(t.Context(), b, pgtx.Options{Name: "pay", Observe: pgtx.LogTo(logger)})
			got := strings.TrimSpace(durations.ReplaceAllString(log.String(), "$1"))
			if got != tt.want {
				t.Errorf("logged\n%s\nwant\n%s", got, tt.want)
			}
			if strings.Contains(got, "4711") {
				t.Error("a value is in the log")
			}
		})
	}
}

// A level that is off costs no record.
func TestLogToDisabled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log bytes.Buffer
	opts := pgtx.Options{Observe: pgtx.LogTo(slog.New(slog.NewTextHandler(&log, nil)))}
	if err := pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("at level Info a success is logged: %s", log.String())
	}
}
