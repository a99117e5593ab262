package pgconfig

// prismaParams are Prisma's parameters that are not simply one of our variables.
var prismaParams = map[string]bool{"schema": true, "sslaccept": true, "sslidentity": true, "statement_cache_size": true}

// applyPrisma rewrites Prisma's parameters into what they mean here, and returns a note on each.
// https://www.prisma.io/docs/orm/overview/databases/postgresql
func (d *dsn) applyPrisma() (notes []string, found []finding) {
	take := func(name string) string {
		v := d.params[name]
		delete(d.params, name)
		return v
	}
	if v := take("schema"); v != "" {
		if d.params["search_path"] == "" {
			d.params["search_path"] = quoteIdentifier(v)
		}
		notes = append(notes, "schema became search_path")
	}
	if v := take("statement_cache_size"); v != "" {
		if _, err := number(v); err != nil {
			found = append(found, finding{"has the parameter statement_cache_size, which is not a whole number", "write a number, or take it out"})
		} else if v == "0" {
			d.params["default_query_exec_mode"] = "cache_describe"
			notes = append(notes, "statement_cache_size=0 became default_query_exec_mode=cache_describe")
		} else {
			d.params["statement_cache_capacity"] = v
			notes = append(notes, "statement_cache_size became statement_cache_capacity")
		}
	}
	// Prisma's sslcert is the authority's certificate; libpq's is the client's and comes with
	// sslkey.
	if v := d.params["sslcert"]; v != "" && d.params["sslkey"] == "" {
		delete(d.params, "sslcert")
		if d.params["sslrootcert"] == "" {
			d.params["sslrootcert"] = v
		}
		notes = append(notes, "sslcert without sslkey became sslrootcert, as Prisma means it")
	}
	switch v := take("sslaccept"); v {
	case "":
	case "strict":
		if m := d.params["sslmode"]; m == "" || m == "require" || m == "prefer" {
			d.params["sslmode"] = "verify-full"
			notes = append(notes, "sslaccept=strict became sslmode=verify-full")
		}
	case "accept_invalid_certs":
		if d.params["sslmode"] == "" {
			d.params["sslmode"] = "require"
		}
		notes = append(notes, "sslaccept=accept_invalid_certs does not verify the server")
	default:
		found = append(found, finding{"has the parameter sslaccept, which is neither strict nor accept_invalid_certs", "use sslmode instead"})
	}
	if take("sslidentity") != "" {
		found = append(found, finding{
			"has the parameter sslidentity, a PKCS#12 file, which Go cannot read",
			"split it with openssl pkcs12 -in FILE -clcerts -nokeys -out client.crt, and -nocerts -nodes -out client.key, then use sslcert and sslkey",
		})
	}
	return notes, found
}

// quoteIdentifier quotes a schema's name for search_path.
func quoteIdentifier(name string) string {
	plain := name != ""
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			plain = false
		}
	}
	if plain {
		return name
	}
	quoted := `"`
	for _, r := range name {
		if r == '"' {
			quoted += `"`
		}
		quoted += string(r)
	}
	return quoted + `"`
}
