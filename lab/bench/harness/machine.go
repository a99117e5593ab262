package harness

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// fact is a line about the machine or software of a run.
type fact struct{ name, value string }

// modules are the modules that affect the figures: pgx, and the peers written in Go.
var modules = []string{
	"github.com/jackc/pgx/v5",
	"github.com/avito-tech/go-transaction-manager/trm/v2",
	"gorm.io/gorm",
	"github.com/Masterminds/squirrel",
	"github.com/stephenafamo/bob",
	"github.com/peterldowns/pgtestdb",
	"github.com/jackc/tern/v2",
	"github.com/pressly/goose/v3",
	"github.com/golang-migrate/migrate/v4",
	"github.com/hellofresh/health-go/v5",
	"github.com/alexliesenfeld/health",
	"github.com/riverqueue/river",
}

// machine describes the machine before the run begins.
func machine(ctx context.Context, now time.Time) []fact {
	model, memory := runtime.GOARCH, "unknown"
	if all, err := cpu.InfoWithContext(ctx); err == nil && len(all) > 0 {
		model = strings.Join(strings.Fields(all[0].ModelName), " ")
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		memory = fmt.Sprintf("%.1f GiB", float64(m.Total)/(1<<30))
	}
	return []fact{
		{"date", now.UTC().Format("2006-01-02 15:04 MST")},
		{"command", strings.Join(append([]string{"bench"}, os.Args[1:]...), " ")},
		{"processors", fmt.Sprintf("%d × %s", runtime.NumCPU(), model)},
		{"memory", memory},
	}
}

func loadAverage(ctx context.Context) string {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f, %.1f, %.1f", avg.Load1, avg.Load5, avg.Load15)
}

// serverVersion asks the throw-away server.
func serverVersion(ctx context.Context) (version string, err error) {
	url, drop, err := Database(ctx)
	if err != nil {
		return "", err
	}
	defer drop()
	err = Session(ctx, url, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "show server_version").Scan(&version)
	})
	return version, err
}

// built returns the versions in this program.
func built() []fact {
	facts := []fact{{"Go", strings.TrimPrefix(runtime.Version(), "go")}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return facts
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			facts = append(facts, fact{"commit", s.Value[:min(len(s.Value), 12)]})
		case s.Key == "vcs.modified" && s.Value == "true" && facts[len(facts)-1].name == "commit":
			facts[len(facts)-1].value += ", with changes"
		}
	}
	for _, path := range modules {
		if at := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path }); at >= 0 {
			facts = append(facts, fact{path, info.Deps[at].Version})
		}
	}
	return facts
}

// OwnCPU returns the processor time that this process has used, or 0 if it is unknown.
func OwnCPU() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
