package testkit

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// Logs keeps what is logged. It is safe for concurrent use.
type Logs struct {
	OnWrite func(line string) // called after each line, unless it is nil

	mu   sync.Mutex
	text bytes.Buffer
}

// Logger returns a logger for all levels.
func (l *Logs) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write keeps a line.
func (l *Logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	n, err := l.text.Write(line)
	l.mu.Unlock()
	if l.OnWrite != nil {
		l.OnWrite(string(line))
	}
	return n, err
}

// String returns all lines.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines returns the lines that contain text.
func (l *Logs) Lines(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
