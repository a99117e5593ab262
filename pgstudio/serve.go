package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"
	"github.com/sosedoff/pgweb/pkg/api"
	"github.com/sosedoff/pgweb/pkg/client"
	"github.com/sosedoff/pgweb/pkg/command"
	"github.com/sosedoff/pgweb/static"
)

// login holds the credentials that pgweb connects with.
type login struct {
	source   string
	readOnly bool // pgweb sets each transaction to read-only, and refuses queries that set it back
}

// serve runs pgweb on a listener until ctx ends. It can run once in a process, because pgweb keeps
// its state in package variables.
func serve(ctx context.Context, listener net.Listener, as login, out io.Writer) error {
	// Everything is below a path that cannot be guessed. Otherwise any site in the same browser,
	// and any user of this machine, could send queries to the port on loopback.
	path := random(16) + "/"
	command.Opts = command.Options{
		URL: as.source, ReadOnly: as.readOnly, Prefix: path, OpenTimeout: 30, QueryTimeout: 300,
		LockSession: true, DisableSSH: true, // no page may connect to another database, or as another user
	}
	if err := client.SetBinaryCodec(client.CodecHex); err != nil {
		return err
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard) // its log has the path
	api.SetLogger(quiet)
	gin.SetMode(gin.ReleaseMode)

	db, err := client.New()
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Test(); err != nil {
		return fmt.Errorf("pgweb connects: %w", err)
	}
	api.DbClient = db
	home, err := homePage()
	if err != nil {
		return err
	}

	router := gin.New()
	router.Use(gin.RecoveryWithWriter(io.Discard), protect, replace("/"+path, db, home))
	api.SetupRoutes(router)
	server := &http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	fmt.Fprintf(out, "open http://%s/%s\nCtrl-C ends it\n", listener.Addr(), path)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// protect adds the headers that pgweb leaves out.
func protect(c *gin.Context) {
	// Without this the pages would ask GitHub for a newer version, and could be framed.
	c.Header("Content-Security-Policy",
		"default-src 'self' 'unsafe-inline' 'unsafe-eval' data:; frame-ancestors 'none'")
	c.Header("Referrer-Policy", "no-referrer")
}

// replace handles some of pgweb's routes itself.
func replace(root string, db *client.Client, home []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		route, known := strings.CutPrefix(c.FullPath(), root)
		if !known {
			return // gin answers with 404
		}
		if strings.HasPrefix(route, "api/") && route != "api/info" {
			if err := db.Test(); err != nil {
				fail(c, http.StatusServiceUnavailable, "the database is away: "+err.Error())
				return
			}
		}
		switch route {
		case "":
			c.Data(http.StatusOK, "text/html; charset=utf-8", home)
			c.Abort()
		case "api/schemas", "api/objects":
			list(c, db, route)
		case "api/export":
			fail(c, http.StatusForbidden, "not here: pgweb gives pg_dump the password as an argument, which others "+
				"can see; run pg_dump yourself")
		}
	}
}

func fail(c *gin.Context, status int, text string) {
	c.AbortWithStatusJSON(status, gin.H{"error": text})
}

// openScript opens the first table once the list of tables is there.
const openScript = `<script>
new MutationObserver(function(_, observer) {
  var table = document.querySelector("#objects li.schema-table");
  if (table) { observer.disconnect(); table.click(); }
}).observe(document.getElementById("objects"), {childList: true});
</script>
`

// homePage returns pgweb's page, which starts with an empty query, with openScript added.
func homePage() ([]byte, error) {
	file, err := static.GetFilesystem().Open("index.html")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	head, tail, ok := bytes.Cut(text, []byte("</body>"))
	if !ok {
		return nil, errors.New("pgweb's page has no end")
	}
	return slices.Concat(head, []byte(openScript), []byte("</body>"), tail), nil
}

// The tables of the modules are left out of the lists. A query still reads them.
const historySchema = "pgmigrate"

var ownTables = []string{"public.schema_version", "pgtx_idempotency_keys"}

// list returns the names of the schemas, or of the objects in them.
func list(c *gin.Context, db *client.Client, route string) {
	if route == "api/schemas" {
		names, err := db.Schemas()
		if err != nil {
			fail(c, http.StatusBadRequest, err.Error())
			return
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == historySchema })
		c.AbortWithStatusJSON(http.StatusOK, names)
		return
	}
	result, err := db.Objects()
	if err != nil {
		fail(c, http.StatusBadRequest, err.Error())
		return
	}
	schemas := client.ObjectsFromResult(result)
	delete(schemas, historySchema)
	for schema, objects := range schemas {
		objects.Tables = slices.DeleteFunc(objects.Tables, func(o client.Object) bool {
			return slices.Contains(ownTables, o.Name) || slices.Contains(ownTables, schema+"."+o.Name)
		})
	}
	c.AbortWithStatusJSON(http.StatusOK, schemas)
}
