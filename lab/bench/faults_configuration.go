package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const secret = "cherry-tree-48" // not the right one

// configurationFaults are mistakes in DATABASE_URL.
var configurationFaults = []fault{
	{"DATABASE_URL is not set", false, misconfigured("", "DATABASE_URL")},
	{"its host is left out", false, misconfigured("postgres://app:"+secret+"@/app", "host")},
	// The user is called localhost, so that who takes that for the host asks no name server.
	{
		"its password has a / that is not encoded", false,
		misconfigured("postgres://localhost:1/"+secret+"@127.0.0.1:1/app", "%2F"),
	},
	{
		"its password has a % that is not encoded", false, misconfigured("postgres://app:1%"+secret+"@127.0.0.1:1/app",
			"%25", "percent-encoded"),
	},
	{"a parameter is misspelled", false, func(ctx context.Context, s *scene) (cell, error) {
		s.url += "&sslmod=disable"
		return s.refusal(ctx, "sslmod")
	}},
	{"the password is wrong", false, func(ctx context.Context, s *scene) (cell, error) {
		cfg, err := pgx.ParseConfig(s.url)
		if err != nil {
			return cell{}, unparsable(err)
		}
		s.url = fmt.Sprintf("postgres://%s:%s@/%s?host=%s&port=%d", passwordRole, secret,
			cfg.Database, cfg.Host, cfg.Port)
		return s.refusal(ctx, "password")
	}},
}

func misconfigured(url string, advice ...string) func(context.Context, *scene) (cell, error) {
	return func(ctx context.Context, s *scene) (cell, error) {
		s.url = url
		return s.refusal(ctx, advice...)
	}
}

// refusal starts the program. A good error has one of the words of advice in it, and a bad one the
// password.
func (s *scene) refusal(ctx context.Context, advice ...string) (cell, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a program that goes on with another server than was meant
	defer cancel()
	_, err := s.start(ctx, 1)
	switch {
	case err == nil:
		return cell{"starts, on whatever server that is", wrong}, nil
	case strings.Contains(err.Error(), secret):
		return cell{"the error shows the password", wrong}, nil
	case slices.ContainsFunc(advice, func(a string) bool { return strings.Contains(err.Error(), a) }):
		return cell{"the error says what is wrong", right}, nil
	default:
		return cell{"the error does not say what is wrong", unclear}, nil
	}
}
