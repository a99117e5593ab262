package listen

import "time"

// state is what was observed last.
type state struct {
	since    time.Time // when err became nil or stopped being nil
	err      error     // nil: LISTEN is in effect and every resync has succeeded
	connects int       // how often err became nil
	running  bool      // Listen has been called and has not returned
}

// Alive returns a nil error while notifications arrive: LISTEN is in effect on all channels and
// every resync has succeeded. Otherwise err is the cause. since is when the one became the other,
// and does not start again while the Listener tries to connect. Before Listen is called, since is
// zero and err is [ErrNotListening]; a first attempt under way has that error too.
//
// err holds no password. Alive does not block.
func (l *Listener) Alive() (since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.since, l.state.err
}

// Connects returns how often the Listener began to receive notifications. Each time after the first
// means that notifications may have been missed, and that resync has run.
func (l *Listener) Connects() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.connects
}

// began returns false if Listen runs already.
func (l *Listener) began() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.running {
		return false
	}
	l.state.running, l.state.since = true, time.Now()
	return true
}

// ended is called when Listen returns.
func (l *Listener) ended() {
	l.stopped(ErrNotListening)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.running = false
}

func (l *Listener) listening() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.since, l.state.err = time.Now(), nil
	l.state.connects++
}

// stopped returns for how long notifications had arrived.
func (l *Listener) stopped(err error) (alive time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.err == nil {
		alive = time.Since(l.state.since)
		l.state.since = time.Now()
	}
	l.state.err = err
	return alive
}
