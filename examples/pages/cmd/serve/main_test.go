package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is a bytes.Buffer that one goroutine writes and another reads.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

func TestServe(t *testing.T) {
	t.Setenv("APP_ENV", "")
	t.Setenv("DATABASE_URL", "")
	t.Setenv("DATABASE_URL_FILE", "")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var out buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, &out, addresses{"127.0.0.1:0", "127.0.0.1:0"}) }()
	limit := time.Now().Add(time.Minute)
	for ; !strings.Contains(out.text(), "Ctrl-C"); time.Sleep(time.Millisecond) { // a poll with a limit
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		if time.Now().After(limit) {
			t.Fatalf("not served in time: %s", out.text())
		}
	}
	for _, url := range regexp.MustCompile(`http://[^ \n']+(/|/pages)\s`).FindAllString(out.text(), -1) {
		answer, err := http.Get(url[:len(url)-1]) // the services end with the test
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", url, answer.StatusCode)
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
