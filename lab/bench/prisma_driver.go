package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// prismaDriver is a running prisma/driver.mjs. One call at a time.
type prismaDriver struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	said    bytes.Buffer
}

// command is a line that the driver understands.
type command struct {
	Op      string       `json:"op"`
	After   int          `json:"after,omitempty"`
	Callers int          `json:"callers"`
	Count   int          `json:"count,omitempty"`
	HoldFor int64        `json:"holdFor,omitempty"` // ms
	Limits  prismaLimits `json:"limits"`
}

// prismaLimits in ms; what is 0 is left to Prisma: 2,000 and 5,000.
type prismaLimits struct {
	MaxWait int64 `json:"maxWait,omitempty"`
	Timeout int64 `json:"timeout,omitempty"`
}

// answer is what it says to one.
type answer struct {
	Error string  `json:"error"`
	MS    float64 `json:"ms"`
	CPU   float64 `json:"cpu"` // ms
	Calls []struct {
		MS    float64 `json:"ms"`
		Error string  `json:"error"`
	} `json:"calls"`
}

// startPrisma needs what installPrisma returned. The URL goes where other users do not see it.
func startPrisma(ctx context.Context, node, driver, url string, conns int, named bool) (*prismaDriver, error) {
	p := &prismaDriver{cmd: exec.CommandContext(ctx, node, driver)}
	p.cmd.Env = append(os.Environ(), "NODE_ENV=production", "DEBUG=", "DATABASE_URL="+url, "POOL="+strconv.Itoa(conns))
	if named {
		p.cmd.Env = append(p.cmd.Env, "NAMED=yes")
	}
	p.cmd.Stderr, p.cmd.WaitDelay = &p.said, 5*time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(out)
	return p, p.cmd.Start()
}

func (p *prismaDriver) call(c command) (answer, error) {
	var a answer
	err := json.NewEncoder(p.in).Encode(c)
	if err == nil {
		err = p.answers.Decode(&a)
	}
	if err != nil {
		err = errors.Join(err, p.close())
		return a, fmt.Errorf("the driver of Prisma ended: %w: %s", err, bytes.TrimSpace(p.said.Bytes()))
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// close lets it disconnect and end.
func (p *prismaDriver) close() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
