package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
	_ "time/tzdata" // a container without zones knows those of --window

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
)

// backfillFlags holds the flags of the commands that run backfills.
type backfillFlags struct {
	dir             string
	opts            backfill.Options
	maxLag, walRate int64 // in MiB
}

// backfillFolder adds the flag of all commands that read the folder.
func (a *app) backfillFolder(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.backfills.dir, "backfills", "",
		"folder of the backfills (default: backfills, next to the migrations folder)")
	return cmd
}

// backfilling adds the flags of commands that run backfills.
func (a *app) backfilling(cmd *cobra.Command) *cobra.Command {
	f, o := cmd.Flags(), &a.backfills.opts
	f.IntVar(&o.Workers, "workers", 1, "how many connections work on a backfill; further commands may join")
	f.DurationVar(&o.Target, "batch-time", 100*time.Millisecond, "how long a batch of a backfill should take")
	f.DurationVar(&o.LockTimeout, "batch-lock-timeout", 100*time.Millisecond,
		"how long a batch may queue for a lock before it tries half the rows")
	f.DurationVar(&o.StatementTimeout, "batch-timeout", 10*time.Second,
		"how long a statement of a batch may take before it tries half the rows")
	f.Int64Var(&a.backfills.maxLag, "max-lag", 64,
		"wait while a replica is this many MiB behind; negative for any number")
	f.DurationVar(&o.MaxLockWait, "max-lock-wait", time.Second,
		"wait while a session waits longer for a lock; negative for any time")
	f.DurationVar(&o.MaxTransactionAge, "max-transaction-age", 10*time.Minute,
		"wait while a transaction is older; negative for any age")
	f.Int64Var(&a.backfills.walRate, "max-wal-rate", 0,
		"wait while the server writes more than this many MiB of WAL a second; 0 for no limit")
	f.BoolVar(&o.WaitForVacuum, "wait-for-vacuum", false, "wait while a vacuum works on the table")
	f.StringVar(&o.Window, "window", "", `the part of the day to work in, such as "22:00-06:00 Europe/Berlin"`)
	return a.backfillFolder(cmd)
}

// runner reads the folder of backfills, then the configuration.
func (a *app) runner(opts backfill.Options) (*backfill.Runner, error) {
	dir := a.backfills.dir
	if dir == "" {
		migrations, err := a.folder()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(filepath.Dir(filepath.Clean(migrations)), "backfills")
	}
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, usageError{fmt.Errorf("no folder %s: create it, or name another with --backfills", dir)}
	}
	if _, err := backfill.Check(os.DirFS(dir)); err != nil {
		return nil, usageError{err}
	}
	conn, err := a.connection()
	if err != nil {
		return nil, usageError{err}
	}
	opts.VersionTable, opts.HistorySchema = a.versionTable, a.historySchema
	opts.MaxLag, opts.MaxWALRate = a.backfills.maxLag<<20, a.backfills.walRate<<20
	if opts.Logger == nil {
		opts.Logger = a.warnings()
	}
	r, err := backfill.New(conn, os.DirFS(dir), opts)
	if err != nil {
		return nil, usageError{err}
	}
	return r, nil
}

func (a *app) backfill() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backfill", Short: "Move the rows of large tables in batches, while the application uses them",
		Long: `Move the rows of large tables in batches, while the application uses them. A backfill is a
file in the folder "backfills" next to the migrations folder; its name is the file's name without .sql.`,
	}
	const (
		pause  = "Let the worker wait; returns when no batch runs"
		resume = "Continue after the last batch, with the file as it is now: after a pause, a failure or an edit"
		cancel = "End the worker for good; returns when no batch runs"
	)
	cmd.AddCommand(a.backfillRun(), a.backfillStatus(), a.backfillVerify(),
		a.backfillChange("pause", pause, "paused", (*backfill.Runner).Pause),
		a.backfillChange("resume", resume, "resumed", (*backfill.Runner).Resume),
		a.backfillChange("cancel", cancel, "canceled", (*backfill.Runner).Cancel))
	return cmd
}

