package pgpool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
)

// credentials are a login that is valid until end. Vault changes the user too.
type credentials struct {
	user, token string
	end         time.Time
}

// cached asks for credentials, and again a minute before they end. The clouds differ in fetch only.
//
// A server checks a token at login only, so open connections stay logged in and MaxConnLifetime
// need not be shorter than a token's life. Vault is the exception: it drops the role when its lease
// ends, so there MaxConnLifetime must be shorter than the lease.
type cached struct {
	fetch func(ctx context.Context) (credentials, error)

	mu   sync.Mutex
	last credentials
}

func (c *cached) get(ctx context.Context) (credentials, error) {
	c.mu.Lock() // connects that come at the same time wait for one answer
	defer c.mu.Unlock()
	if time.Until(c.last.end) > time.Minute {
		return c.last, nil
	}
	next, err := c.fetch(ctx)
	if err != nil && time.Now().After(c.last.end) {
		return credentials{}, err
	}
	if err == nil { // otherwise the last ones are still valid
		c.last = next
	}
	return c.last, nil
}

// password is for pgpool.WithPassword, listen.WithPassword and pgx's OAuthTokenProvider.
func (c *cached) password(ctx context.Context) (string, error) {
	current, err := c.get(ctx)
	return current.token, err
}

// beforeConnect is for pgxpool.Config.BeforeConnect, where the user changes too.
func (c *cached) beforeConnect(ctx context.Context, cfg *pgx.ConnConfig) error {
	current, err := c.get(ctx)
	cfg.User, cfg.Password = current.user, current.token
	return err
}

// fromAWS is for RDS IAM. sign is auth.BuildAuthToken of aws-sdk-go-v2/feature/rds/auth with host,
// port, region and user. It sends no request, and a token is valid for 15 minutes. RDS requires
// TLS.
func fromAWS(sign func(ctx context.Context) (string, error)) func(context.Context) (credentials, error) {
	return func(ctx context.Context) (credentials, error) {
		token, err := sign(ctx)
		return credentials{token: token, end: time.Now().Add(15 * time.Minute)}, err
	}
}

// fromAzure is for Entra ID with a managed identity, whose service is http://169.254.169.254.
func fromAzure(service string) func(context.Context) (credentials, error) {
	return func(ctx context.Context) (credentials, error) {
		var answer struct {
			Token string `json:"access_token"`
			End   string `json:"expires_on"` // seconds since 1970
		}
		err := getJSON(ctx, service+"/metadata/identity/oauth2/token?api-version=2018-02-01"+
			"&resource=https://ossrdbms-aad.database.windows.net", "Metadata", "true", &answer)
		seconds, parse := strconv.ParseInt(answer.End, 10, 64)
		if err == nil && parse != nil {
			err = errors.New("token service: expires_on is no number")
		}
		return credentials{token: answer.Token, end: time.Unix(seconds, 0)}, err
	}
}

// fromGoogle is for Cloud SQL's IAM login, whose service is http://metadata.google.internal.
func fromGoogle(service string) func(context.Context) (credentials, error) {
	return func(ctx context.Context) (credentials, error) {
		var answer struct {
			Token   string `json:"access_token"`
			Seconds int    `json:"expires_in"`
		}
		err := getJSON(ctx, service+"/computeMetadata/v1/instance/service-accounts/default/token",
			"Metadata-Flavor", "Google", &answer)
		return credentials{
			token: answer.Token, end: time.Now().Add(time.Duration(answer.Seconds) * time.Second),
		}, err
	}
}

// fromVault is for Vault's database secrets engine.
func fromVault(service, role, vaultToken string) func(context.Context) (credentials, error) {
	return func(ctx context.Context) (credentials, error) {
		var answer struct {
			Seconds int `json:"lease_duration"`
			Data    struct{ Username, Password string }
		}
		err := getJSON(ctx, service+"/v1/database/creds/"+role, "X-Vault-Token", vaultToken, &answer)
		return credentials{
			answer.Data.Username, answer.Data.Password, time.Now().Add(time.Duration(answer.Seconds) * time.Second),
		}, err
	}
}

// getJSON returns no error of net/http's: it would hold the address, which may hold a secret.
func getJSON(ctx context.Context, url, header, value string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("token service: the address is wrong")
	}
	request.Header.Set(header, value)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return errors.New("token service: no answer")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("token service: status %d", response.StatusCode)
	}
	if json.NewDecoder(response.Body).Decode(answer) != nil {
		return errors.New("token service: the answer is no JSON")
	}
	return nil
}

// tokenService answers as the clouds' services do.
type tokenService struct {
	mu          sync.Mutex
	user, token string
	lives       time.Duration
	down        bool
	requests    int
}

