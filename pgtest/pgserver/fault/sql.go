package fault

import (
	"regexp"
	"strings"
)

// hidden matches what may hide a semicolon: comments, which do not nest here, quotes, and the
// opening of a dollar quote.
var hidden = regexp.MustCompile(`(?is)--[^\n]*|/\*.*?\*/|\be'(?:\\.|[^'\\])*'|'[^']*'|"[^"]*"|\$(?:[a-z_]\w*)?\$`)

// atomicBody matches the opening of a function body whose statements are followed by END.
var atomicBody = regexp.MustCompile(`(?i)\bbegin\s+atomic\b`)

var commitWord = regexp.MustCompile(`(?i)^\s*(commit|end)\b`)

// commits reports whether one of the statements in sql is COMMIT or END.
func commits(sql string) bool {
	if lower := strings.ToLower(sql); !strings.Contains(lower, "commit") && !strings.Contains(lower, "end") {
		return false // large values are common
	}
	var bare strings.Builder
	for {
		at := hidden.FindStringIndex(sql)
		if at == nil {
			break
		}
		bare.WriteString(sql[:at[0]] + " ")
		match := sql[at[0]:at[1]]
		sql = sql[at[1]:]
		switch match[0] {
		case '$':
			_, sql, _ = strings.Cut(sql, match)
			bare.WriteString("x")
		case '\'', '"', 'e', 'E':
			bare.WriteString("x")
		}
	}
	bare.WriteString(sql)
	atomic := false
	for text := range strings.SplitSeq(bare.String(), ";") {
		atomic = atomic || atomicBody.MatchString(text)
		word := commitWord.FindStringSubmatch(text)
		if word != nil && (!atomic || strings.EqualFold(word[1], "commit")) {
			return true
		}
	}
	return false
}
