package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtx"
)

const (
	// recoverLimit is how long writes may be away, and the system take to be whole again.
	recoverLimit = 2 * time.Minute
	// loadedLimit is how long the load goes on while the system is not whole.
	loadedLimit = time.Minute
	// rejoinLimit is for a node that has to copy everything, on a busy machine. Then it is mended, and has as long again.
	rejoinLimit = 90 * time.Second
	// catchUpLimit is for the listener: its connection may have ended without a word, which TCP keepalive finds within a
	// minute.
	catchUpLimit = 75 * time.Second
)

// round is one under way.
type round struct {
	Options
	system System
	schema string
	cfg    pgconfig.Config

	cluster *replica.Cluster
	plain   *pgxpool.Pool // of the control
	conns   connections
	ours    []*side
	control *side

	reading   *reading
	events    *events
	migration *migration
	readiness *readiness
	floor     *floor
}

// Run loads the system, brings the fault about, waits until all is well again and returns what happened. An error means that
// the round could not be made or did not end; broken invariants are in the [Round].
func Run(ctx context.Context, system System, fault Fault, opts Options) (*Round, error) {
	r := &round{Options: opts.withDefaults(), system: system, schema: "chaos_" + strconv.FormatInt(time.Now().UnixMilli(), 36)}
	if err := r.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the round: %w", err)
	}
	defer r.close(ctx)
	result, err := r.play(ctx, fault)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fault.Name, err)
	}
	return result, nil
}

func (r *round) prepare(ctx context.Context) (err error) {
	environ := Environ()
	maps.Copy(environ, r.system.Environ)
	if r.cfg, err = pgconfig.LoadFrom(pgconfig.Source{Environ: environ}); err != nil {
		return err
	}
	if r.migration, err = newMigration(r.cfg, r.schema); err != nil {
		return err
	}
	if r.cluster, err = replica.Open(ctx, r.cfg, pgpool.WithLogger(r.Logger), pgpool.WithTracer(&r.conns)); err != nil {
		return err
	}
	if r.plain, err = plainPool(ctx, environ); err != nil {
		return err
	}
	primary := r.cluster.Primary()
	if r.readiness, err = newReadiness(primary); err != nil {
		return err
	}
	name := func(table string) string { return pgx.Identifier{r.schema, table}.Sanitize() }
	r.ours = []*side{verified(primary, r.schema), keyed(primary, r.schema)}
	r.control = naive(r.plain, r.schema)
	r.reading = &reading{cluster: r.cluster, table: name("written")}
	r.events = &events{pool: primary, table: name("events"), channel: r.schema, written: map[int64]time.Time{}, got: map[int64]time.Time{}}
	r.floor = &floor{nodes: r.system.Nodes, sql: `insert into ` + name("floor") + ` values ($1, clock_timestamp())`}
	return r.onPrimary(ctx, r.create)
}

