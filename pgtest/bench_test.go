package pgtest_test

import (
	"testing"

	"github.com/page-builder/persistence/pgtest"
)

// BenchmarkNew measures New and a first query on a template that is there already, the drop at the
// end included.
func BenchmarkNew(b *testing.B) {
	pgtest.New(b, pgtest.Migrations(twoTables))
	for b.Loop() {
		b.StopTimer()
		r := &recorder{TB: b}
		b.StartTimer()
		failures := r.run(func() {
			var one int
			if err := pgtest.New(r, pgtest.Migrations(twoTables)).QueryRow(b.Context(),
				"select 1").Scan(&one); err != nil {
				b.Fatal(err)
			}
		})
		if len(failures) > 0 {
			b.Fatal(failures)
		}
	}
}
