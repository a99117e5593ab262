// Package lint judges migrations by what they do to a shadow database.
package lint

import (
	_ "github.com/jackc/pgx/v5"
	_ "github.com/page-builder/persistence/pgmigrate"
	_ "github.com/page-builder/persistence/pgtest/pgserver"
	_ "github.com/wasilibs/go-pgquery/parser"
)
