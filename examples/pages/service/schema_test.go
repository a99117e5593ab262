package service_test

import (
	"io/fs"
	"testing"

	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/migrations"
)

func TestNeededSchemaIsTheNewestMigration(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.FS, "[0-9]*.sql")
	if err != nil || len(files) != service.NeededSchema {
		t.Errorf("NeededSchema is %d, there are %d migrations: %v", service.NeededSchema, len(files), err)
	}
}
