package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgtx"

	"github.com/page-builder/persistence/examples/shop/db"
)

var errRequest = errors.New("the request is not what the route takes")

// rules are the constraints that a client can break.
var rules = pgerr.Constraints{
	"products.products_stock":     {Name: "out_of_stock", Columns: []string{"stock"}},
	"customers.customers_email":   {Name: "email_taken", Columns: []string{"email"}},
	"orders.orders_customer":      {Name: "no_such_customer", Columns: []string{"customer_id"}},
	"order_items.order_items_one": {Name: "product_twice", Columns: []string{"order_id", "product_id"}},
}

type productArgs struct{ Text *string } // a pattern for ILIKE; nil: all products

type product struct {
	ID    int64  `json:"id"`
	SKU   string `json:"sku"`
	Title string `json:"title"`
	Price int64  `json:"price"`
	Stock int32  `json:"stock"`
}

var products = pgquery.List[productArgs, product]{
	Name:    "products",
	Select:  `select p.id, p.sku, p.title, p.price, p.stock from public.products p`,
	Where:   `true`,
	Open:    true,
	Filters: pgquery.Filters{"text": `p.title ilike @text`},
	Sorts:   pgquery.Sorts{"title": `title, id`, "price": `price, id`},
	Sizes:   []int{20, 100},
}

type item struct {
	Product  int64
	Quantity int32
}

// placeOrder takes the products from the stock and writes the order, or does neither. It runs again
// after a deadlock or a lost connection.
func placeOrder(ctx context.Context, pool *pgxpool.Pool, customer int64, items []item) (db.Order, error) {
	return pgtx.Value(ctx, pool, func(ctx context.Context, tx pgx.Tx) (db.Order, error) {
		q := db.New(tx)
		order, err := q.CreateOrder(ctx, customer)
		if err != nil {
			return order, err
		}
		for _, i := range items {
			cost, err := q.AddItem(ctx, db.AddItemParams{OrderID: order.ID, ProductID: i.Product, Quantity: i.Quantity})
			if err != nil {
				return order, fmt.Errorf("product %d: %w", i.Product, err)
			}
			order.Total += cost
		}
		return q.SetTotal(ctx, db.SetTotalParams{ID: order.ID, Total: order.Total})
	})
}

// pay takes the money for an order once, however often a client sends the key. The key also settles
// a COMMIT that got no answer.
func pay(ctx context.Context, pool *pgxpool.Pool, key string, order, amount int64) (db.Payment, error) {
	opts := pgtx.Options{Name: "pay", IdempotencyKey: "payment:" + key, Fingerprint: fmt.Sprint(order, amount)}
	return pgtx.ValueWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) (db.Payment, error) {
		q := db.New(tx)
		if _, err := q.PayOrder(ctx, db.PayOrderParams{ID: order, Amount: amount}); err != nil {
			return db.Payment{}, fmt.Errorf("unpaid order with this total: %w", err)
		}
		return q.CreatePayment(ctx, db.CreatePaymentParams{OrderID: order, Amount: amount})
	})
}

func routes(pool, analytics *pgxpool.Pool) *http.ServeMux {
	mux := http.NewServeMux()
	handle(mux, "GET /products", func(r *http.Request, _ struct{}) (any, error) {
		var args productArgs
		if text := r.FormValue("text"); text != "" {
			text = "%" + pgquery.EscapeLike(text) + "%"
			args.Text = &text
		}
		at := pgquery.At{Sort: r.FormValue("sort"), Cursor: r.FormValue("cursor")}
		return products.Page(r.Context(), pool, args, at)
	})
	handle(mux, "POST /customers", func(r *http.Request, in db.CreateCustomerParams) (any, error) {
		return db.New(pool).CreateCustomer(r.Context(), in)
	})
	type order struct {
		Customer int64
		Items    []item
	}
	handle(mux, "POST /orders", func(r *http.Request, in order) (any, error) {
		return placeOrder(r.Context(), pool, in.Customer, in.Items)
	})
	handle(mux, "POST /orders/{id}/payment", func(r *http.Request, in struct{ Amount int64 }) (any, error) {
		number, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		key := r.Header.Get("Idempotency-Key")
		if err != nil || key == "" {
			return nil, errRequest
		}
		return pay(r.Context(), pool, key, number, in.Amount)
	})
	handle(mux, "GET /sales", func(r *http.Request, _ struct{}) (any, error) {
		return salesByDay(r.Context(), analytics)
	})
	return mux
}

// handle decodes the body of a POST. It answers with the function's result as JSON, or with a
// status for its error. Only the log gets the error itself.
func handle[T any](mux *http.ServeMux, pattern string, fn func(*http.Request, T) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in T
		var value any
		err := errRequest
		if r.Method == http.MethodGet || json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in) == nil {
			value, err = fn(r, in)
		}
		if err != nil {
			slog.ErrorContext(r.Context(), "failed", "path", r.URL.Path, "category", pgerr.Of(err), "error", err)
			status, text := refusal(err)
			http.Error(w, text, status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value) // the client may be gone
	})
}

func refusal(err error) (status int, text string) {
	category := pgerr.Of(err)
	violation, _ := pgerr.ViolationOf(err, rules)
	switch {
	case violation.Name != "":
		return http.StatusConflict, violation.Name
	case errors.Is(err, pgtx.ErrKeyReused):
		return http.StatusUnprocessableEntity, "the key belongs to another payment"
	case errors.Is(err, errRequest), category == pgerr.Constraint, category == pgerr.Data:
		return http.StatusBadRequest, errRequest.Error()
	case category == pgerr.NotFound:
		return http.StatusNotFound, "not found"
	case category == pgerr.Saturated, category == pgerr.CommitUnknown, pgerr.Startup(err), pgerr.Retryable(err):
		return http.StatusServiceUnavailable, "try again, with the same key"
	}
	return http.StatusInternalServerError, "internal error"
}
