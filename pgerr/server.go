package pgerr

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlstates are the codes that differ from their class. Appendix A of PostgreSQL's manual lists
// all codes.
var sqlstates = map[string]Category{
	"08001": Refused,       // sqlclient_unable_to_establish_sqlconnection
	"08004": Refused,       // sqlserver_rejected_establishment_of_sqlconnection
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
	"57014": Timeout,     // query_canceled: see judgeQueryCanceled
	"57P01": Shutdown,    // admin_shutdown
	"57P02": Shutdown,    // crash_shutdown
	"57P03": StartingUp,  // cannot_connect_now
	"57P04": Config,      // database_dropped
	"57P05": Connection,  // idle_session_timeout: no transaction was running
	"P0002": NotFound,    // no_data_found
}

// sqlclasses are the first two characters of a code.
var sqlclasses = map[string]Category{
	"08": Connection,
	"09": Raised,     // triggered_action_exception
	"0A": Statement,  // feature_not_supported
	"0B": Statement,  // invalid_transaction_initiation
	"0L": Permission, // invalid_grantor
	"0P": Statement,  // invalid_role_specification
	"0Z": Statement,  // diagnostics_exception
	"20": Data,       // case_not_found
	"21": Data,       // cardinality_violation
	"22": Data,
	"23": Constraint,
	"24": Statement, // invalid_cursor_state
	"25": Statement, // invalid_transaction_state
	"26": Statement, // invalid_sql_statement_name
	"27": Statement, // triggered_data_change_violation
	"28": Auth,
	"2B": Statement,     // dependent_privilege_descriptors_still_exist
	"2D": Statement,     // invalid_transaction_termination
	"2F": Statement,     // sql_routine_exception
	"34": Statement,     // invalid_cursor_name
	"36": Statement,     // savepoint_exception of the standard
	"38": Statement,     // external_routine_exception
	"39": Statement,     // external_routine_invocation_exception
	"3B": Statement,     // savepoint_exception
	"3F": Statement,     // invalid_schema_name
	"40": Serialization, // transaction_rollback
	"42": Statement,
	"44": Constraint, // with_check_option_violation
	"53": Resource,
	"54": Statement, // program_limit_exceeded
	"55": Statement, // object_not_in_prerequisite_state
	"57": Canceled,  // operator_intervention
	"58": Internal,  // system_error
	"72": Statement, // snapshot_too_old
	"F0": Internal,  // config_file_error
	"HV": Internal,  // fdw_error: a server behind the server
	"P0": Raised,
	"XX": Internal,
}

// retryableStates are the codes after which the server keeps nothing of a transaction, and a second
// run may succeed. After 26000, pgx forgets the statement that the server does not know, and
// prepares it again.
var retryableStates = map[string]bool{
	"40000": true, "40001": true, "40P01": true, "53300": true,
	"57P01": true, "57P02": true, "57P03": true, "57P05": true,
	"08000": true, "08003": true, "08006": true, "26000": true,
}

func judgePgError(err *pgconn.PgError, connecting bool) verdict {
	if v, ok := judgePooler(err); ok {
		return v
	}
	category := classify(err)
	switch {
	case isStaleStatement(err):
		return verdict{category: Statement, retry: yes, wait: no}
	case err.Code == "25P02": // in_failed_sql_transaction: an earlier error is the cause
		return verdict{category: Statement}
	case err.Code == "57014":
		return verdictFor(judgeQueryCanceled(err))
	case err.Code == "08P01" && isFatal(err): // the two sides do not speak the same protocol
		return verdict{category: Connection, retry: no, wait: no}
	case err.Code == "08P01":
		// The session lives on, so the connection is sound. The parameters do not fit the
		// statement, or there is a NUL character in its text.
		category = Statement
	case isRemote(err):
		// The transaction is rolled back, and another run may find that server again.
		return verdict{category: Internal, retry: answer(retryableStates[err.Code]), wait: no}
	}
	if connecting && (category == Statement || category == Data) {
		category = Config // no statement was sent yet: the server refuses a setting of the startup message
	}
	return verdict{category: category, retry: answer(retryableStates[err.Code]), wait: answer(waitable[category])}
}

func classify(err *pgconn.PgError) Category {
	if c, ok := sqlstates[err.Code]; ok {
		return c
	}
	if len(err.Code) == 5 {
		if c, ok := sqlclasses[err.Code[:2]]; ok {
			return c
		}
	}
	return Unknown
}

// isStaleStatement reports whether a table changed after pgx had prepared or described a statement
// on it. pgx then forgets the statement, and prepares or describes it again in the next run. The
// name of the routine is the same in all languages of the message.
func isStaleStatement(err *pgconn.PgError) bool {
	switch err.Code {
	case "0A000":
		return err.Routine == "RevalidateCachedQuery" || strings.Contains(err.Message,
			"cached plan must not change result type")
	case "08P01":
		return err.Routine == "PortalSetResultFormat" || strings.Contains(err.Message, " result formats but query has ")
	}
	return false
}

// judgeQueryCanceled decides who canceled a statement. The name of the routine identifies a COPY
// with a failed source, in any language. A timeout and a cancel request come from the same routine
// and differ only in their message, so with a translated message both count as a timeout.
func judgeQueryCanceled(err *pgconn.PgError) Category {
	if err.Routine == "CopyGetData" || strings.HasPrefix(err.Message, "COPY from stdin failed") ||
		strings.Contains(err.Message, "user request") {
		return Canceled
	}
	return Timeout
}

// isRemote reports whether an error has a code that ends sessions but did not end this one. dblink,
// postgres_fdw and Citus pass on codes from their connection to another server. Ours is sound.
func isRemote(err *pgconn.PgError) bool {
	endsSessions := strings.HasPrefix(err.Code, "08") || strings.HasPrefix(err.Code, "57P")
	return endsSessions && err.SeverityUnlocalized == "ERROR"
}

// isFatal reports whether the server ended the session. PostgreSQL translates Severity but not
// SeverityUnlocalized. Poolers send only Severity.
func isFatal(err *pgconn.PgError) bool {
	severity := err.SeverityUnlocalized
	if severity == "" {
		severity = err.Severity
	}
	return severity == "FATAL" || severity == "PANIC"
}
