package pgtx_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

// marks are what is known of an error: the kinds of errors in its tree. Nil is no error.
type marks map[string]bool

func marked(names ...string) marks {
	m := marks{}
	for _, name := range names {
		m[name] = true
	}
	return m
}

func (m marks) and(other marks) marks {
	both := maps.Clone(m)
	maps.Copy(both, other)
	return both
}

func (m marks) String() string {
	if m == nil {
		return "nil"
	}
	text := ""
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !strings.HasPrefix(name, hidden) {
			text += "[" + name + "]"
		}
	}
	return text
}

// marksOf finds the kinds of errors in err's tree.
func marksOf(err error) marks {
	if err == nil {
		return nil
	}
	m := marked()
	for sentinel, name := range map[error]string{
		errBusiness: "business", errHook: "hook", context.Canceled: "canceled", pgtx.ErrTxInUse: "in use", pgtx.ErrTxClosed: "closed",
		pgtx.ErrNested: "nested", pgtx.ErrNoTransaction: "no transaction", pgtx.ErrPoolFull: "pool full", pgtx.ErrEnded: "ended",
	} {
		if errors.Is(err, sentinel) {
			m[name] = true
		}
	}
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		m[pgError.Code] = true
	}
	if errors.As(err, new(*pgtx.SwallowedError)) {
		m["swallowed"] = true
	}
	if errors.As(err, new(*pgtx.HookError)) {
		m["hook error"] = true
	}
	if errors.As(err, new(*pgtx.RetryError)) {
		m["retry"] = true
	}
	if errors.As(err, new(*pgtx.CommitUnknownError)) {
		m["unknown"] = true
	}
	return m
}

// withoutCodes is m without the server's codes: only the first code in an error's tree is a mark.
func (m marks) withoutCodes() marks {
	kept := marks{}
	for name := range m {
		if len(name) != 5 || strings.ToUpper(name) != name {
			kept[name] = true
		}
	}
	return kept
}
