package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// restLimit limits a request to Patroni: a frozen one never answers.
const restLimit = time.Second

// is sends one of Patroni's health checks to a node: /primary, /replica, /sync. It returns an error
// if Patroni does not answer.
func (n *Node) is(ctx context.Context, what string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	status, _, err := n.request(ctx, http.MethodGet, what, nil)
	return status == http.StatusOK, err
}

// request sends a request to a node's Patroni.
func (n *Node) request(ctx context.Context, method, path string, body any) (status int, answer string, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, "", err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address(n.rest)+path, bytes.NewReader(text))
	if err != nil {
		return 0, "", err
	}
	req.Close = true // the node may be killed, frozen or cut off until the next request
	if body != nil {
		req.SetBasicAuth("cluster", n.c.secrets.rest)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

// all returns the nodes whose answer is yes.
func (c *Cluster) all(ctx context.Context, what string) []*Node {
	yes := make([]bool, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { yes[i], _ = n.is(ctx, what) })
	}
	wg.Wait()
	var found []*Node
	for i, n := range c.nodes {
		if yes[i] {
			found = append(found, n)
		}
	}
	return found
}

// one returns the only node that answers yes.
func (c *Cluster) one(ctx context.Context, what string) (*Node, error) {
	found := c.all(ctx, what)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%v say that they are %s, not one node", found, what[1:])
	}
	return found[0], nil
}

// Primary asks all nodes which one is the primary, once and for at most a second. It returns an
// error if there is none, as during a failover, or two, as for a moment after a thaw.
func (c *Cluster) Primary(ctx context.Context) (*Node, error) { return c.one(ctx, "/primary") }

// SyncStandby asks all nodes which one is the synchronous standby, which a failover promotes. It
// returns an error if there is none, as with Options.Async.
func (c *Cluster) SyncStandby(ctx context.Context) (*Node, error) { return c.one(ctx, "/sync") }

// final is an error that ends a poll.
type final struct{ error }

// poll calls condition until it returns nil or a final error. When ctx ends, poll returns ctx's
// cause and the last error of the condition.
func poll(ctx context.Context, condition func() error) error {
	var last error
	for {
		err := condition()
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if stop := (final{}); errors.As(err, &stop) {
			return stop.error
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