func (a *app) backfillRun() *cobra.Command {
	restart := false
	cmd := a.limited(a.withJSON(&cobra.Command{
		Use: "run [NAME...]", Short: "Run backfills to their end, one after the other; default: all",
		Long: `Run backfills to their end. Without NAME, run all of the folder in the order of their names.
After an interruption, even by kill -9, the next run continues after the last batch.`,
		ValidArgsFunction: a.completeBackfill,
		RunE: func(cmd *cobra.Command, names []string) error {
			lines := a.backfillLines()
			r, err := a.runner(lines.options(a.backfills.opts))
			if err != nil {
				return err
			}
			if len(names) == 0 {
				for _, b := range r.Backfills() {
					names = append(names, b.Name)
				}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			for _, name := range names {
				if err = a.runBackfill(ctx, r, name, restart); err != nil {
					break
				}
				lines.end()
				if !a.json {
					fmt.Fprintf(a.stdout, "%s is done\n", name)
				}
			}
			lines.end()
			if !a.json {
				return err
			}
			// Show the state even after ctx has ended.
			list, statusErr := a.statusOf(context.WithoutCancel(ctx), r, names)
			v := newBackfillsView(list)
			if err = errors.Join(err, statusErr); err != nil {
				v.Error = err.Error()
			}
			return a.printJSON(v, err)
		},
	}))
	cmd.Flags().BoolVar(&restart, "restart", false,
		"start again at the first row; rows that are done are visited again")
	return a.backfilling(cmd)
}

func (a *app) runBackfill(ctx context.Context, r *backfill.Runner, name string, restart bool) error {
	if restart {
		if err := r.Restart(ctx, name); err != nil {
			return unknownIsUsage(err)
		}
	}
	return unknownIsUsage(r.Run(ctx, name))
}

func (a *app) statusOf(ctx context.Context, r *backfill.Runner, names []string) ([]backfill.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	all, err := r.Status(ctx)
	var list []backfill.Status
	for _, s := range all {
		for _, name := range names {
			if s.Name == name {
				list = append(list, s)
			}
		}
	}
	return list, err
}

func unknownIsUsage(err error) error {
	if errors.Is(err, backfill.ErrUnknown) {
		return usageError{err}
	}
	return err
}

func (a *app) backfillStatus() *cobra.Command {
	return a.backfillFolder(a.withJSON(&cobra.Command{
		Use: "status", Short: "Show the state of the backfills", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.runner(backfill.Options{})
			if err != nil {
				return err
			}
			list, err := r.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(newBackfillsView(list), nil)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, s := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, backfillState(s), backfillProgress(s))
			}
			return w.Flush()
		},
	}))
}

func (a *app) backfillVerify() *cobra.Command {
	return a.backfillFolder(a.limited(&cobra.Command{
		Use: "verify NAME", Short: "Count the rows that the backfill has not brought to their final state",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBackfill,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runner(backfill.Options{})
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			wrong, err := r.Verify(ctx, args[0])
			if err == nil && wrong > 0 {
				err = fmt.Errorf("backfill %s: %d rows are wrong", args[0], wrong)
			}
			if err == nil {
				fmt.Fprintln(a.stdout, "no row is wrong")
			}
			return unknownIsUsage(err)
		},
	}))
}

func (a *app) backfillChange(
	use, short, done string, change func(*backfill.Runner, context.Context, string) error,
) *cobra.Command {
	return a.backfillFolder(a.limited(&cobra.Command{
		Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeBackfill,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runner(backfill.Options{})
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			if err := change(r, ctx, args[0]); err != nil {
				return unknownIsUsage(err)
			}
			fmt.Fprintf(a.stdout, "%s is %s\n", args[0], done)
			return nil
		},
	}))
}

