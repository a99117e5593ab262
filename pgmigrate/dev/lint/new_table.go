package lint

import (
	"fmt"
	"strings"
)

// newTables judges what is cheap to do otherwise while a table is new.
func (j *judge) newTables() {
	for _, r := range j.created() {
		if r.Kind != "r" && r.Kind != "p" || r.Partition {
			continue
		}
		for _, k := range r.Constraints {
			if k.Type != "p" {
				continue
			}
			for _, c := range r.Columns {
				if k.Definition == "PRIMARY KEY ("+quote(c.Name)+")" && (c.Type == "integer" || c.Type == "smallint") &&
					(c.Identity != "" || strings.HasPrefix(c.Default, "nextval(")) {
					j.add("int-primary-key", fmt.Sprintf("numbers the rows of %s in %s", r, c.Type),
						fmt.Sprintf("%s bigint generated always as identity primary key", quote(c.Name)))
				}
			}
		}
	}
}