func (s *tokenService) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	seconds := int(s.lives.Seconds())
	var answer any
	switch {
	case s.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case r.Header.Get("Metadata") == "true" && strings.HasPrefix(r.URL.Path, "/metadata/identity/"):
		answer = map[string]any{
			"access_token": s.token, "expires_on": strconv.FormatInt(time.Now().Add(s.lives).Unix(), 10),
		}
	case r.Header.Get("Metadata-Flavor") == "Google":
		answer = map[string]any{"access_token": s.token, "expires_in": seconds}
	case r.Header.Get("X-Vault-Token") == "root" && r.URL.Path == "/v1/database/creds/app":
		answer = map[string]any{
			"lease_duration": seconds, "data": map[string]string{"username": s.user, "password": s.token},
		}
	default:
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// The recipes against a token service and a server that asks for the token: one request for many
// connections, a new one when the token is about to end, and the old token while the service is
// down. A connection that is open outlives its token.
func TestCloudCredentials(t *testing.T) {
	t.Parallel()
	const first, second = "token-one-71", "token-two-72"
	for name, recipe := range map[string]func(s *tokenService, url string) func(context.Context) (credentials, error){
		"RDS": func(s *tokenService, _ string) func(context.Context) (credentials, error) {
			return fromAWS(func(context.Context) (token string, err error) {
				s.set(func() {
					s.requests++
					if token = s.token; s.down {
						err = errors.New("no credentials")
					}
				})
				return token, err
			})
		},
		"Entra": func(_ *tokenService, url string) func(context.Context) (credentials, error) {
			return fromAzure(url)
		},
		"Cloud SQL": func(_ *tokenService, url string) func(context.Context) (credentials, error) {
			return fromGoogle(url)
		},
		"Vault": func(_ *tokenService, url string) func(context.Context) (credentials, error) {
			return fromVault(url, "app", "root")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testkit.PasswordServer(t, "cloud", first)
			s := &tokenService{user: "cloud", token: first, lives: time.Hour}
			service := httptest.NewServer(s)
			defer service.Close()

			source := &cached{fetch: recipe(s, service.URL)}
			config := parse(t, url("none-of-them"))
			config.MaxConns = 2
			opts := []pgpool.Option{pgpool.WithAcquireTimeout(time.Minute)}
			if name == "Vault" {
				config.ConnConfig.User = "nobody-yet"
				config.BeforeConnect = source.beforeConnect
			} else {
				opts = append(opts, pgpool.WithPassword(source.password))
			}
			pool := connect(t, config, opts...)
			open := acquire(t, pool)
			again := func() error {
				conn, err := pool.Acquire(t.Context())
				if err == nil {
					_ = conn.Hijack().Close(t.Context())
				}
				return err
			}
			for range 3 {
				if err := again(); err != nil {
					t.Fatal(err)
				}
			}
			s.set(func() {
				if s.requests != 1 {
					t.Errorf("%d requests, want 1 for all connections", s.requests)
				}
				s.token = second
			})
			rotate(t, url, first, second)
			source.mu.Lock()
			source.last.end = time.Now().Add(30 * time.Second) // its life has nearly passed
			source.mu.Unlock()
			if err := again(); err != nil {
				t.Errorf("with a new token: %v", err)
			}
			if err := open.Ping(t.Context()); err != nil {
				t.Errorf("a connection whose token ended: %v", err)
			}
			s.set(func() { s.down = true })
			source.mu.Lock()
			source.last.end = time.Now().Add(30 * time.Second)
			source.mu.Unlock()
			if err := again(); err != nil {
				t.Errorf("while the service is down, and the token still valid: %v", err)
			}
			source.mu.Lock()
			source.last.end = time.Now()
			source.mu.Unlock()
			if err := again(); err == nil || strings.Contains(err.Error(), "token-") {
				t.Errorf("after the token ended: %v", err)
			}
		})
	}
}

// OAuth (PostgreSQL 18) is pgx's own: its provider takes the same function.
func TestOAuth(t *testing.T) {
	t.Parallel()
	const token = "token-three-73"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveOAuth(conn, token)
		}
	}()
	requests := 0
	source := &cached{fetch: func(context.Context) (credentials, error) {
		requests++
		return credentials{token: token, end: time.Now().Add(time.Hour)}, nil
	}}
	config := parse(t, "postgres://app@"+listener.Addr().String()+"/app?sslmode=disable&require_auth=oauth")
	config.ConnConfig.OAuthTokenProvider = source.password
	pool := connect(t, config)
	if err := pool.Ping(t.Context()); err != nil || requests != 1 {
		t.Errorf("%v with %d requests, want 1", err, requests)
	}
	source.last = credentials{token: "wrong-74", end: time.Now().Add(time.Hour)}
	pool.Reset()
	if err := pool.Ping(t.Context()); err == nil || strings.Contains(err.Error(), "wrong-74") {
		t.Errorf("with a wrong token: %v", err)
	}
}

// serveOAuth lets one connection in that shows the token, and answers every statement with nothing.
func serveOAuth(conn net.Conn, token string) {
	defer conn.Close()
	b := pgproto3.NewBackend(bufio.NewReader(conn), conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	_ = b.SetAuthType(pgproto3.AuthTypeSASL)
	b.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}})
	if b.Flush() != nil {
		return
	}
	msg, err := b.Receive()
	if answer, ok := msg.(*pgproto3.SASLInitialResponse); err != nil || !ok ||
		string(answer.Data) != "n,,\x01auth=Bearer "+token+"\x01\x01" {
		b.Send(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"invalid_token"}`)})
		_ = b.Flush()
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		switch msg, err := b.Receive(); msg.(type) {
		case *pgproto3.Query:
			b.Send(&pgproto3.EmptyQueryResponse{})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		default:
			_ = err
			return
		}
	}
}
