// Package probes mounts a service's health probes on a chi router.
package probes

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/page-builder/persistence/pghealth"
)

// Mount returns a router with the probes and the service's own routes. The probes come before the
// service's middleware, such as a limit on concurrent requests. Otherwise a busy instance could not
// answer its prober and would be taken out.
func Mount(probe *pghealth.Probe, service http.Handler, parallel int) chi.Router {
	r := chi.NewRouter()
	r.Method(http.MethodGet, "/livez", probe.Live())
	r.Method(http.MethodGet, "/readyz", probe.Ready())
	r.Method(http.MethodHead, "/readyz", probe.Ready())
	r.Method(http.MethodGet, "/startupz", probe.Startup())
	r.Group(func(r chi.Router) {
		r.Use(middleware.Throttle(parallel))
		r.Mount("/", service)
	})
	return r
}
