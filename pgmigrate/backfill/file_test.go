package backfill_test

import (
	"testing"

	"github.com/page-builder/persistence/pgmigrate/backfill"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const head = "-- pgmigrate:backfill table=public.t key=id\n"
	const good = head + "update t set a = 1 where id between $1 and $2;\n"
	for text, want := range map[string]string{
		"update t set a = 1 where id between $1 and $2": "1: the first line has to be",
		"select 1;\n" + good:                            "1: a statement before the first section",
		head:                                            "1: backfill has no statement",
		good + "select $1, $2":                          "3: backfill has a second statement",
		good + good:                                     "3: the section backfill comes first, and once",
		good + "-- pgmigrate:verify\n":                  "3: verify has no statement",
		good + "-- pgmigrate:verified\nselect 1":        "3: the comment is no section",
		good + "-- pgmigrate: verify\nselect 1":         "3: the comment is no section",
		good + "/* pgmigrate:finish */ select 1":        "3: the comment is no section",
		good + "-- pgmigrate:verify\nselect 1;\n-- pgmigrate:verify\nselect 1":                 "5: there are two sections verify",
		head + "update t set a = 1\n-- pgmigrate:verify\nselect 1":                             "3: the section begins inside a statement",
		head + "update t set a = 1 where id >= $1":                                             "1: the statement does not use $2",
		head + "update t set a = 1 where id >= $1 and id < $2":                                 "1: the statement leaves out the key $2",
		head + "update t set a = 1 where $1 < id and id <= $2":                                 "1: the statement leaves out the key $1",
		head + "update t set a = 1 where id >= $1 and $2::int > id":                            "1: the statement leaves out the key $2",
		head + "update t set a = 1 where id >= $1 and row(id) < row ($2)":                      "1: the statement leaves out the key $2",
		head + "update t set a = 1 where id> $1 and id <= $2":                                  "1: the statement leaves out the key $1",
		head + "update t set a = '$1 $2' -- $1 $2":                                             "1: the statement does not use $1",
		head + "update t set a = $3 where id between $1 and $2":                                "1: backfill uses more than 2 arguments",
		good + "-- pgmigrate:verify\nselect $1":                                                "1: verify uses more than 0 arguments",
		head + "commit":                                                                        "2: COMMIT cannot run in the transaction",
		good + "-- pgmigrate:finish\nvacuum t":                                                 "4: VACUUM cannot run",
		head + "update t set a = 'open where id between $1 and $2":                             "2: the string that begins here",
		"-- pgmigrate:backfill table=t key=id\ndelete from t where id between $1 and $2":       "1: table t: write schema.table",
		"-- pgmigrate:backfill table=\"a.b\" key=id\ndelete from t where id between $1 and $2": "1: table \"a.b\": write schema.table",
		"-- pgmigrate:backfill table=s.t key=id,id\nselect $1, $2, $3, $4":                     "1: the key: write key=column",
		"-- pgmigrate:backfill table=s.t key=id,\nselect $1, $2, $3, $4":                       "1: the key: write key=column",
		"-- pgmigrate:backfill table=s.t key=id batch=5\nselect $1, $2":                        "1: the key: write key=column",
		"-- pgmigrate:backfill table=s.t key=id;\nselect $1, $2":                               "1: the key: write key=column",
		"-- pgmigrate:backfill table=s.t, key=id\nselect $1, $2":                               "1: table s.t,: write schema.table",
		"-- pgmigrate:backfill key=id table=s.t\nselect $1, $2":                                "1: the comment is no section",
		"\ufeff" + good: "byte order mark",
		"\xff" + good:   "not UTF-8",
		"\x00" + good:   "not UTF-8",
	} {
		_, err := backfill.Check(files("b", text))
		contains(t, err, "b.sql:", want)
	}
	if _, err := backfill.Check(files("Upper", good)); err == nil {
		t.Error("a name that a migration cannot require is accepted")
	}
	list, err := backfill.Check(files("z", good, "a", good+"-- pgmigrate:verify\nselect 0;\n-- pgmigrate:finish\nanalyze t;\n"))
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[0].Verify != "select 0" || list[0].Finish != "analyze t" ||
		list[1].Statement != "update t set a = 1 where id between $1 and $2" || list[1].Table != "public.t" {
		t.Errorf("%+v, %v", list, err)
	}
	// Comments are no edit, the statement is.
	commented, _ := backfill.Check(files("a", "-- why\n"+good))
	edited, _ := backfill.Check(files("a", head+"update t set a = 2 where id between $1 and $2"))
	if commented[0].Checksum() != list[1].Checksum() || edited[0].Checksum() == list[1].Checksum() {
		t.Error("checksums")
	}
}
