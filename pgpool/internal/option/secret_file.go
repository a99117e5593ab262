package option

import (
	"context"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// SecretFile returns a Password that reads file for each connection of cfg. It is nil if there is
// no such file. A file that cannot be read while it is being replaced counts as unchanged. logger
// is called late: an option may set the logger after this.
func SecretFile(file *pgconfig.SecretFile, cfg *pgx.ConnConfig, logger func() *slog.Logger) dial.Password {
	if file == nil {
		return nil
	}
	var mu sync.Mutex
	user, password := cfg.User, cfg.Password
	return func(ctx context.Context) (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		u, p, err := file.Read()
		if err != nil {
			logger().WarnContext(ctx, "cannot read the file with the database password again, using its last content",
				"error", err.Error())
			return user, password, nil
		}
		user, password = u, p.Reveal()
		return user, password, nil
	}
}
