package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	averages "github.com/shirou/gopsutil/v4/load" // "load" is a word of comparisons
	"github.com/shirou/gopsutil/v4/mem"
)

// fact is a line of what a run was made on and with.
type fact struct{ name, value string }

// modules are those whose versions the figures depend on: pgx, and the peers that are Go.
var modules = []string{
	"github.com/jackc/pgx/v5",
	"github.com/avito-tech/go-transaction-manager/trm/v2",
	"gorm.io/gorm",
	"github.com/peterldowns/pgtestdb",
	"github.com/jackc/tern/v2",
	"github.com/pressly/goose/v3",
	"github.com/golang-migrate/migrate/v4",
	"github.com/hellofresh/health-go/v5",
	"github.com/alexliesenfeld/health",
}

// machine tells what the run is made on, before it begins.
func machine(ctx context.Context, now time.Time) []fact {
	processors := fmt.Sprintf("%d × %s", runtime.NumCPU(), runtime.GOARCH)
	if all, err := cpu.InfoWithContext(ctx); err == nil && len(all) > 0 {
		processors = fmt.Sprintf("%d × %s", runtime.NumCPU(), strings.Join(strings.Fields(all[0].ModelName), " "))
	}
	memory := "unknown"
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		memory = fmt.Sprintf("%.1f GiB", float64(m.Total)/(1<<30))
	}
	kernel, err := host.KernelVersionWithContext(ctx)
	if err != nil {
		kernel = "unknown"
	}
	return []fact{
		{"date", now.UTC().Format("2006-01-02 15:04 MST")},
		{"command", strings.Join(append([]string{"bench"}, os.Args[1:]...), " ")},
		{"processors", processors},
		{"memory", memory},
		{"system", runtime.GOOS + " " + kernel},
	}
}

// loadAverage is how many processes were ready to run in the last 1, 5 and 15 minutes.
func loadAverage(ctx context.Context) string {
	avg, err := averages.AvgWithContext(ctx)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f, %.1f, %.1f", avg.Load1, avg.Load5, avg.Load15)
}

// serverVersion is the throw-away server's version.
func serverVersion(ctx context.Context) (version string, err error) {
	url, drop, err := database(ctx)
	if err != nil {
		return "", err
	}
	defer drop()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	err = conn.QueryRow(ctx, "show server_version").Scan(&version)
	return version, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// built are the versions in this program.
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
