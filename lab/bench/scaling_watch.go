package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// sampled is how often a watcher looks.
const sampled = 20 * time.Millisecond

// watcher looks at a server's sessions and at the cores while something is measured.
type watcher struct {
	conn       *pgx.Conn
	postmaster int // 0: not on this machine, or not known
	began      time.Time
	before     seen
	stop       context.CancelFunc
	states     chan map[string]int
}

// seen is what a watcher saw: seconds of the cores, and sessions.
type seen struct {
	length float64        // in seconds
	cores  float64        // used on the whole machine, by whomever; 0 where that is not known
	ours   float64        // by this process
	server float64        // by the server
	states map[string]int // sessions in them, over all samples
}

// newWatcher sees the sessions of all databases of the server of url.
func newWatcher(ctx context.Context, url string) (*watcher, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("watch the server: %w", err)
	}
	w := &watcher{conn: conn}
	if backend, err := readProcess(int(conn.PgConn().PID())); err == nil {
		w.postmaster = backend.parent
	}
	return w, nil
}

func (w *watcher) close() { _ = w.conn.Close(context.Background()) }

func (w *watcher) now() seen {
	return seen{cores: busyCores(), ours: ownCPU(), server: cpuOf(w.postmaster)}
}

// begin looks until end is called.
func (w *watcher) begin(ctx context.Context) {
	ctx, w.stop = context.WithCancel(ctx)
	w.states = make(chan map[string]int, 1)
	w.before, w.began = w.now(), time.Now()
	go func() {
		tick := time.NewTicker(sampled)
		defer tick.Stop()
		states := map[string]int{}
		for {
			select {
			case <-tick.C:
				look(context.WithoutCancel(ctx), w.conn, states)
			case <-ctx.Done():
				w.states <- states
				return
			}
		}
	}()
}

func (w *watcher) end() seen {
	w.stop()
	after := w.now()
	return seen{
		length: time.Since(w.began).Seconds(), states: <-w.states,
		cores: after.cores - w.before.cores, ours: after.ours - w.before.ours, server: after.server - w.before.server,
	}
}

func (s *seen) add(more seen) {
	s.length += more.length
	s.cores += more.cores
	s.ours += more.ours
	s.server += more.server
	if s.states == nil {
		s.states = map[string]int{}
	}
	for state, n := range more.states {
		s.states[state] += n
	}
}

// look counts who works, and what the others wait for. A session without a wait event is on a core
// or waits for one. Which one of the client's pauses it is does not matter.
func look(ctx context.Context, conn *pgx.Conn, states map[string]int) {
	rows, _ := conn.Query(ctx,
		`select case when wait_event = 'ClientRead' then 'client'
			else coalesce(wait_event_type || ' ' || wait_event, 'core') end, count(*)::int
from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() group by 1`)
	var (
		state string
		n     int
	)
	_, _ = pgx.ForEachRow(rows, []any{&state, &n}, func() error { // a sample that fails is none
		states[state] += n
		return nil
	})
}

// sessions tells the four most frequent states.
func (s *seen) sessions() string {
	all := 0
	for _, n := range s.states {
		all += n
	}
	names := slices.SortedFunc(maps.Keys(s.states), func(a, b string) int { return s.states[b] - s.states[a] })
	said := make([]string, 0, 4)
	for _, name := range names[:min(4, len(names))] {
		said = append(said, fmt.Sprintf("%s %.0f %%", name, 100*float64(s.states[name])/float64(all)))
	}
	return strings.Join(said, ", ")
}

// busyCores is how many seconds all cores have worked since the machine started, or 0 where that is
// not known.
func busyCores() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var user, nice, system, idle, waiting, irq, softirq float64
	if _, err := fmt.Sscanf(string(line), "cpu %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &waiting,
		&irq, &softirq); err != nil {
		return 0
	}
	return (user + nice + system + irq + softirq) / ticks
}

// ownCPU is how many seconds of the cores this process has used.
func ownCPU() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
