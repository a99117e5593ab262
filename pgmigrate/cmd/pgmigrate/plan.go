package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) plan() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "plan", Short: "Show the SQL that up would run; takes no lock and writes nothing", Args: cobra.NoArgs,
		Long: `Show the SQL that up would run. Takes no lock and writes nothing. Passwords after the
word PASSWORD are masked; other values that templates fill in are shown.`,
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
			fmt.Fprintf(a.stdout, "-- version %d of %d, %d to apply\n", p.Version, p.Latest, len(p.Steps))
			return err
		},
	})
}

var (
	// ALTER ROLE … PASSWORD '…', OPTIONS (password '…'), in all of PostgreSQL's quotes.
	passwordLiteral = regexp.MustCompile(`(?i)\b(password\s+)(?:(?:e|u&)?'(?:[^'\\]|''|\\.)*'|\$\w*\$[^$]*\$\w*\$)`)
	// CREATE SUBSCRIPTION … CONNECTION 'host=… password=…', and URLs.
	passwordSetting = regexp.MustCompile(`(?i)\b(password\s*=\s*)[^\s'&]+`)
	passwordInURL   = regexp.MustCompile(`(?i)\b(postgres(?:ql)?://[^\s:/@']*:)[^\s@']+@`)
)

func masked(sql string) string {
	sql = passwordLiteral.ReplaceAllString(sql, "${1}'****'")
	sql = passwordSetting.ReplaceAllString(sql, "${1}****")
	return passwordInURL.ReplaceAllString(sql, "${1}****@")
}
