package pgmigrate

import (
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

const (
	// DefaultVersionTable is tern's default.
	DefaultVersionTable = "public.schema_version"

	// DefaultLockTimeout bounds how long a migration may queue for a table lock, and with it how long the application's
	// queries may queue behind the migration. It is above deadlock_timeout (1 s), so that a deadlock is reported as one.
	DefaultLockTimeout = 2 * time.Second
)

// Option changes a default of [New].
type Option func(*settings)

type settings struct {
	logger       *slog.Logger
	versionTable string
	lockTimeout  time.Duration
	progress     func(Event)
	data         map[string]any
}

// WithLogger sets where progress (level Info) and surprises (level Warn) are logged. Default: [slog.Default]. Nil logs
// nothing. SQL is never logged.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) {
		if l == nil {
			l = slog.New(slog.DiscardHandler)
		}
		s.logger = l
	}
}

// WithVersionTable names the table that holds the version. Default: [DefaultVersionTable]. Set it only for a database that
// tern has been keeping under another name. The name is schema.table (or table, found through search_path) in lower case
// and without quotes, because tern puts it into its statements as it is. The schema must exist.
func WithVersionTable(name string) Option {
	return func(s *settings) { s.versionTable = name }
}

// WithLockTimeout sets PostgreSQL's lock_timeout for migrations that run in a transaction, whatever the connection's
// configuration says. Default: [DefaultLockTimeout]; 0 means no limit. Migrations with the disable-tx marker run without
// one, because a concurrent index build that gives up leaves an invalid index behind; they may set their own.
func WithLockTimeout(d time.Duration) Option {
	return func(s *settings) { s.lockTimeout = d }
}

// WithProgress calls fn for every [Event], one at a time, on the goroutine that called Up, To, Down or Redo. The migration
// waits for fn: a slow fn holds locks for longer. fn must not call the Migrator.
func WithProgress(fn func(Event)) Option {
	return func(s *settings) { s.progress = fn }
}

// WithData gives the values that migrations use as templates: {{.name}}. It is the [data] section of tern.conf. Do not pass
// secrets: [Migrator.Plan] shows the rendered SQL.
func WithData(data map[string]any) Option {
	return func(s *settings) { s.data = data }
}

// Names that tern's catalogue lookup and its unquoted interpolation read alike; 63 bytes is PostgreSQL's limit.
var versionTableName = regexp.MustCompile(`\A([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}\z`)

func newSettings(opts []Option) (settings, error) {
	s := settings{
		logger:       slog.Default(),
		versionTable: DefaultVersionTable,
		lockTimeout:  DefaultLockTimeout,
		progress:     func(Event) {},
	}
	for _, opt := range opts {
		opt(&s)
	}
	if s.progress == nil {
		s.progress = func(Event) {}
	}
	if !versionTableName.MatchString(s.versionTable) {
		return s, fmt.Errorf("version table %q: write schema.table in lower case without quotes", s.versionTable)
	}
	if s.lockTimeout < 0 || (s.lockTimeout > 0 && s.lockTimeout < time.Millisecond) {
		return s, fmt.Errorf("lock timeout %s: at least 1ms, or 0 for no limit", s.lockTimeout)
	}
	return s, nil
}
