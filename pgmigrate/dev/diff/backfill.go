package diff

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// backfills returns the files that give rows a value before their column becomes NOT NULL, and lets
// the sections wait for them. If they are not wanted, a note offers them.
func (w *work) backfills(sections []*section) []File {
	var files []File
	for _, s := range sections {
		for _, statement := range s.up {
			b := statement.Backfill
			if b.Table == "" {
				continue
			}
			if !w.opts.Backfills {
				w.notes = append(w.notes, fmt.Sprintf("rows of %s may have no value in %s: with --backfill diff "+
					"writes a backfill that gives them one, for which the migration waits", b.Table, b.Column))
				continue
			}
			value := b.Value
			if value == "" {
				value = "null /* write the value here */"
				w.notes = append(w.notes, fmt.Sprintf(
					"nothing says which value %s of %s gets: write it into the backfill",
					b.Column, b.Table))
			}
			name := strings.Trim(notInBackfill.ReplaceAllString(strings.ToLower(w.name+"_"+b.Column), "_"), "_")
			name = name[:min(len(name), maxBackfill)]
			for n := 2; slices.ContainsFunc(files, func(f File) bool { return f.Name == name+".sql" }); n++ {
				name = fmt.Sprintf("%s_%d", name, n)
			}
			key, from, to := strings.Join(b.Key, ", "), []string{}, []string{}
			for i := range b.Key {
				from, to = append(from, fmt.Sprintf("$%d", i+1)), append(to, fmt.Sprintf("$%d", len(b.Key)+i+1))
			}
			s.required = append(s.required, name)
			files = append(files, File{Name: name + ".sql", Content: fmt.Sprintf(`-- pgmigrate:backfill table=%s key=%s
update %[1]s set %[3]s = %[4]s
where (%[5]s) between (%[6]s) and (%[7]s) and %[3]s is null;

-- pgmigrate:verify
select count(*) from %[1]s where %[3]s is null;
`, b.Table, strings.Join(b.Key, ","), b.Column, value, key, strings.Join(from, ", "), strings.Join(to, ", "))})
		}
	}
	return files
}

var notInBackfill = regexp.MustCompile(`[^a-z0-9]+`)

// maxBackfill leaves room for a number in a backfill's name.
const maxBackfill = 56
