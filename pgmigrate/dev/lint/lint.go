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
	"path"
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

	// Repeatable are the repeatable migrations, which lie beside the folder. If the last version is
	// judged, they are too, as they run again after an edit. Nil means none.
	Repeatable fs.FS

	// Backfills are the data migrations, which lie beside the folder too. What migrations say of
	// them is judged then. Nil means that it is not known which there are.
	Backfills fs.FS
}

// Report holds the findings.
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
// be observed. Run returns an error for everything else: a folder that cannot be read
// (*[pgmigrate.FolderError]), a database that does not answer, or a failed migration that was only
// applied, not judged.
func Run(ctx context.Context, db *shadow.DB, fsys fs.FS, opts Options) (Report, error) {
	m, err := pgmigrate.New(db.Config(), fsys, pgmigrate.WithLogger(nil), pgmigrate.WithData(opts.Data),
		pgmigrate.WithRepeatable(opts.Repeatable))
	if err != nil {
		return Report{}, err
	}
	migrations := m.Migrations()
	judged, err := selectMigrations(migrations, opts.Versions)
	if err != nil {
		return Report{}, err
	}
	backfills, err := readBackfills(opts.Backfills, migrations)
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
	s.backfills = backfills

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
			return report, nil
		}
	}
	if int(judged[len(judged)-1].Version) < len(migrations) {
		return report, nil
	}
	return report, s.repeatable(ctx, m.Repeatable(), &report)
}

// repeatable judges the second run of each file, which meets what the first has made, as after an
// edit. A file that fails in the first run is a finding too.
func (s *session) repeatable(ctx context.Context, files []pgmigrate.Repeatable, report *Report) error {
	for i := range files {
		files[i].Name = path.Join("..", files[i].Name) // beside the folder
		report.Files = append(report.Files, files[i].Name)
	}
	for _, second := range []bool{false, true} {
		for i, f := range files {
			findings, ok, err := s.section(ctx, f.Migration, pgmigrate.DirectionUp, report.Target)
			if err != nil {
				return fmt.Errorf("lint: %s: %w", f.Name, err)
			}
			if second || !ok {
				report.Findings = append(report.Findings, findings...)
			}
			if !ok {
				for _, after := range files[i+1:] {
					report.Skipped = append(report.Skipped, after.Name)
				}
				return nil
			}
		}
	}
	return nil
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
