package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// Why a replica that answers is not read from.
var (
	// ErrNotStandby: it is not in recovery. It was promoted, or the URL leads to the primary.
	ErrNotStandby error = &reason{
		pgerr.WrongServer, "it is not a standby: if it is the primary now, reads go to it through the primary's URL",
	}
	// ErrOtherCluster: its system identifier is not the primary's.
	ErrOtherCluster error = &reason{
		pgerr.Config, "it belongs to another database cluster than the primary: check DATABASE_REPLICA_URLS",
	}
	// ErrUnsupported: it lacks a function that lag and tokens are made of, or this role may not
	// call it. [Cluster.Token] returns it for the primary.
	ErrUnsupported error = &reason{
		pgerr.Config, "the server does not tell this role where its write-ahead log is, as PostgreSQL does: read " +
			"from the primary",
	}
	// ErrSeveralHosts: its URL names several hosts.
	ErrSeveralHosts error = &reason{
		pgerr.Config, "the URL names several hosts: give each its own in DATABASE_REPLICA_URLS",
	}
)

// reason is an error with a category.
type reason struct {
	category pgerr.Category
	text     string
}

func (r *reason) Error() string            { return r.text }
func (r *reason) Category() pgerr.Category { return r.category }

// unsupported adds ErrUnsupported to the error of a server without the functions: another engine
// that speaks PostgreSQL's protocol, for instance. They are missing (42883), say that they are not
// supported (0A000), or are not for this role (42501).
func unsupported(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) && (said.Code == "42883" || said.Code == "0A000" || said.Code == "42501") {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

// LagError says that a replica is behind by more than the limit.
type LagError struct {
	// Lag is the most that it is behind, or negative where that is not known: the primary has not
	// said where its log ends, and the replica has replayed no transaction since it started.
	Lag time.Duration
	// Limit is the configuration's MaxReplicaLag.
	Limit time.Duration
}

func (e *LagError) Error() string {
	if e.Lag < 0 {
		return "its lag is unknown"
	}
	return fmt.Sprintf("its lag of %s exceeds %s", e.Lag.Round(time.Millisecond), e.Limit)
}

// Category is [pgerr.Lagging].
func (e *LagError) Category() pgerr.Category { return pgerr.Lagging }

// Error is about one replica.
type Error struct {
	// Replica is its place in DATABASE_REPLICA_URLS, from 0.
	Replica int
	// Host and Port are where it is.
	Host string
	Port uint16
	// Err is why: one of this package's, or what came from the database.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("replica %d (%s:%d): %v", e.Replica, e.Host, e.Port, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

func (c *Cluster) log(ctx context.Context, level slog.Level, message string, err error, attrs ...slog.Attr) {
	if err != nil {
		attrs = append(attrs, dial.ErrorAttrs(err)...)
	}
	c.logger.LogAttrs(ctx, level, message, attrs...)
}
