package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"
	"github.com/sosedoff/pgweb/pkg/api"
	"github.com/sosedoff/pgweb/pkg/client"
	"github.com/sosedoff/pgweb/pkg/command"
)

// login is what pgweb connects with.
type login struct {
	source   string
	readOnly bool // pgweb sets each transaction to read-only, and refuses queries that set it back
}

// serve runs pgweb on a listener until ctx ends. pgweb keeps its state in package variables: once
// in a process.
func serve(ctx context.Context, listener net.Listener, as login, out io.Writer) error {
	// Everything is below a path that cannot be guessed. Without it, any site in the same browser
	// could send queries to a port on loopback, and so could this machine's other users.
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

	router := gin.New()
	router.Use(gin.RecoveryWithWriter(io.Discard), protect(path))
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

// protect adds what pgweb leaves out.
func protect(path string) gin.HandlerFunc {
	return func(c *gin.Context) {
		// The pages ask GitHub for a newer version, which is not this machine's business; and no
		// frame may hold them.
		c.Header("Content-Security-Policy",
			"default-src 'self' 'unsafe-inline' 'unsafe-eval' data:; frame-ancestors 'none'")
		c.Header("Referrer-Policy", "no-referrer")
		if c.FullPath() == "/"+path+"api/export" {
			c.AbortWithStatusJSON(http.StatusForbidden, gin.H{
				"error": "not here: pgweb gives pg_dump the password as an argument, which others can see; run " +
					"pg_dump yourself",
			})
		}
	}
}
