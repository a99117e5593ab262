package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

func (s *story) probe(ctx context.Context) error {
	s.title("Readiness over HTTP, as Kubernetes would ask (pghealth)")
	// Do not cache, because the story asks twice in a row.
	probe, err := pghealth.New(s.pool, pghealth.Options{Logger: s.log, MaxAge: -1})
	if err != nil {
		return err
	}
	defer probe.Close()
	mux := http.NewServeMux()
	mux.Handle("/livez", probe.Live())
	mux.Handle("/readyz", probe.Ready())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(l) //nolint:errcheck // Close below ends it, which is the error
	defer server.Close()

	if err := s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusOK); err != nil {
		return err
	}
	var held []*pgxpool.Conn
	for range s.pool.Config().MaxConns {
		c, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		held = append(held, c)
	}
	s.say("all %d connections of the pool are taken; the answer must stay 200, or every instance would go at once:",
		len(held))
	err = s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusOK)
	for _, c := range held {
		c.Release()
	}
	if err != nil {
		return err
	}
	probe.Drain()
	s.say("the service begins to shut down; traffic must go elsewhere before the pool closes:")
	return s.ask(ctx, "http://"+l.Addr().String()+"/readyz", http.StatusServiceUnavailable)
}

// answer is the part of application/health+json that the demo shows.
type answer struct {
	Status string `json:"status"`
	Checks map[string][]struct {
		Status        string   `json:"status"`
		Category      string   `json:"category"`
		Output        string   `json:"output"`
		ObservedValue *float64 `json:"observedValue"`
		ObservedUnit  string   `json:"observedUnit"`
	} `json:"checks"`
}

func (s *story) ask(ctx context.Context, url string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return fmt.Errorf("read the health answer: %w", err)
	}
	s.say("  GET %s → %d, %s", req.URL.Path, resp.StatusCode, a.Status)
	for _, name := range slices.Sorted(maps.Keys(a.Checks)) {
		c := a.Checks[name][0]
		line := fmt.Sprintf("%-22s %s", name, c.Status)
		if c.ObservedValue != nil {
			line += fmt.Sprintf(", %.4g %s", *c.ObservedValue, c.ObservedUnit)
		}
		for _, more := range []string{c.Category, c.Output} {
			if more != "" {
				line += ", " + more
			}
		}
		s.say("    %s", line)
	}
	if resp.StatusCode != want {
		return fmt.Errorf("readiness answered %d, want %d", resp.StatusCode, want)
	}
	return nil
}
