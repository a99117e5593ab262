// Package lint judges migrations by what they do to a shadow database: which locks a statement
// takes on relations that existed before, what it scans and what it rewrites, and how the catalog
// looks afterwards. What a shadow cannot show, such as an UPDATE without WHERE, is read from the
// parsed SQL.
//
// A finding names the rule, the file and line, why it is dangerous on a table in use, the safe
// form, and how to allow it:
//
//	-- pgmigrate:allow drop-table the table was never used
//	drop table drafts;
package lint

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Options says what to judge. The zero value judges the up sections of the whole folder.
type Options struct {
	// Versions are the migrations to judge. Those before the last of them are applied without a
	// judgment. Defaults to all.
	Versions []int32

	// Down judges the down sections too.
	Down bool

	// Target is the major version of the PostgreSQL in production. It chooses the safe forms; the
	// statements run on the shadow's version in any case. Defaults to the shadow's version.
	Target int

	// Data are the values of migrations that are templates. The shadow's own options need them too.
	Data map[string]any
}

// Report is what was found.
type Report struct {
	Files    []string  // that were judged, in order
	Skipped  []string  // that were not judged, because a migration before them fails
	Findings []Finding // by file and line
	Shadow   int       // major version of the shadow's server
	Target   int       // major version that was judged for
}

// Count returns how many findings have the severity.
func (r Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Run judges the migrations in fsys on db, which must be empty and is left with the migrations
// applied. It blocks until all is judged or ctx is done.
//
// A migration that fails is a finding, of rule "fails", and ends the run: what comes after cannot
// be observed. An error is something else: a folder that cannot be read (*[pgmigrate.FolderError]),
// a database that does not answer, a migration that fails and was not to be judged.
func Run(ctx context.Context, db *shadow.DB, fsys fs.FS, opts Options) (Report, error) {
	migrations, err := pgmigrate.Check(fsys, pgmigrate.WithData(opts.Data))
	if err != nil {
		return Report{}, err
	}
	judged, err := selectMigrations(migrations, opts.Versions)
	if err != nil {
		return Report{}, err
	}
	if base := judged[0].Version - 1; base > 0 {
		if err := db.Migrate(ctx, fsys, base); err != nil {
			return Report{}, fmt.Errorf("lint: %w", err)
		}
	}
	s, err := newSession(ctx, db)
	if err != nil {
		return Report{}, fmt.Errorf("lint: %w", err)
	}
	defer s.close(ctx)

	report := Report{Shadow: s.version, Target: cmp.Or(opts.Target, s.version)}
	for version := judged[0].Version; version <= judged[len(judged)-1].Version; version++ {
		mig := migrations[version-1]
		wanted := slices.ContainsFunc(judged, func(j pgmigrate.Migration) bool { return j.Version == version })
		if wanted {
			report.Files = append(report.Files, mig.Name)
		}
		findings, ok, err := s.file(ctx, mig, report.Target, opts.Down && wanted)
		if err != nil {
			return report, fmt.Errorf("lint: %s: %w", mig.Name, err)
		}
		if wanted {
			report.Findings = append(report.Findings, findings...)
		}
		if !ok {
			if !wanted {
				return report, fmt.Errorf("lint: %s, which comes before those that are to be judged, fails: %s",
					mig.Name, findings[len(findings)-1].Message)
			}
			for _, after := range judged {
				if after.Version > version {
					report.Skipped = append(report.Skipped, after.Name)
				}
			}
			break
		}
	}
	return report, nil
}

func selectMigrations(all []pgmigrate.Migration, versions []int32) ([]pgmigrate.Migration, error) {
	if len(versions) == 0 {
		return all, nil
	}
	var selected []pgmigrate.Migration
	for _, v := range slices.Compact(slices.Sorted(slices.Values(versions))) {
		if v < 1 || int(v) > len(all) {
			return nil, fmt.Errorf("lint: version %d: the folder has versions 1 to %d", v, len(all))
		}
		selected = append(selected, all[v-1])
	}
	return selected, nil
}
