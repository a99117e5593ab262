package pgpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/login"
)

// cachedToken asks a token service, and again a minute before a token ends. The services differ in
// fetch only:
//
//   - RDS IAM: auth.BuildAuthToken of aws-sdk-go-v2/feature/rds/auth with host, port, region and
//     user. It signs locally, and a token is valid for 15 minutes. TLS is required.
//   - Entra ID: GetToken of azidentity with the scope
//     "https://ossrdbms-aad.database.windows.net/.default"; ExpiresOn is in the answer.
//   - Cloud SQL IAM: an oauth2.TokenSource with the scope
//     "https://www.googleapis.com/auth/sqlservice.login".
//   - Vault: read database/creds/ROLE; lease_duration is in the answer. The user changes too, so
//     set it in WithAfterConnect or use pgx's BeforeConnect.
//
// A server checks a token at login only. Connections that are open stay logged in, so
// MaxConnLifetime need not be shorter than a token's life, unless a revoked token has to end
// sessions too.
type cachedToken struct {
	fetch func(ctx context.Context) (token string, end time.Time, err error)

	mu    sync.Mutex
	token string
	end   time.Time
}

// get is for pgpool.WithPassword. Connects that come at the same time wait for one answer.
func (c *cachedToken) get(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.end) > time.Minute {
		return c.token, nil
	}
	token, end, err := c.fetch(ctx)
	if err != nil {
		if time.Now().Before(c.end) {
			return c.token, nil // it is still valid
		}
		return "", err
	}
	c.token, c.end = token, end
	return token, nil
}

// fetchFrom asks an HTTP service that answers as OAuth's do.
func fetchFrom(url string) func(ctx context.Context) (string, time.Time, error) {
	return func(ctx context.Context) (string, time.Time, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", time.Time{}, errors.New("token service: the address is wrong") // it may hold a secret
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", time.Time{}, errors.New("token service: no answer")
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "", time.Time{}, fmt.Errorf("token service: status %d", response.StatusCode)
		}
		var answer struct {
			Token   string `json:"access_token"`
			Seconds int    `json:"expires_in"`
		}
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return "", time.Time{}, errors.New("token service: the answer is no JSON")
		}
		return answer.Token, time.Now().Add(time.Duration(answer.Seconds) * time.Second), nil
	}
}

// The recipe against a token service and a server that asks for the token: one request for many
// connections, a new one when the token is about to end, and the old token while the service is
// down.
func TestCloudCredentials(t *testing.T) {
	t.Parallel()
	const first, second = "token-one-71", "token-two-72"
	url := login.Server(t, "cloud", first)
	var mu sync.Mutex
	requests, token, seconds, down := 0, first, 3600, false
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests++
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "expires_in": seconds})
	}))
	defer service.Close()
	set := func(change func()) { mu.Lock(); defer mu.Unlock(); change() }

	source := &cachedToken{fetch: fetchFrom(service.URL)}
	config := parse(t, url("none-of-them"))
	config.MaxConns = 3
	pool := connect(t, config, pgpool.WithPassword(source.get))
	reconnect := func() error { pool.Reset(); return pool.Ping(t.Context()) }
	for range 3 {
		if err := reconnect(); err != nil {
			t.Fatal(err)
		}
	}
	set(func() {
		if requests != 1 {
			t.Errorf("%d requests, want 1 for all connections", requests)
		}
		token, seconds = second, 50 // ends within the minute: it is fetched again each time
	})
	rotate(t, url, first, second)
	source.mu.Lock()
	source.end = time.Now().Add(30 * time.Second) // an hour has nearly passed
	source.mu.Unlock()
	if err := reconnect(); err != nil {
		t.Errorf("with a new token: %v", err)
	}
	set(func() { down = true })
	if err := reconnect(); err != nil {
		t.Errorf("while the service is down, and the token still valid: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), url(second))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
}
