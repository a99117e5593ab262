package pgmigrate

import (
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

const (
	// DefaultVersionTable is tern's default.
	DefaultVersionTable = "public.schema_version"

	// DefaultLockTimeout bounds how long a migration may queue for a table lock, and with it how
	// long the application's queries may queue behind the migration. It is above deadlock_timeout
	// (1 s), so that a deadlock is reported as one.
	DefaultLockTimeout = 2 * time.Second
)

// Option changes a default of [New].
type Option func(*settings)

type settings struct {
	logger           *slog.Logger
	versionTable     string
	historySchema    string
	lockTimeout      time.Duration
	statementTimeout time.Duration
	strict           bool
	progress         func(Event)
	progressInterval time.Duration
	data             map[string]any
	repeatable       fs.FS
	withoutBackfills bool
}

// WithLogger sets where progress (level Info) and surprises (level Warn) are logged. Default:
// [slog.Default] at the time of the call. nil logs nothing. SQL is never logged.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) {
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		s.logger = logger
	}
}

// WithVersionTable names the table that holds the version. Default: [DefaultVersionTable]. Set it
// only for a database that tern has been keeping under another name. The name is schema.table in
// lower case and without quotes, because tern puts it into its statements as it is. A name without
// a schema is refused: what it means depends on search_path, and two tenants would share one
// history. The schema must exist.
func WithVersionTable(name string) Option {
	return func(s *settings) { s.versionTable = name }
}

// WithLockTimeout sets PostgreSQL's lock_timeout for migrations that run in a transaction, whatever
// the connection's configuration says. Default: [DefaultLockTimeout]; 0 or less: no limit. It is
// rounded up to the millisecond. Migrations with the disable-tx marker run without one, because a
// concurrent index build that gives up leaves an invalid index behind; they may set their own.
func WithLockTimeout(limit time.Duration) Option {
	return func(s *settings) { s.lockTimeout = serverLimit(limit) }
}

// serverLimit is limit as the server takes it, in milliseconds: 0 is none there, so that a short
// one must not become it.
func serverLimit(limit time.Duration) time.Duration {
	return max(0, limit+time.Millisecond-1).Truncate(time.Millisecond)
}

// WithHistorySchema names the schema of the history. Default: [DefaultHistorySchema]. Set it where
// the default name is taken, or where the role may not create schemas and has been given one. Lower
// case, without quotes.
func WithHistorySchema(name string) Option {
	return func(s *settings) { s.historySchema = name }
}

// WithStatementTimeout sets PostgreSQL's statement_timeout for migrations, index builds without a
// transaction included: each statement that takes longer is canceled and fails its migration. 0 or
// less: no limit. It is rounded up to the millisecond. Default: no limit, because the limits that
// suit queries cut migrations short.
func WithStatementTimeout(limit time.Duration) Option {
	return func(s *settings) { s.statementTimeout = serverLimit(limit) }
}

// WithStrict makes errors of what is a warning otherwise: what tern would run differently from what
// a file says (see [Migrator.Warnings]), files that are ignored, and, for Up, a database that is
// ahead of the folder. It suits unit tests of the folder and pipelines with one deployment at a
// time; not services that are deployed by replacing instance after instance.
func WithStrict() Option {
	return func(s *settings) { s.strict = true }
}

// WithProgressInterval sets how long a statement runs before the first [EventBuild], and how often
// it is sent. Default: 1 s; the shortest is 10 ms. It has no effect without [WithProgress].
func WithProgressInterval(interval time.Duration) Option {
	return func(s *settings) { s.progressInterval = interval }
}

// WithProgress calls fn for every [Event], one at a time: mostly on the goroutine that called Up,
// To, Down or Redo, and for [EventBuild] on another while that one waits. The migration waits for
// fn: a slow fn holds locks for longer. fn must not call the Migrator.
func WithProgress(fn func(Event)) Option {
	return func(s *settings) { s.progress = fn }
}

// WithData gives the values that migrations use as templates: {{.name}}. It is the [data] section
// of tern.conf. Do not pass secrets: [Migrator.Plan] shows the rendered SQL.
func WithData(data map[string]any) Option {
	return func(s *settings) { s.data = data }
}

// Names that tern's catalog lookup and its unquoted interpolation read alike; 63 bytes is
// PostgreSQL's limit.
var (
	schemaName       = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\z`)
	versionTableName = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}\z`)
)

func newSettings(opts []Option) (settings, error) {
	s := settings{
		logger:           slog.Default(),
		versionTable:     DefaultVersionTable,
		historySchema:    DefaultHistorySchema,
		lockTimeout:      DefaultLockTimeout,
		progressInterval: defaultProgressInterval,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	if !versionTableName.MatchString(s.versionTable) {
		return s, fmt.Errorf("version table %q: write schema.table in lower case without quotes", s.versionTable)
	}
	if !schemaName.MatchString(s.historySchema) || strings.HasPrefix(s.historySchema, "pg_") {
		return s, fmt.Errorf("history schema %q: write its name in lower case without quotes; pg_ is reserved",
			s.historySchema)
	}
	if s.progressInterval < shortestProgressInterval {
		return s, fmt.Errorf("progress interval %s: at least %s", s.progressInterval, shortestProgressInterval)
	}
	return s, nil
}

// event tells the caller, who may not have asked for it.
func (s *settings) event(e Event) {
	if s.progress != nil {
		s.progress(e)
	}
}
