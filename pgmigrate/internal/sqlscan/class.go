package sqlscan

import (
	"regexp"
	"strings"
)

// Class says how a statement behaves that runs without a transaction.
type Class struct {
	Idempotent bool   // it may run again, whatever became of it
	Atomic     bool   // if the server reports an error, nothing of it is left
	Concurrent bool   // it waits for transactions of others, and must not give up
	Index      string // CREATE or DROP INDEX CONCURRENTLY: the name as written; "" if the server chooses one
	Table      string // CREATE INDEX CONCURRENTLY: as written
	Drops      bool   // DROP INDEX CONCURRENTLY
}

// Builds reports whether the statement is a concurrent build of an index with a name.
func (c Class) Builds() bool { return c.Index != "" && !c.Drops }

const identifier = `(?:"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*)`

var (
	createIndex = regexp.MustCompile(`(?is)\Acreate\s+(?:unique\s+)?index\s+concurrently\s+` +
		`(if\s+not\s+exists\s+)?(?:(` +
		identifier + `)\s*)?\bon\s+(?:only\s+)?(` + identifier + `(?:\s*\.\s*` + identifier + `)?)`)
	dropIndex = regexp.MustCompile(`(?is)\Adrop\s+index\s+concurrently\s+(if\s+exists\s+)?(` + identifier +
		`(?:\s*\.\s*` + identifier + `)?)`)
	// The second run does nothing.
	idempotent = regexp.MustCompile(`(?is)\A(?:set|reset|analyze|vacuum)\b|\Adrop\s+[a-z ]+\s+if\s+exists\s|` +
		`\Acreate\s+(?:table|schema|sequence|extension|(?:unique\s+)?index)\s+if\s+not\s+exists\s|` +
		`\Aalter\s+type\s.*\sadd\s+value\s+if\s+not\s+exists\s`)
	concurrently = regexp.MustCompile(`(?is)\A(?:create|drop|reindex|alter|refresh)\b.*\bconcurrently\b`)
	// These commit more than once.
	severalTransactions = regexp.MustCompile(`(?is)\A(?:call|do|cluster|reindex|begin|start|commit|` +
		`end|rollback|abort|alter\s+table\s.*\sdetach\s)`)
)

// Classify looks at the text of one statement.
func Classify(sql string) Class {
	sql = strings.TrimSpace(WithoutComments(sql))
	c := Class{
		Idempotent: idempotent.MatchString(sql), Atomic: !severalTransactions.MatchString(sql),
		Concurrent: concurrently.MatchString(sql),
	}
	if match := createIndex.FindStringSubmatch(sql); match != nil {
		c.Idempotent, c.Atomic = match[1] != "" && match[2] != "", false
		c.Index, c.Table = match[2], match[3]
	} else if match := dropIndex.FindStringSubmatch(sql); match != nil {
		// A failed one leaves the index, perhaps invalid, and it can be dropped again.
		c.Idempotent, c.Atomic, c.Drops = match[1] != "", true, true
		c.Index = match[2]
	}
	return c
}

// WithoutComments replaces each comment with a space.
func WithoutComments(sql string) string {
	var b strings.Builder
	l := Lexer{SQL: sql}
	for behind := 0; l.Next(); behind = l.End {
		b.WriteString(sql[behind:l.Start])
		if l.Kind == Comment {
			b.WriteByte(' ')
		} else {
			b.WriteString(l.Text())
		}
	}
	return b.String()
}
