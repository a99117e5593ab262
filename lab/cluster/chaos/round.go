package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/replica"
)

// round is the state of one round that runs.
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

// Run loads the system, injects the fault, waits until the system has recovered and returns what
// happened. An error means that the round could not be made or did not end; broken invariants are
// in the [Round].
func Run(ctx context.Context, system System, fault Fault, opts Options) (*Round, error) {
	r := &round{
		Options: opts.withDefaults(), system: system, schema: "chaos_" + strconv.FormatInt(time.Now().UnixMilli(), 36),
	}
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

// load runs until stop is called, which waits for its end.
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

	if err := r.until(ctx, "the load runs", func() bool {
		return r.flows(time.Time{}, 20) && r.readiness.up()
	}); err != nil {
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
		return r.flows(repaired, 20) && r.control.acks.after(repaired) > 0 && r.reading.reads.after(repaired) > 0 &&
			r.readiness.up()
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

func (r *round) step(format string, args ...any) {
	fmt.Fprintf(r.Log, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// settle resolves the unknown outcomes that it can, waits for the rest to catch up, and judges.
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
	if err := r.onPrimary(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return r.audit(ctx, conn, result)
	}); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	r.measure(result, ended)
	r.step("judged")
	return nil
}

// quiet waits until no statement of a disconnected client is running any more.
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
