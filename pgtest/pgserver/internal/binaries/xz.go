package binaries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// unpackXZ is Unpack for a tar archive that xz compressed. A program decompresses: xz, which Linux
// distributions come with, or macOS' tar. A Go package for it would be one more in the go.sum of
// every module whose tests use this one.
func (s System) unpackXZ(ctx context.Context, archive io.Reader, dir string, limits Limits) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := s.decompressor(ctx)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = archive, &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	unpacked := Unpack(out, dir, limits)
	if unpacked == nil {
		_, unpacked = io.Copy(io.Discard, io.LimitReader(out, 1<<20)) // the padding after the last entry
	}
	damaged := errors.Is(unpacked, io.ErrUnexpectedEOF)
	if unpacked != nil && !damaged {
		cancel() // nobody reads the rest
	}
	err = cmd.Wait()
	switch {
	case unpacked == nil && err == nil:
		return nil
	case unpacked != nil && !damaged:
		return unpacked
	default:
		return fmt.Errorf("the archive is damaged: %w: %s", errors.Join(unpacked, err),
			strings.TrimSpace(said.String()))
	}
}

func (s System) decompressor(ctx context.Context) (*exec.Cmd, error) {
	if p, err := s.LookPath("xz"); err == nil {
		return exec.CommandContext(ctx, p, "--decompress", "--stdout"), nil
	}
	names := []string{"bsdtar"}
	if s.GOOS == "darwin" {
		names = append(names, "tar") // a bsdtar
	}
	for _, name := range names {
		if p, err := s.LookPath(name); err == nil {
			return exec.CommandContext(ctx, p, "--create", "--file=-", "@-"), nil
		}
	}
	return nil, errors.New("unpacking it needs the program xz; install it (the package is called xz or xz-utils)")
}
