package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// published is the payload of the channel page_published.
type published struct {
	Path     string `json:"path"`
	Revision *int32 `json:"revision"`
}

// listen collects the notifications of the publication trigger, on a separate connection.
func (s *story) listen(ctx context.Context) error {
	direct, err := s.cfg.DirectConfig()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "listen page_published"); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	s.notified = make(chan published, 1000)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close(context.WithoutCancel(ctx))
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			var p published
			if json.Unmarshal([]byte(n.Payload), &p) == nil {
				s.notified <- p
			}
		}
	}()
	s.atEnd(func() { cancel(); <-done })
	return nil
}

func (s *story) awaitNotifications(ctx context.Context, want int) error {
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	var last published
	for got := range want {
		select {
		case last = <-s.notified:
		case <-limit.C:
			return fmt.Errorf("%d of %d notifications arrived within 5 s", got, want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.say("another connection that listens was told of all %d at their commits, the last one %s", want, last.Path)
	return nil
}
