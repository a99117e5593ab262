package pghealth

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// details are for people who may know where the database is. They contain no error texts, which may
// hold values of rows or anything that a hook of the application put there.
type details struct {
	Host       string `json:"host"`
	Port       uint16 `json:"port"`
	OtherHosts int    `json:"otherHosts"` // number of further hosts that are tried
	Database   string `json:"database"`
	User       string `json:"user"`

	TLS           *bool     `json:"tls,omitempty"` // this and the next two are about the probe's connection
	ServerVersion string    `json:"serverVersion,omitempty"`
	Connected     time.Time `json:"connected,omitzero"` // start of the probe's session

	SQLState map[string]string `json:"sqlstate,omitempty"` // by check
	Pool     poolFigures       `json:"pool"`

	TimeoutMs int64 `json:"timeoutMs"`
	MaxAgeMs  int64 `json:"maxAgeMs"`
}

type poolFigures struct {
	Max         int32   `json:"max"`
	InUse       int32   `json:"inUse"`
	Idle        int32   `json:"idle"`
	Connecting  int32   `json:"connecting"`
	Opened      int64   `json:"opened"` // since the start
	Acquires    int64   `json:"acquires"`
	Waited      int64   `json:"waited"` // acquires that found no idle connection
	WaitSeconds float64 `json:"waitSeconds"`
	GaveUp      int64   `json:"gaveUp"`
}

// describe adds the details of all databases to an answer.
func (p *Probe) describe(a *answer) {
	a.Databases = make(map[string]details, len(p.databases))
	for _, d := range p.databases {
		a.Databases[d.opts.Name] = d.describe()
	}
	a.service = p.databases[0].session.cfg.ConnConfig.RuntimeParams["application_name"]
	if a.service == "" {
		a.service = filepath.Base(os.Args[0])
	}
}

func (d *database) describe() details {
	cfg, stat := d.session.cfg.ConnConfig, d.pool.Stat()
	all := details{
		Host: cfg.Host, Port: cfg.Port, OtherHosts: countHosts(cfg) - 1,
		Database: cfg.Database, User: cfg.User,
		SQLState: make(map[string]string),
		Pool: poolFigures{
			Max: stat.MaxConns(), InUse: stat.AcquiredConns(), Idle: stat.IdleConns(),
			Connecting: stat.ConstructingConns(), Opened: stat.NewConnsCount(), Acquires: stat.AcquireCount(),
			Waited: stat.EmptyAcquireCount(), WaitSeconds: stat.EmptyAcquireWaitTime().Seconds(),
			GaveUp: stat.CanceledAcquireCount(),
		},
		TimeoutMs: d.opts.Timeout.Milliseconds(),
		MaxAgeMs:  (max(d.opts.MaxAge, 0) + time.Millisecond - 1).Milliseconds(), // round up: 0 would mean never
	}
	if facts := d.session.server.Load(); facts != nil {
		all.TLS, all.ServerVersion, all.Connected = &facts.tls, facts.version, timestamp(facts.connected)
	}
	for _, c := range d.checks {
		var refused *pgconn.PgError
		if seen, _ := c.latest(); errors.As(seen.cause, &refused) {
			all.SQLState[c.name] = refused.Code
		}
	}
	return all
}
