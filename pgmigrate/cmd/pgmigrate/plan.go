package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

func (a *app) plan() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "plan", Short: "Show the SQL that up would run; takes no lock and writes nothing", Args: cobra.NoArgs,
		Long: `Show the SQL that up would run. Plan takes no lock and writes nothing. It masks passwords
after the word PASSWORD and in connection strings; it shows other values from templates.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			p, err := m.Plan(cmd.Context())
			if err != nil && !needsPerson(err) {
				return err
			}
			if a.json {
				return a.printJSON(newPlanView(p, err), err)
			}
			for _, step := range p.Steps {
				how := "in a transaction"
				if !step.Transactional(pgmigrate.DirectionUp) {
					how = "without a transaction"
				}
				fmt.Fprintf(a.stdout, "-- %s, %s\n%s\n\n", step.Name, how, masked(step.Up))
			}
			for _, f := range p.Repeatable {
				fmt.Fprintf(a.stdout, "-- %s, in a transaction\n%s\n\n", f.Name, masked(f.Up))
			}
			fmt.Fprintf(a.stdout, "-- version %d of %d, %d to apply\n", p.Version, p.Latest,
				len(p.Steps)+len(p.Repeatable))
			return err
		},
	})
}

var (
	// CREATE SUBSCRIPTION … CONNECTION 'host=… password=…', or JSON. If the value is quoted, the
	// rest of the string is masked.
	passwordSetting = regexp.MustCompile(`(?is)\b(\w*passw\w*(?:\s*=|"\s*:)\s*)(?:['"\\].*|[^\s'&]+)`)
	// A password may contain an @: it ends at the last one.
	passwordInURL = regexp.MustCompile(`(?i)(://[^\s:/@']*:)[^\s']*@`)
	// SQL inside a string: the rest of the string is masked.
	passwordInSQL = regexp.MustCompile(`(?is)\b(password\s+)\S*['"$].*`)
)

// masked replaces passwords: strings after the word PASSWORD, and values in connection strings.
func masked(sql string) string {
	var b strings.Builder
	l := sqlscan.Lexer{SQL: sql}
	word, end := "", 0 // the last word or identifier, and where the last token ended
	for l.Next() {
		b.WriteString(sql[end:l.Start])
		end = l.End
		text := l.Text()
		switch l.Kind {
		case sqlscan.Word, sqlscan.Identifier:
			word = strings.ToLower(strings.Trim(text, `"`))
		case sqlscan.String, sqlscan.Dollar:
			if word == "password" {
				text = "'****'"
			} else {
				text = maskedString(text, l.Kind)
			}
			word = ""
		case sqlscan.Comment:
			text = maskedString(text, l.Kind)
		case sqlscan.Other, sqlscan.Number:
			switch text {
			case "=", ":", "|", "(": // between PASSWORD and its value
			default:
				word = ""
			}
		}
		b.WriteString(text)
	}
	return b.String() + sql[end:]
}

// maskedString masks the content of a string or a comment and keeps the delimiters.
func maskedString(text string, kind sqlscan.Kind) string {
	left, right := 0, len(text)
	switch kind {
	case sqlscan.String:
		left, right = strings.IndexByte(text, '\'')+1, strings.LastIndexByte(text, '\'')
	case sqlscan.Dollar:
		left = strings.IndexByte(text[1:], '$') + 2
		right = len(text) - left
	default:
	}
	if right < left { // it has no end
		right = len(text)
	}
	inner := text[left:right]
	if kind == sqlscan.Dollar {
		inner = masked(inner) // mostly the body of a function
	} else {
		inner = passwordInSQL.ReplaceAllString(inner, "${1}****")
	}
	inner = passwordSetting.ReplaceAllString(inner, "${1}****")
	return text[:left] + passwordInURL.ReplaceAllString(inner, "${1}****@") + text[right:]
}
