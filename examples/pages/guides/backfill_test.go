package guides_test

import (
	"context"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The migrations and backfills of the guide run from the first file to the last on tables with
// rows, while the old version of the service writes to them.
func TestBackfillsUnderLoad(t *testing.T) {
	t.Parallel()
	g := read(t, root+"/docs/migrations.md")
	migrations, _ := migrationFiles(t, g)
	backfills := fstest.MapFS{}
	for _, b := range g.of("sql") {
		if name := backfillName.FindStringSubmatch(b.text); name != nil {
			backfills[name[1]] = &fstest.MapFile{Data: []byte(b.text)}
		}
	}
	if len(backfills) != 3 {
		t.Fatalf("%d backfills in the guide", len(backfills))
	}
	cfg, err := pgserver.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal("the test database's address does not parse")
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `
insert into public.sites (slug, name) select 's' || i, 'Site ' || i from generate_series(1, 500) i;
insert into public.pages (site_id, slug, title, position)
select id, 'p' || i, 'Page ' || i, i from public.sites, generate_series(1, 10) i`); err != nil {
		t.Fatal(err)
	}

	sites := writes(t, cfg,
		"insert into public.sites (slug, name) values ('n' || $1 || '-' || floor(random() * 1e9)::int, 'New')",
		"update public.sites set name = name || '.' where slug = 's' || $1")
	pages := writes(t, cfg,
		"insert into public.pages (site_id, slug, title, position) "+
			"select id, 'n' || floor(random() * 1e9)::int, 'New', 7 from public.sites where slug = 's' || $1",
		"update public.pages set position = position + 1, title = title || '.' "+
			"where site_id = (select id from public.sites where slug = 's' || $1)")
	before := fstest.MapFS{} // the contract
	for name, file := range migrations {
		if name < "020" {
			before[name] = file
		}
	}
	up(t, cfg, before, backfills)
	sites()
	wantNone(t, conn, "select count(*) from public.sites where title is distinct from name or title is null")
	up(t, cfg, migrations, backfills)
	pages()
	wantNone(t, conn, "select count(*) from public.pages where summary is null")
	wantNone(t, conn, "select count(*) from information_schema.columns where table_name = 'pages' and "+
		"column_name = 'position' and data_type <> 'bigint'")
	// A page's position is its number plus one for each dot that the load has added.
	wantNone(t, conn, `select count(*) from public.pages where slug like 'p%' and
position <> substr(slug, 2)::int + length(title) - length(rtrim(title, '.'))`)
}

func up(t *testing.T, cfg *pgx.ConnConfig, migrations, backfills fs.FS) {
	t.Helper()
	m, err := pgmigrate.New(cfg, migrations, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	r, err := backfill.New(cfg, backfills, backfill.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Up(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func wantNone(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil || n != 0 {
		t.Errorf("%s: %d, %v", strings.Join(strings.Fields(sql), " "), n, err)
	}
}

// writes runs statements, with one of the site's numbers, until the returned function is called. No
// statement may fail.
func writes(t *testing.T, cfg *pgx.ConnConfig, sqls ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var together sync.WaitGroup
	n := 0
	together.Go(func() {
		defer conn.Close(context.WithoutCancel(t.Context()))
		for ; ctx.Err() == nil; n++ {
			_, err := conn.Exec(t.Context(), sqls[rand.N(len(sqls))], pgx.QueryExecModeExec, rand.N(500)+1)
			if err != nil {
				t.Errorf("the service failed: %v", err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		together.Wait()
		if n == 0 {
			t.Error("the service wrote nothing")
		}
	})
	t.Cleanup(stop)
	return stop
}

// The files of a rename and of a change of type are those that the command in the guide writes.
func TestExpand(t *testing.T) {
	t.Parallel()
	g := read(t, root+"/docs/migrations.md")
	files, shipped := migrationFiles(t, g)
	url := pgtest.URL(t)
	cfg, err := pgserver.ParseConfig(url)
	if err != nil {
		t.Fatal("the test database's address does not parse")
	}
	bin, dir := commands(t), t.TempDir()
	write(t, dir+"/go.mod", "module app\n")
	shown := map[string]string{}
	for _, b := range g.of("sql") {
		if name := backfillName.FindString(b.text); name != "" {
			shown["backfills/"+backfillName.FindStringSubmatch(b.text)[1]] = strings.TrimPrefix(b.text, name)
		}
	}
	for _, change := range []struct {
		first, last, name string
		args              []string
	}{
		{"016", "020", "sites_title", []string{"rename", "--table", "sites", "--column", "name", "--to", "title"}},
		{"021", "025", "pages_position", strings.Fields("type --table pages --column position --type bigint")},
	} {
		before := fstest.MapFS{}
		for name, file := range files {
			if name < change.first {
				before[name] = file
				if _, err := os.Stat(dir + "/migrations/" + name); err != nil { // else the command has written it
					write(t, dir+"/migrations/"+name, string(file.Data))
				}
			}
		}
		m, err := pgmigrate.New(cfg, before, pgmigrate.WithLogger(nil), pgmigrate.WithoutBackfills())
		if err == nil {
			_, err = m.Up(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			append([]string{"new", "--expand"}, change.args...), {"new", "--contract", change.name},
		} {
			cmd := exec.CommandContext(t.Context(), bin+"/pgmigrate", args...)
			cmd.Dir, cmd.Env = dir, []string{"DATABASE_URL=" + url, "GORACE=atexit_sleep_ms=0"}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		for name, file := range files {
			if name >= change.first && name < change.last+"~" {
				text := string(file.Data)
				shown["migrations/"+name] = strings.TrimPrefix(text, migrationName.FindString(text))
			}
		}
	}
	made := 0
	for name, text := range shown {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err == nil && string(got) != text {
			t.Errorf("%s is not what the command writes:\n%s", name, got)
		} else if err == nil {
			made++
		}
	}
	if want := len(files) - shipped - 7 + 2; made != want {
		t.Errorf("%d files are as the command writes them, want %d", made, want)
	}
}