// plainPool is the control's: what DATABASE_URL says, and pgx's defaults.
func plainPool(ctx context.Context, environ map[string]string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(environ["DATABASE_URL"])
	if err != nil {
		return nil, errors.New("DATABASE_URL does not parse") // err may quote the password
	}
	cfg.MaxConns = workers
	if environ["DATABASE_PGBOUNCER"] != "" {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // or it does not work at all
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

func (r *round) create(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `create schema `+pgx.Identifier{r.schema}.Sanitize()); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `create table `+pgx.Identifier{r.schema, "floor"}.Sanitize()+` (node int, at timestamptz)`); err != nil {
		return err
	}
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass('pgtx_idempotency_keys') is not null`).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := conn.Exec(ctx, pgtx.IdempotencyTableSQL); err != nil {
			return err
		}
	}
	for _, s := range append(r.ours, r.control) {
		if err := s.create(ctx, conn); err != nil {
			return err
		}
	}
	if err := r.reading.create(ctx, conn); err != nil {
		return err
	}
	return r.events.create(ctx, conn)
}

// onPrimary runs fn on a connection to the server that is primary now.
func (r *round) onPrimary(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	url, err := r.system.Primary(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, conn)
	return fn(ctx, conn)
}

// load is what runs until stop is called, which waits for it.
func (r *round) load(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, s := range append(r.ours, r.control) {
		all.Go(func() { s.work(ctx) })
	}
	all.Go(func() { r.reading.run(ctx) })
	all.Go(func() { r.events.produce(ctx) })
	all.Go(func() { r.readiness.run(ctx) })
	all.Go(func() { r.floor.run(ctx) })
	return func() { cancel(); all.Wait() }
}

func (r *round) play(ctx context.Context, fault Fault) (*Round, error) {
	listening, cancel := context.WithCancel(ctx)
	listener := make(chan error, 1)
	go func() { listener <- r.events.consume(listening, r.cfg) }()
	stop := sync.OnceFunc(r.load(ctx))
	defer func() {
		stop()
		cancel()
		if err := <-listener; err != nil {
			r.step("the listener: %v", err)
		}
	}()

	if err := r.until(ctx, "the load runs", func() bool { return r.flows(time.Time{}, 20) && r.readiness.up() }); err != nil {
		return nil, err
	}
	sleep(ctx, r.Calm)
	go r.migration.run(context.WithoutCancel(ctx))
	sleep(ctx, time.Second) // into its second file

	result := &Round{Fault: fault.Name, Started: time.Now()}
	repaired, err := r.bring(ctx, fault)
	if err != nil {
		return nil, err
	}
	if err := r.until(ctx, "writes are back", func() bool {
		return r.flows(repaired, 20) && r.control.acks.after(repaired) > 0 && r.reading.reads.after(repaired) > 0 && r.readiness.up()
	}); err != nil {
		return nil, err
	}
	whole := r.whole(ctx, loadedLimit) // under load, if that does not keep a node from catching up
	sleep(ctx, r.Calm)
	ended := time.Now()
	stop()
	r.step("the load has ended")
	if whole != nil {
		whole = r.whole(ctx, rejoinLimit)
	}
	if whole != nil && r.system.Mend != nil {
		result.Mended = whole.Error()
		r.step("mend: %v", whole)
		if whole = r.mend(ctx); whole == nil {
			whole = r.whole(ctx, rejoinLimit)
		}
	}
	if whole != nil {
		result.broke("the system is not whole again: %v", whole)
	}
	return result, r.settle(ctx, result, ended)
}

// whole waits until the system is.
func (r *round) whole(ctx context.Context, limit time.Duration) error {
	if r.system.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.system.Ready(ctx)
	if err == nil {
		r.step("the system is whole")
	}
	return err
}

func (r *round) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	return r.system.Mend(ctx)
}

// bring brings the fault about and repairs it, whatever goes wrong in between, and returns when that was.
func (r *round) bring(ctx context.Context, fault Fault) (repaired time.Time, err error) {
	r.step("%s", fault.Name)
	injected := time.Now()
	if err := fault.Inject(ctx); err != nil {
		return injected, fmt.Errorf("inject: %w", err)
	}
	sleep(ctx, fault.Hold)
	if fault.Heals {
		back := injected.Add(max(fault.Hold, time.Second))
		err = r.until(ctx, "writes are back", func() bool { return r.flows(back, 10) })
	}
	if fault.Repair != nil {
		r.step("repair")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverLimit)
		defer cancel()
		if failed := fault.Repair(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("repair: %w", failed))
		}
	}
	return time.Now(), err
}

// flows reports whether each of our sides has had so many acknowledgements since then.
func (r *round) flows(since time.Time, n int) bool {
	for _, s := range r.ours {
		if s.acks.after(since) < n {
			return false
		}
	}
	return true
}

func (r *round) until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("waited %v in vain until %s", recoverLimit, what)
		}
		sleep(ctx, 50*time.Millisecond)
	}
	r.step("%s", what)
	return nil
}

func (r *round) step(format string, args ...any) {
	fmt.Fprintf(r.Log, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// settle finds out what can be, lets the rest catch up, and judges.
func (r *round) settle(ctx context.Context, result *Round, ended time.Time) error {
	for _, s := range r.ours {
		s.settle(ctx)
	}
	r.step("asked what became of the unknown")
	runs, first, err := r.migration.complete(ctx)
	result.MigrationRuns = runs
	if first != nil {
		result.MigrationMet = first.Error()
	}
	if err != nil {
		result.broke("the migration cannot be completed: %v", err)
	}
	r.step("the migration is complete")
	if err := r.onPrimary(ctx, r.quiet); err != nil {
		return err
	}
	r.step("all is quiet")
	if err := r.onPrimary(ctx, func(ctx context.Context, conn *pgx.Conn) error { return r.audit(ctx, conn, result) }); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	r.measure(result, ended)
	r.step("judged")
	return nil
}

// quiet waits until nothing of a client that is gone is under way any more.
func (r *round) quiet(ctx context.Context, conn *pgx.Conn) error {
	for ctx.Err() == nil {
		var busy int
		err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_xid is not null`).Scan(&busy)
		if err != nil || busy == 0 {
			return err
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return errors.New("transactions of the load are still under way")
}

// close ends everything and drops the round's schema.
func (r *round) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	r.readiness.probe.Close()
	r.plain.Close()
	if err := r.cluster.Shutdown(ctx); err != nil {
		r.step("shutdown: %v", err)
	}
	if err := r.onPrimary(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `drop schema `+pgx.Identifier{r.schema}.Sanitize()+` cascade`)
		return err
	}); err != nil {
		r.step("drop the schema: %v", err)
	}
}
