package pgconfig

import (
	"errors"
	"strings"
)

// Environment is where the program runs, as APP_ENV names it. It chooses the defaults, the rules on
// TLS and whether a .env file is read.
type Environment string

const (
	// Development is a developer's machine: generous defaults, .env is read.
	Development Environment = "development"
	// Test is a test run. It has the rules and defaults of Development.
	Test Environment = "test"
	// Staging has the rules and defaults of Production.
	Staging Environment = "staging"
	// Production also applies if APP_ENV is not set, so that a forgotten variable never weakens the
	// rules. The one exception is a database on this machine that a .env file names.
	Production Environment = "production"
)

// strict reports whether the rules of production apply: no .env, a host must be named, TLS must
// verify the server.
func (e Environment) strict() bool { return e != Development && e != Test }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts the four names and the empty text.
func (e *Environment) UnmarshalText(text []byte) error {
	const known = "is not one of development, test, staging and production"
	switch name := Environment(text); name {
	case "", Development, Test, Staging, Production:
		*e = name
		return nil
	}
	switch meant := Environment(strings.ToLower(strings.TrimSpace(string(text)))); meant {
	case Development, Test, Staging, Production:
		return errors.New(known + ": did you mean " + string(meant) + "?")
	case "dev", "local":
		return errors.New(known + ": did you mean development?")
	case "prod", "live":
		return errors.New(known + ": did you mean production?")
	}
	return errors.New(known)
}

// String returns the name.
func (e *Environment) String() string { return string(*e) }
