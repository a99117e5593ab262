package main

import (
	"context"
	"time"

	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgmigrate"
)

func (s *story) migrate(ctx context.Context) error {
	s.title("Migrations: the schema, from files that tern could apply as well (pgmigrate)")
	direct, err := s.cfg.DirectConfig()
	if err != nil {
		return err
	}
	s.migrator, err = pgmigrate.New(direct, migrations.FS, pgmigrate.WithLogger(s.log))
	if err != nil {
		return err
	}
	began := time.Now()
	result, err := s.migrator.Up(ctx)
	if err != nil {
		return err
	}
	for _, step := range result.Steps {
		s.say("%-28s %s", step.Name, step.Duration.Round(100*time.Microsecond))
	}
	s.say("version %d, was %d; %s in all", result.To, result.From, since(began))
	began = time.Now()
	if _, err := s.migrator.Up(ctx); err != nil {
		return err
	}
	s.say("once more, as the next instance of a deployment would: nothing to do, no lock taken, %s", since(began))
	return nil
}

func (s *story) rollBackAndForth(ctx context.Context) error {
	s.title("The last migration back, and forth again")
	down, err := s.migrator.Down(ctx)
	if err != nil {
		return err
	}
	up, err := s.migrator.Up(ctx)
	if err != nil {
		return err
	}
	s.say("version %d → %d → %d, in %s and %s", down.From, down.To, up.To,
		down.Duration.Round(time.Millisecond), up.Duration.Round(time.Millisecond))
	return nil
}
