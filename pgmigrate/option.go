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

	// DefaultHistorySchema is the schema of the history.
	DefaultHistorySchema = "pgmigrate"

	// DefaultLockTimeout limits how long a migration may queue for a table lock, and therefore how
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
	data             map[string]any
	repeatable       fs.FS
	withoutBackfills bool
}

// WithLogger sets where progress (level Info) and surprises (level Warn) are logged. nil logs
// nothing. SQL is never logged. Defaults to [slog.Default] at the time of the call.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) {
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		s.logger = logger
	}
}

// WithVersionTable names the table that holds the version. Set it only for a database that tern has
// kept under another name. Write schema.table in lower case without quotes, because tern inserts
// the name into its statements as it is. A name without a schema is refused: it would depend on
// search_path, and two tenants would share one history. The schema must exist. Defaults to
// [DefaultVersionTable].
func WithVersionTable(name string) Option {
	return func(s *settings) { s.versionTable = name }
}

// WithHistorySchema names the schema of the history, in lower case without quotes. Set it if the
// default name is taken, or if the role may not create schemas and owns another. Defaults to
// [DefaultHistorySchema].
func WithHistorySchema(name string) Option {
	return func(s *settings) { s.historySchema = name }
}

// WithLockTimeout sets PostgreSQL's lock_timeout for migrations, whatever the connection's
// configuration says. It is rounded up to the millisecond; 0 or less means no limit. Concurrent
// index builds run without it, because one that gives up leaves an invalid index. Defaults to
// [DefaultLockTimeout].
func WithLockTimeout(limit time.Duration) Option {
	return func(s *settings) { s.lockTimeout = roundUp(limit) }
}

// WithStatementTimeout sets PostgreSQL's statement_timeout for migrations, index builds included: a
// statement that takes longer is canceled and fails its migration. It is rounded up to the
// millisecond; 0 or less means no limit. Defaults to no limit, because limits that suit queries cut
// migrations short.
func WithStatementTimeout(limit time.Duration) Option {
	return func(s *settings) { s.statementTimeout = roundUp(limit) }
}

// roundUp rounds to the server's milliseconds, where 0 means no limit.
func roundUp(limit time.Duration) time.Duration {
	return max(0, limit+time.Millisecond-1).Truncate(time.Millisecond)
}

// WithStrict turns the folder's warnings into errors and, for Up, a database that is ahead of the
// folder. Use it in unit tests of the folder and in pipelines with one deployment at a time, not in
// services that are replaced instance by instance.
func WithStrict() Option {
	return func(s *settings) { s.strict = true }
}

// WithProgress calls fn for every [Event], one at a time. [EventBuild] is sent from another
// goroutine while the caller of Up, To, Down or Redo waits. The migration waits for fn: a slow fn
// holds locks for longer. fn must not call the Migrator.
func WithProgress(fn func(Event)) Option {
	return func(s *settings) { s.progress = fn }
}

// WithData sets the values that migrations use as templates: {{.name}}. It is the [data] section of
// tern.conf. Do not pass secrets: [Migrator.Plan] shows the rendered SQL.
func WithData(data map[string]any) Option {
	return func(s *settings) { s.data = data }
}

// WithoutBackfills runs migrations whether or not the backfills that they require are done. It is
// for databases without rows, such as one that shows which schema the migrations make.
func WithoutBackfills() Option {
	return func(s *settings) { s.withoutBackfills = true }
}

// Names that tern's catalog lookup and its unquoted interpolation read alike; 63 bytes is
// PostgreSQL's limit.
var (
	schemaName       = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\z`)
	versionTableName = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}\z`)
)

func newSettings(opts []Option) (settings, error) {
	s := settings{
		logger:        slog.Default(),
		versionTable:  DefaultVersionTable,
		historySchema: DefaultHistorySchema,
		lockTimeout:   DefaultLockTimeout,
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
	return s, nil
}

// event calls the caller's progress function, if there is one.
func (s *settings) event(e Event) {
	if s.progress != nil {
		s.progress(e)
	}
}
