package dsn

import (
	"slices"
	"strings"
)

const (
	publicRoots = "a public authority signs its certificates: write sslmode=verify-full&sslrootcert=system"
	ownRoots    = "it has an authority of its own: download the certificate from its console, and write " +
		"sslmode=verify-full&sslrootcert=/path/to/ca.crt"
	amazonRoots = "download https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem, and write " +
		"sslmode=verify-full&sslrootcert=/path/to/global-bundle.pem"
	herokuSigned = "if it is Heroku's, its certificates cannot be verified: set " +
		"DATABASE_ALLOW_INSECURE_TLS=true; for a server of your own write " +
		"sslmode=verify-full&sslrootcert=/path/to/ca.crt"
	selfSigned = "it signs its certificates itself, so they cannot be verified: use a private network, or set " +
		"DATABASE_ALLOW_INSECURE_TLS=true"
	renderPrivate = "if it is Render's private network, its certificates cannot be verified: set " +
		"DATABASE_ALLOW_INSECURE_TLS=true"
	encrypted = "this private network is encrypted: set DATABASE_ALLOW_INSECURE_TLS=true"
)

// providers are the domains of managed services, with what to write so that TLS verifies the
// server. docs/managed-providers.md says more.
var providers = []struct{ contains, suffix, advice string }{
	{".proxy-", ".rds.amazonaws.com", publicRoots}, // RDS Proxy
	{"", ".rds.amazonaws.com", amazonRoots},
	{"", ".rds.amazonaws.com.cn", ownRoots},
	{"", ".postgres.database.azure.com", publicRoots},
	{"", ".neon.tech", publicRoots},
	{"", ".supabase.co", ownRoots},
	{"", ".supabase.com", ownRoots},
	{"", ".ondigitalocean.com", ownRoots},
	{"", ".compute-1.amazonaws.com", herokuSigned},
	{"", ".compute.amazonaws.com", herokuSigned},
	{"dpg-", "-a", renderPrivate},
	{"", ".render.com", publicRoots},
	{"", ".rlwy.net", selfSigned}, // Railway
	{"", ".railway.internal", encrypted},
	{".nearest.of.", ".internal", encrypted}, // Fly; others have a domain of that name too
	{"", ".flycast", encrypted},              // Fly
	{"", ".flympg.net", encrypted},
}

// poolers are the addresses at which managed services run a pooler in transaction mode.
var poolers = []struct{ contains, suffix, port string }{
	{"-pooler.", ".neon.tech", ""},
	{"", ".supabase.com", "6543"},
	{"", ".supabase.co", "6543"},
	{"", ".postgres.database.azure.com", "6432"},
	{"pgbouncer.", ".flympg.net", ""},
	{"", ".ondigitalocean.com", "25061"},
	{".proxy-", ".rds.amazonaws.com", ""}, // RDS Proxy
}

// IsPooler reports whether a is a managed service's pooler in transaction mode.
func (a Address) IsPooler() bool {
	host := strings.ToLower(strings.TrimSuffix(a.Host, "."))
	return slices.ContainsFunc(poolers, func(p struct{ contains, suffix, port string }) bool {
		return strings.HasSuffix(host, p.suffix) && strings.Contains(host, p.contains) &&
			(p.port == "" || p.port == a.Port)
	})
}

// Advice says what to write for the TLS of the managed service that a host belongs to, or is "".
func Advice(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, p := range providers {
		if strings.HasSuffix(host, p.suffix) && strings.Contains(host, p.contains) {
			return p.advice
		}
	}
	return ""
}