// completeBackfill offers the folder's backfills to the shell, without a database.
func (a *app) completeBackfill(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	dir := a.backfills.dir
	if dir == "" {
		migrations, err := a.folder()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		dir = filepath.Join(filepath.Dir(filepath.Clean(migrations)), "backfills")
	}
	list, err := backfill.Check(os.DirFS(dir))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, b := range list {
		names = append(names, b.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// upBackfilling runs the migrations and, before those that require one, the backfill.
func (a *app) upBackfilling(cmd *cobra.Command) error {
	lines := a.backfillLines()
	r, err := a.runner(lines.options(a.backfills.opts))
	if err != nil {
		return err
	}
	return a.migrate(cmd.Context(), func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
		result, err := r.Up(ctx, m)
		lines.end()
		return result, unknownIsUsage(err)
	})
}

// backfillLines draws the progress of a backfill on a terminal; elsewhere the library logs it.
func (a *app) backfillLines() *backfillLines { return &backfillLines{progress: a.progress()} }

type backfillLines struct{ *progress }

func (l *backfillLines) options(o backfill.Options) backfill.Options {
	if l.log != nil {
		o.Logger = l.log
		return o
	}
	o.Logger = slog.New(slog.DiscardHandler) // the line shows it
	o.Progress = func(s backfill.Status) { l.draw(s.Name + "  " + backfillProgress(s)) }
	return o
}

// backfillState also says whether a worker runs a started backfill.
func backfillState(s backfill.Status) string {
	switch {
	case s.Edited:
		return string(s.State) + ", edited since"
	case s.State == backfill.StateStarted && s.Workers == 0:
		return "started, no worker"
	case s.State == backfill.StateStarted && s.Workers > 1:
		return fmt.Sprintf("running, %d workers", s.Workers)
	case s.State == backfill.StateStarted:
		return "running"
	default:
		return string(s.State)
	}
}

// backfillProgress is one line: rows, rate, time left, and what the worker waits for.
func backfillProgress(s backfill.Status) string {
	if s.State == backfill.StatePending {
		return ""
	}
	line := fmt.Sprintf("%d rows", s.Rows)
	if s.Total > s.Rows {
		line = fmt.Sprintf("%d of about %d rows (%d %%)", s.Rows, s.Total, 100*s.Rows/s.Total)
	}
	if s.State == backfill.StateStarted && s.Rate > 0 {
		line += fmt.Sprintf(", %.0f a second, %s left", s.Rate, s.Left)
	}
	switch {
	case s.State == backfill.StatePaused:
		line += ", paused"
	case s.Waiting != "":
		line += ", waits: " + s.Waiting
	case s.Error != "":
		line += ", last failure: " + s.Error
	}
	return line
}

type (
	backfillsView struct {
		Backfills []backfillView `json:"backfills"`
		Error     string         `json:"error,omitempty"`
	}
	backfillView struct {
		Name        string     `json:"name"`
		State       string     `json:"state"`
		Edited      bool       `json:"edited,omitempty"`
		Workers     int        `json:"workers"`
		Rows        int64      `json:"rows"`
		Total       int64      `json:"total_estimate"`
		Batches     int64      `json:"batches"`
		BatchSize   int        `json:"batch_size"`
		Rate        float64    `json:"rows_per_second"`
		LeftSeconds float64    `json:"seconds_left"`
		Attempts    int        `json:"attempts"`
		Error       string     `json:"error,omitempty"`
		Waiting     string     `json:"waiting,omitempty"`
		Client      string     `json:"client,omitempty"`
		StartedAt   *time.Time `json:"started_at,omitempty"`
		UpdatedAt   *time.Time `json:"updated_at,omitempty"`
		EndedAt     *time.Time `json:"ended_at,omitempty"`
	}
)

func newBackfillsView(list []backfill.Status) backfillsView {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	v := backfillsView{Backfills: make([]backfillView, 0, len(list))}
	for _, s := range list {
		v.Backfills = append(v.Backfills, backfillView{
			Name: s.Name, State: string(s.State), Edited: s.Edited, Workers: s.Workers, Rows: s.Rows, Total: s.Total,
			Batches: s.Batches, BatchSize: s.BatchSize, Rate: s.Rate, LeftSeconds: s.Left.Seconds(),
			Attempts: s.Attempts, Error: s.Error, Waiting: s.Waiting, Client: s.Client,
			StartedAt: at(s.StartedAt), UpdatedAt: at(s.UpdatedAt), EndedAt: at(s.EndedAt),
		})
	}
	return v
}
