package guides_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v2"

	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool"
)

var metric = regexp.MustCompile(`\b(?:db_client|postgresql)_\w+`)

// exported returns the names of the metrics and labels that pgotel exports through the exporter for
// Prometheus.
func exported() (names []string, err error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t, err := pgotel.New(pgotel.Options{MeterProvider: meters})
	if err != nil {
		return nil, err
	}
	t.Gauges(func() pgpool.Gauges { return pgpool.Gauges{} })
	t.WaitTime(time.Second)
	t.UseTime(time.Second)
	t.CreateTime(time.Second)
	t.Timeout()
	families, err := registry.Gather()
	for _, f := range families {
		names = append(names, f.GetName())
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
	}
	return names, errors.Join(err, t.Close(), meters.Shutdown(context.Background()))
}

// checkAlerts: the rules ask for metrics and labels that pgotel exports.
func checkAlerts(text []byte) error {
	var a alerts
	if err := yaml.UnmarshalStrict(text, &a); err != nil {
		return err
	}
	names, err := exported()
	errs := []error{err}
	for _, g := range a.Groups {
		for _, r := range g.Rules {
			if _, err := time.ParseDuration(r.For); err != nil {
				errs = append(errs, err)
			}
			for _, name := range metric.FindAllString(r.Expr, -1) {
				if !slices.Contains(names, name) && !slices.Contains(names, strings.TrimSuffix(name, "_bucket")) {
					errs = append(errs, fmt.Errorf("nothing exports %s", name))
				}
			}
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				errs = append(errs, fmt.Errorf("parentheses of %s", r.Expr))
			}
		}
	}
	return errors.Join(errs...)
}
