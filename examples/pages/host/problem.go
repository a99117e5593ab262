package host

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// problem is an error as the client sees it (RFC 9457). It never holds the text of a database
// error.
type problem struct {
	Status     int    `json:"status"`
	Title      string `json:"title"`
	Detail     string `json:"detail,omitempty"`
	Constraint string `json:"constraint,omitempty"`
	Rule       string `json:"rule,omitempty"` // the client's name for the constraint
	retryAfter int    // seconds
}

func (p problem) write(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// problemOf translates an error for the client, and logs it if it is ours.
func problemOf(ctx context.Context, err error) problem {
	var bad *badRequestError
	var refused *pgconn.PgError
	errors.As(err, &refused)
	var unknown *pgtx.CommitUnknownError
	switch {
	case errors.As(err, &bad):
		return problem{Status: bad.status, Title: http.StatusText(bad.status), Detail: bad.detail}
	case errors.Is(err, pages.ErrEditConflict):
		return problem{
			Status: http.StatusPreconditionFailed, Title: pages.ErrEditConflict.Error(),
			Detail: "read the page, and merge",
		}
	case errors.Is(err, pages.ErrNotFound), errors.Is(err, pgx.ErrNoRows):
		return problem{Status: http.StatusNotFound, Title: pages.ErrNotFound.Error()}
	case errors.Is(err, pages.ErrNoContent):
		return problem{Status: http.StatusConflict, Title: pages.ErrNoContent.Error()}
	case errors.Is(err, pages.ErrKeyReused):
		return problem{Status: http.StatusUnprocessableEntity, Title: pages.ErrKeyReused.Error()}
	case refused == nil && pgerr.Of(err) == pgerr.Data: // pgquery: a cursor, a sort, a value
		return problem{
			Status: http.StatusBadRequest,
			Title:  http.StatusText(http.StatusBadRequest),
			Detail: err.Error(),
		}
	case errors.As(err, &unknown):
		slog.ErrorContext(ctx, "the outcome of a commit is unknown", "error", err)
		return problem{
			Status: http.StatusServiceUnavailable, Title: "it is not known whether this was carried out",
			Detail:     "look at the page; a request with an Idempotency-Key can be sent again with the same key",
			retryAfter: 1,
		}
	}
	if v, ok := pgerr.ViolationOf(err, pages.Constraints); ok && v.Kind != "restrict" {
		return violation(v)
	}
	if errors.Is(err, pgpool.ErrExhausted) || pgerr.Retryable(err) || ctx.Err() != nil {
		slog.WarnContext(ctx, "request refused", "category", pgerr.Of(err), "error", err)
		return problem{
			Status: http.StatusServiceUnavailable, Title: "the service is busy; nothing was changed", retryAfter: 1,
		}
	}
	slog.ErrorContext(ctx, "request failed", "category", pgerr.Of(err), "error", err)
	if pgerr.Of(err) != pgerr.Unknown && refused == nil { // the way to the database, not the request
		return problem{Status: http.StatusServiceUnavailable, Title: "the database cannot be reached", retryAfter: 1}
	}
	return problem{
		Status: http.StatusInternalServerError, Title: "the request could not be carried out; nothing was changed",
	}
}

// violation translates violated constraints. A constraint's name is ours and says what it requires;
// the server's message may hold values of other rows.
func violation(v pgerr.Violation) problem {
	p := problem{Constraint: v.Constraint, Rule: v.Name, Status: http.StatusUnprocessableEntity}
	p.Title = "the content breaks a rule of the schema"
	if v.Kind == "unique" {
		p.Status, p.Title = http.StatusConflict, "something else has this name or path already"
	}
	return p
}

func withLimit(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), requestLimit)
}
