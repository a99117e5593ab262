package pghealth

import (
	"errors"
	"net/http"
	"time"

	"github.com/alexliesenfeld/health"
)

// ErrStale is the error of a check whose last result is older than [StaleAfter] allows.
var ErrStale = errors.New("the check has not ended for too long: its last result does not count any more")

// StaleAfter returns a guard for health.WithMiddleware against periodic checks that hang, of
// whoever they are: the library keeps their last status for ever, be it up. A check whose last
// result is older than limit counts as down, with [ErrStale]. One that has never ended is unknown,
// which the library serves as down by itself.
//
// limit must be longer than the longest period of a check and its timeout together, and than
// health.WithCacheDuration. Zero or less guards nothing. It sees nothing where the checker was made
// with health.WithDisabledDetails.
func StaleAfter(limit time.Duration) health.Middleware {
	return func(next health.MiddlewareFunc) health.MiddlewareFunc {
		return func(r *http.Request) health.CheckerResult {
			result := next(r)
			if limit <= 0 {
				return result
			}
			for name, detail := range result.Details {
				if detail.Timestamp.IsZero() || time.Since(detail.Timestamp) <= limit {
					continue // never checked is unknown, which is no status to serve with either
				}
				detail.Status, detail.Error = health.StatusDown, ErrStale
				result.Details[name] = detail
				result.Status = health.StatusDown
			}
			return result
		}
	}
}
