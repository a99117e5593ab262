package pgerr

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlstates are the codes that differ from their class. Appendix A of PostgreSQL's manual lists
// all.
var sqlstates = map[string]Category{
	"08007": CommitUnknown, // transaction_resolution_unknown
	"25006": ReadOnly,      // read_only_sql_transaction
	"25P03": Timeout,       // idle_in_transaction_session_timeout
	"25P04": Timeout,       // transaction_timeout
	"3D000": Config,        // invalid_catalog_name: no such database
	"40001": Serialization, // serialization_failure, on a standby also a conflict with recovery
	"40002": Constraint,    // transaction_integrity_constraint_violation
	"40003": CommitUnknown, // statement_completion_unknown
	"40P01": Deadlock,      // deadlock_detected
	"42501": Permission,    // insufficient_privilege
	"53300": TooManyConnections,
	"55P03": LockTimeout, // lock_not_available
	"57014": Timeout,     // query_canceled; see cancelledBy
	"57P01": Shutdown,    // admin_shutdown
	"57P02": Shutdown,    // crash_shutdown
	"57P03": StartingUp,  // cannot_connect_now
	"57P04": Config,      // database_dropped
	"57P05": Connection,  // idle_session_timeout: no transaction was running
	"P0002": NotFound,    // no_data_found
}

// sqlclasses are the classes, the first two characters of a code.
var sqlclasses = map[string]Category{
	"08": Connection,
	"0A": Statement, // feature_not_supported, also "cached plan must not change result type"
	"20": Data,      // case_not_found
	"21": Data,      // cardinality_violation
	"22": Data,
	"23": Constraint,
	"24": Statement, // invalid_cursor_state
	"25": Statement, // invalid_transaction_state
	"26": Statement, // invalid_sql_statement_name: often a prepared statement behind PgBouncer
	"28": Auth,
	"2B": Statement, // dependent_privilege_descriptors_still_exist
	"2D": Statement, // invalid_transaction_termination
	"2F": Statement, // sql_routine_exception
	"34": Statement, // invalid_cursor_name
	"38": Statement, // external_routine_exception
	"39": Statement, // external_routine_invocation_exception
	"3B": Statement, // savepoint_exception
	"3F": Statement, // invalid_schema_name
	"42": Statement,
	"44": Constraint, // with_check_option_violation
	"53": Resource,
	"54": Statement, // program_limit_exceeded
	"55": Statement, // object_not_in_prerequisite_state
	"58": Internal,  // system_error
	"F0": Internal,  // config_file_error
	"P0": Raised,
	"XX": Internal,
}

// retryableStates are the codes after which the server keeps nothing of a transaction and a second
// run stands a chance. 57P05 ends a session that was idle outside a transaction.
var retryableStates = map[string]bool{
	"40001": true, "40P01": true, "53300": true, "57P01": true, "57P02": true, "57P03": true, "57P05": true,
	"08000": true, "08003": true, "08006": true, // connection lost; 08001 and 08004 are refusals, 08P01 see pgbouncer
}

func judgePgError(err *pgconn.PgError, connecting bool) verdict {
	category := Unknown
	if c, ok := sqlstates[err.Code]; ok {
		category = c
	} else if len(err.Code) == 5 {
		if c, ok := sqlclasses[err.Code[:2]]; ok {
			category = c
		}
	}
	switch err.Code {
	case "08P01":
		return judgePgBouncer(err)
	case "08001", "08004":
		return verdict{category: Refused, retry: no, wait: yes}
	case "57014":
		category = cancelledBy(err)
	case "42704": // undefined_object: while connecting, a startup setting or role option the server does not know
		if connecting {
			category = Config
		}
	}
	return verdict{category: category, retry: answer(retryableStates[err.Code]), wait: answer(waitable[category])}
}

// cancelledBy tells a statement that ran into statement_timeout from one that somebody cancelled.
// The code is the same for both and the message follows lc_messages, so only the English message
// says "user request"; otherwise it counts as a timeout, by far the more frequent.
func cancelledBy(err *pgconn.PgError) Category {
	if strings.Contains(err.Message, "user request") {
		return Canceled
	}
	return Timeout
}

// judgePgBouncer reads 08P01 (protocol_violation), which PgBouncer sends for nearly everything that
// goes wrong on its side. Its messages are not translated. Versions 1.18 and earlier use it for a
// wrong password and an unknown database too.
func judgePgBouncer(err *pgconn.PgError) verdict {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(err.Message, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("server login has been failing", "server login failed", "cannot connect to server", "database is paused", "pgbouncer is shut"):
		return verdict{category: Refused, retry: yes, wait: yes}
	case has("no more connections allowed"):
		return verdict{category: TooManyConnections, retry: yes, wait: yes}
	case has("query_wait_timeout"):
		return verdict{category: Saturated, retry: no, wait: yes}
	case has("password authentication failed", "auth failed", "no such user", "not allowed", "authentication failed"):
		return verdict{category: Auth, retry: no, wait: no}
	case has("no such database", "unsupported startup parameter", "unsupported startup option"):
		return verdict{category: Config, retry: no, wait: no}
	case has("server conn crashed"):
		return verdict{category: Connection, retry: yes, wait: yes}
	default:
		return verdict{category: Connection, retry: no, wait: no}
	}
}
