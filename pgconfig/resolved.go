package pgconfig

// resolved is what loading found out about the connections. It is never changed.
type resolved struct {
	prefix       string
	main, direct dsn
	hasDirect    bool
	replicas     []dsn
	passwordFile string
	report       []Setting
}

func (c Config) state() *resolved {
	if c.resolved == nil {
		return nil
	}
	return c.resolved()
}

// URL returns the database's complete URL: everything that DATABASE_URL, files and PG* variables
// said, with defaults and the password. It is "" in a zero Config. Give it to programs that want a
// connection string; in this process prefer [Config.PoolConfig] and [Config.DirectConfig], which
// apply the limits too.
func (c Config) URL() Secret {
	r := c.state()
	if r == nil {
		return ""
	}
	return Secret(r.main.url(false))
}

// DirectURL returns the same for DIRECT_DATABASE_URL. Without one it is URL, even behind PgBouncer.
func (c Config) DirectURL() Secret {
	r := c.state()
	if r == nil {
		return ""
	}
	return Secret(r.direct.url(false))
}

// ReplicaURLs returns the same for each of DATABASE_REPLICA_URLS.
func (c Config) ReplicaURLs() []Secret {
	r := c.state()
	if r == nil {
		return nil
	}
	urls := make([]Secret, len(r.replicas))
	for i, d := range r.replicas {
		urls[i] = Secret(d.url(false))
	}
	return urls
}

// PasswordFile returns DATABASE_PASSWORD_FILE: the file to read again when a password has been
// rotated, or "".
func (c Config) PasswordFile() string {
	r := c.state()
	if r == nil {
		return ""
	}
	return r.passwordFile
}
