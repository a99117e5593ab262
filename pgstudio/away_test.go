package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// answer asks the API and returns the status and the body.
func (s *studio) answer(t *testing.T, route string) (status int, body map[string]any) {
	t.Helper()
	answer, err := http.Get(s.page + route)
	must(t, err)
	defer answer.Body.Close()
	must(t, json.NewDecoder(answer.Body).Decode(&body))
	return answer.StatusCode, body
}

// While the database is down, every answer says so. pgstudio works again when it is back.
func TestAway(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	execute(t, connect(t, server.URL()), "create table pages (id int)")
	s := start(t, server.URL())
	if status, _ := s.answer(t, "api/objects"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	server.Stop(t)
	for _, route := range []string{"api/objects", "api/tables/public.pages/rows"} {
		status, body := s.answer(t, route)
		if text, _ := body["error"].(string); status != http.StatusServiceUnavailable ||
			!strings.HasPrefix(text, "the database is away: ") {
			t.Errorf("%s: %d %v", route, status, body)
		}
	}
	if _, failure := s.query(t, "select 1"); !strings.HasPrefix(failure, "the database is away: ") {
		t.Error(failure)
	}
	server.Start(t)
	if status, body := s.answer(t, "api/tables/public.pages/rows"); status != http.StatusOK {
		t.Errorf("%d %v", status, body)
	}
	s.stop(t)
}

// The lists show the application's tables only. A query can read the others.
func TestOwnTables(t *testing.T) {
	t.Parallel()
	database, conn := pages(t)
	execute(t, conn, `create schema pgmigrate; create table pgmigrate.history (i int);
		create table schema_version (version int); create table pgtx_idempotency_keys (key text);
		create schema other; create table other.schema_version (i int)`)
	s := start(t, database)
	_, schemas := s.answer(t, "api/objects")
	text, err := json.Marshal(schemas)
	must(t, err)
	if n := strings.Count(string(text), `"schema_version"`); n != 1 || schemas["pgmigrate"] != nil ||
		schemas["other"] == nil || strings.Contains(string(text), "pgtx_") || !strings.Contains(string(text), `"pages"`) {
		t.Errorf("%s", text)
	}
	answer, err := http.Get(s.page + "api/schemas")
	must(t, err)
	defer answer.Body.Close()
	var names []string
	must(t, json.NewDecoder(answer.Body).Decode(&names))
	if strings.Join(names, " ") != "other public" {
		t.Error(names)
	}
	if _, failure := s.query(t, "select version from public.schema_version"); failure != "" {
		t.Error(failure)
	}
	s.stop(t)
}
