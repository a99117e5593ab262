package clients_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
)

// TestMain lets the test binary be a program that is killed in the middle of a workflow.
func TestMain(m *testing.M) {
	if url := os.Getenv("CLIENTS_DBOS"); url != "" {
		if err := orderUntilKilled(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const workflowID = "order-1"

func orderUntilKilled(url string) error {
	ctx := context.Background()
	pool, err := poolOf(ctx, url)
	if err != nil {
		return err
	}
	shop := &orders{pool: pool, ship: func(context.Context) error {
		fmt.Println("shipping") // the parent kills this process now
		select {}
	}}
	c, err := shop.launch(ctx)
	if err != nil {
		return err
	}
	handle, err := dbos.RunWorkflow(c, shop.order, 900, dbos.WithWorkflowID(workflowID))
	if err != nil {
		return err
	}
	_, err = handle.GetResult()
	return errors.Join(err, errors.New("the workflow ended"))
}

func poolOf(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	return pgpool.ConnectConfig(ctx, config, pgpool.WithLogger(nil))
}

// orders is a service with a workflow of two steps. Both DBOS and the steps use its pool.
type orders struct {
	pool *pgxpool.Pool
	ship func(context.Context) error
}

func (o *orders) launch(ctx context.Context) (dbos.Context, error) {
	c, err := dbos.NewContext(ctx, dbos.Config{
		AppName: "clients", SystemDBPool: o.pool, ApplicationVersion: "1", ExecutorID: "one",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	dbos.RegisterWorkflow(c, o.order)
	return c, dbos.Launch(c)
}

// order takes the money in a pgtx transaction and then ships. The transaction uses the workflow's
// id as its key, so that a step that ran but was not recorded does not take the money again.
func (o *orders) order(c dbos.Context, amount int) (string, error) {
	id, err := dbos.GetWorkflowID(c)
	if err != nil {
		return "", err
	}
	payment, err := dbos.RunAsStep(c, func(ctx context.Context) (int, error) {
		opts := pgtx.Options{IdempotencyKey: id + "/pay"}
		return pgtx.ValueWith(ctx, o.pool, opts, func(ctx context.Context, tx pgx.Tx) (payment int, err error) {
			err = tx.QueryRow(ctx, "insert into payments (amount) values ($1) returning id", amount).Scan(&payment)
			return payment, err
		})
	}, dbos.WithStepName("pay"))
	if err != nil {
		return "", err
	}
	_, err = dbos.RunAsStep(c, func(ctx context.Context) (bool, error) { return true, o.ship(ctx) },
		dbos.WithStepName("ship"))
	return fmt.Sprintf("payment %d is shipped", payment), err
}

// A DBOS workflow on our pool is killed in its second step. The next process continues with that
// step and does not repeat the first one.
func TestDBOS(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool, err := poolOf(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), pgtx.IdempotencyTableSQL+
		"; create table payments (id int generated always as identity, amount int not null)"); err != nil {
		t.Fatal(err)
	}

	first := exec.CommandContext(t.Context(), os.Args[0])
	first.Env, first.Stderr = append(os.Environ(), "CLIENTS_DBOS="+url), os.Stderr
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if killed := first.Process.Kill(); killed != nil || err != nil || strings.TrimSpace(line) != "shipping" {
		t.Fatalf("%q: %v, %v", line, err, killed)
	}
	_ = first.Wait() // it was killed

	shipped := make(chan struct{}, 2)
	shop := &orders{pool: pool, ship: func(context.Context) error { shipped <- struct{}{}; return nil }}
	c, err := shop.launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	handle, err := dbos.RetrieveWorkflow[string](c, workflowID)
	if err != nil {
		t.Fatal(err)
	}
	result, err := handle.GetResult()
	if err != nil || result != "payment 1 is shipped" || len(shipped) != 1 {
		t.Errorf("%q after %d shipments: %v", result, len(shipped), err)
	}
	var payments int
	if err := pool.QueryRow(t.Context(), "select count(*) from payments").Scan(&payments); err != nil || payments != 1 {
		t.Errorf("%d payments: %v", payments, err)
	}
	if err := dbos.Shutdown(c, 30*time.Second); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := pgpool.Shutdown(ctx, pool); err != nil {
		t.Errorf("DBOS keeps connections: %v", err)
	}
}
