package pghealth

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// sections of the verbose form: for people who may know where the database is. Error texts are not
// among them: they may hold values of rows and whatever a hook of the application put there, and
// they are in the log.
type sections map[string]map[string]string

// wantsVerbose reports whether the URL has the parameter "verbose", with any value but "false" and
// "0".
func wantsVerbose(r *http.Request) bool {
	query := r.URL.Query()
	v := query.Get("verbose")
	return query.Has("verbose") && v != "false" && v != "0"
}

func (p *Probe) verbose() sections {
	cfg := p.session.cfg.ConnConfig
	all := sections{
		"target": {
			"host": cfg.Host, "port": strconv.Itoa(int(cfg.Port)), "database": cfg.Database, "user": cfg.User,
			"hosts": strconv.Itoa(hosts(cfg)),
			"tls":   strconv.FormatBool(cfg.TLSConfig != nil),
		},
		"probe": {
			"timeout": p.opts.Timeout.String(), "maxAge": p.opts.MaxAge.String(), "allowReadOnly": strconv.FormatBool(p.opts.AllowReadOnly),
			"created": p.created.UTC().Format(time.RFC3339), "started": strconv.FormatBool(p.started.Load()),
		},
		"sqlstate": {},
	}
	if facts := p.session.server.Load(); facts != nil {
		all["server"] = map[string]string{"version": facts.version, "connected": facts.connected.UTC().Format(time.RFC3339)}
	}
	stat := p.pool.Stat()
	all["pool"] = map[string]string{
		"acquires":         strconv.FormatInt(stat.AcquireCount(), 10),
		"acquireTime":      stat.AcquireDuration().String(),
		"emptyAcquires":    strconv.FormatInt(stat.EmptyAcquireCount(), 10),
		"canceledAcquires": strconv.FormatInt(stat.CanceledAcquireCount(), 10),
		"connectionsMade":  strconv.FormatInt(stat.NewConnsCount(), 10),
		"endedByLifetime":  strconv.FormatInt(stat.MaxLifetimeDestroyCount(), 10),
		"endedByIdleTime":  strconv.FormatInt(stat.MaxIdleDestroyCount(), 10),
	}
	for _, c := range p.checks.every() {
		var refused *pgconn.PgError
		if seen, _ := c.latest(); errors.As(seen.cause, &refused) {
			all["sqlstate"][c.name] = refused.Code
		}
	}
	return all
}
