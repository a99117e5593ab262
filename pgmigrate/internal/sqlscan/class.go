package sqlscan

import (
	"regexp"
	"slices"
	"strings"
)

// Class says how a statement behaves that runs without a transaction.
type Class struct {
	Idempotent bool   // it may run again, whatever became of it
	Atomic     bool   // if the server reports an error, nothing of it is left
	Patient    bool   // it must not give up at a lock timeout: it would stop half-way
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
	idempotent = regexp.MustCompile(`(?is)\A(?:set|reset|analyze|vacuum|reindex|cluster)\b|` +
		`\Adrop\s+[a-z ]+\s+if\s+exists\s|` +
		`\Acreate\s+(?:table|schema|sequence|extension|(?:unique\s+)?index)\s+if\s+not\s+exists\s|` +
		`\Aalter\s+type\s.*\sadd\s+value\s+if\s+not\s+exists\s`)
	// These commit more than once, or wait for the transactions of others.
	severalTransactions = regexp.MustCompile(`(?is)\A(?:call\b|reindex\b.*\bconcurrently\b|` +
		`(?:create|drop)\s.*\bindex\s+concurrently\b|alter\s+table\s.*\sdetach\s.*\s(?:concurrently|finalize)\b)`)
	// Only these commit inside a DO block.
	committingBlock    = regexp.MustCompile(`(?is)\Ado\b.*(?:commit|rollback|call)`)
	transactionControl = regexp.MustCompile(`(?is)\A(?:begin|start|commit|end|rollback|abort)\b`)
)

// Classify looks at the text of one statement.
func Classify(sql string) Class {
	sql = strings.TrimSpace(WithoutComments(sql))
	bare := replaceTokens(sql, " '' ", String, Dollar)
	c := Class{Patient: severalTransactions.MatchString(bare) || committingBlock.MatchString(sql)}
	c.Idempotent = idempotent.MatchString(sql) && !c.Patient
	c.Atomic = !c.Patient && !transactionControl.MatchString(bare)
	if match := createIndex.FindStringSubmatch(sql); match != nil {
		c.Idempotent = match[1] != "" && match[2] != ""
		c.Index, c.Table = match[2], match[3]
	} else if match := dropIndex.FindStringSubmatch(sql); match != nil {
		// A failed one leaves the index, perhaps invalid, and it can be dropped again.
		c.Idempotent, c.Atomic, c.Drops = match[1] != "", true, true
		c.Index = match[2]
	}
	return c
}

// WithoutComments replaces each comment with a space.
func WithoutComments(sql string) string { return replaceTokens(sql, " ", Comment) }

func replaceTokens(sql, with string, kinds ...Kind) string {
	var b strings.Builder
	l := Lexer{SQL: sql}
	for behind := 0; l.Next(); behind = l.End {
		b.WriteString(sql[behind:l.Start])
		if slices.Contains(kinds, l.Kind) {
			b.WriteString(with)
		} else {
			b.WriteString(l.Text())
		}
	}
	return b.String()
}
