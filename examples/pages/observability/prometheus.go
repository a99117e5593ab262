package observability

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/page-builder/persistence/pgpool"
)

var (
	_ pgpool.Metrics       = (*Prometheus)(nil)
	_ prometheus.Collector = (*Prometheus)(nil)
)

// Prometheus is a collector of one pool's figures: register it once.
type Prometheus struct {
	read                                      atomic.Pointer[func() pgpool.Gauges]
	count, maximum, idleMax, idleMin, pending *prometheus.Desc
	wait, use, create                         prometheus.Histogram
	timeouts                                  prometheus.Counter
}

// NewPrometheus makes a collector of a pool of that name. The names are OpenTelemetry's in
// Prometheus' spelling.
func NewPrometheus(pool string) *Prometheus {
	labels := prometheus.Labels{"pool": pool}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("db_client_connection_"+name, help, variable, labels)
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "db_client_connection_" + name + "_seconds", Help: help, ConstLabels: labels,
			Buckets: []float64{.0001, .001, .005, .01, .05, .1, .5, 1, 5, 10},
		})
	}
	return &Prometheus{
		count:   desc("count", "Connections, used and idle.", "state"),
		maximum: desc("max", "Most connections allowed."),
		idleMax: desc("idle_max", "Most idle connections allowed."),
		idleMin: desc("idle_min", "Idle connections kept."),
		pending: desc("pending_requests", "Callers that wait for a connection."),
		wait:    histogram("wait_time", "Time to get a connection from the pool."),
		use:     histogram("use_time", "Time from getting a connection to giving it back."),
		create:  histogram("create_time", "Time to open a connection."),
		timeouts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "db_client_connection_timeouts_total", Help: "Callers that got no connection in time.",
			ConstLabels: labels,
		}),
	}
}

// Gauges implements [pgpool.Metrics].
func (p *Prometheus) Gauges(read func() pgpool.Gauges) { p.read.Store(&read) }

// WaitTime implements [pgpool.Metrics].
func (p *Prometheus) WaitTime(d time.Duration) { p.wait.Observe(d.Seconds()) }

// UseTime implements [pgpool.Metrics].
func (p *Prometheus) UseTime(d time.Duration) { p.use.Observe(d.Seconds()) }

// CreateTime implements [pgpool.Metrics].
func (p *Prometheus) CreateTime(d time.Duration) { p.create.Observe(d.Seconds()) }

// Timeout implements [pgpool.Metrics].
func (p *Prometheus) Timeout() { p.timeouts.Inc() }

// Describe implements [prometheus.Collector].
func (p *Prometheus) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.count, p.maximum, p.idleMax, p.idleMin, p.pending} {
		to <- d
	}
	for _, c := range []prometheus.Collector{p.wait, p.use, p.create, p.timeouts} {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (p *Prometheus) Collect(to chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{p.wait, p.use, p.create, p.timeouts} {
		c.Collect(to)
	}
	read := p.read.Load()
	if read == nil { // not connected yet
		return
	}
	g := (*read)()
	gauge := func(d *prometheus.Desc, value int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	gauge(p.count, g.Used, "used")
	gauge(p.count, g.Idle, "idle")
	gauge(p.maximum, g.Max)
	gauge(p.idleMax, g.IdleMax)
	gauge(p.idleMin, g.IdleMin)
	gauge(p.pending, g.PendingRequests)
}
