package tool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// namesDatabase finds a variable of a .env file that names a database. An empty one names none.
var namesDatabase = regexp.MustCompile(
	`(?m)^\s*(export\s+)?(DATABASE_URL|DATABASE_URL_FILE|DIRECT_DATABASE_URL|PGHOST|PGSERVICE|PGDATABASE)` +
		`[ \t]*[=:][ \t]*["']?[^\s"'#]`)

// useDevelopmentServer sets DATABASE_URL to the development server's if nothing names a database.
// In production a forgotten variable must stay an error.
func useDevelopmentServer() error {
	if !slices.Contains([]string{"", "development", "test"}, os.Getenv("APP_ENV")) {
		return nil
	}
	for _, name := range []string{
		"DATABASE_URL", "DATABASE_URL_FILE", "DIRECT_DATABASE_URL", "PGHOST", "PGSERVICE", "PGDATABASE",
	} {
		if os.Getenv(name) != "" {
			return nil
		}
	}
	if text, err := os.ReadFile(".env"); err == nil && namesDatabase.Match(text) {
		return nil
	}
	binary, err := Server.find()
	if err != nil {
		return fmt.Errorf("no database: set DATABASE_URL, or make the development server available: %w", err)
	}
	url, err := exec.Command(binary, "url").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "no database: set DATABASE_URL, or start the development server with: mage db:start")
		return ExitError(2)
	}
	fmt.Fprintln(os.Stderr, "using the development server; set DATABASE_URL for another database")
	if os.Getenv("APP_ENV") == "" { // unset means production
		err = os.Setenv("APP_ENV", "development")
	}
	return errors.Join(err, os.Setenv("DATABASE_URL", strings.TrimSpace(string(url))))
}
