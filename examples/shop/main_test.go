package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery/pgquerytest"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func setUp(t *testing.T) (pool, analytics *pgxpool.Pool) {
	t.Helper()
	pool = pgtest.New(t, pgtest.Seed(os.DirFS("seeds/development")))
	return pool, pgtest.New(t, pgtest.Migrations(os.DirFS("analytics")))
}

func send(t *testing.T, mux http.Handler, method, path, key, body string) (status int, answer string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	pool, analytics := setUp(t)
	mux := routes(pool, analytics)
	for _, request := range []struct {
		method, path, key, body string
		status                  int
		answer                  string
	}{
		{"GET", "/products?sort=price&text=tea", "", "", 200, `"sku":"tea"`},
		{"GET", "/products?sort=stock", "", "", 400, ""},
		{"POST", "/customers", "", `{"email": "ada@example.com", "name": "Ada"}`, 409, "email_taken"},
		{"POST", "/customers", "", `{"email": "bob@example.com", "name": "Bob"}`, 200, `"name":"Bob"`},
		{"POST", "/customers", "", `{"email": "", "name": ""}`, 400, ""},
		{"POST", "/orders", "", `{"customer": 9, "items": []}`, 409, "no_such_customer"},
		{"POST", "/orders", "", `{"customer": 1, "items": [{"product": 9, "quantity": 1}]}`, 404, ""},
		{"POST", "/orders", "", `{"customer": 1, "items": [{"product": 3, "quantity": 6}]}`, 409, "out_of_stock"},
		{"POST", "/orders", "", `{"customer": 1, "items": [{"product": 1, "quantity": 2}]}`, 200, `"total":900`},
		{"POST", "/orders/4/payment", "a", `{"amount": 900}`, 200, `"amount":900`},
		{"POST", "/orders/4/payment", "a", `{"amount": 900}`, 200, `"amount":900`},
		{"POST", "/orders/4/payment", "a", `{"amount": 901}`, 422, "another payment"},
		{"POST", "/orders/4/payment", "b", `{"amount": 900}`, 404, ""},
		{"POST", "/orders/4/payment", "", `{"amount": 900}`, 400, ""},
	} {
		status, answer := send(t, mux, request.method, request.path, request.key, request.body)
		if status != request.status || !strings.Contains(answer, request.answer) {
			t.Errorf("%s %s %s: %d %s", request.method, request.path, request.body, status, answer)
		}
	}
	if more, err := reportOnce(t.Context(), pool, analytics); !more || err != nil {
		t.Errorf("report: %v, %v", more, err)
	}
	if _, answer := send(t, mux, "GET", "/sales", "", ""); !strings.Contains(answer, `"amount":900`) {
		t.Error(answer)
	}
}

// If the answer to a COMMIT is lost, the money is taken once, and the customer gets an answer.
func TestPaymentOverALostCommit(t *testing.T) {
	t.Parallel()
	pool, _ := setUp(t)
	order, err := placeOrder(t.Context(), pool, 1, []item{{Product: 2, Quantity: 1}})
	if err != nil {
		t.Fatal(err)
	}
	proxy := fault.NewProxy(t, pool.Config().ConnString(), fault.Options{})
	weak, err := pgxpool.New(t.Context(), proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer weak.Close()
	proxy.CutCommits(1, fault.BeforeAnswer)
	paid, err := pay(t.Context(), weak, "k", order.ID, order.Total)
	if err != nil || paid.Amount != 1200 {
		t.Errorf("%+v, %v", paid, err)
	}
	var payments int
	if err := pool.QueryRow(t.Context(), "select count(*) from payments").Scan(&payments); err != nil || payments != 1 {
		t.Errorf("%d payments: %v", payments, err)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	pool, analytics := setUp(t)
	pgquerytest.Check(t, pool, pgquerytest.Indexed(&products, "title"), pgquerytest.Indexed(&products, "price"))
	pgquerytest.Check(t, analytics, &sales)
	pgquerytest.CheckConstraints(t, pool, rules)
}
