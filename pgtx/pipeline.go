package pgtx

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The first statement of a transaction travels with BEGIN in one flush, in a pipeline of pgconn:
//
//	text that the connection knows:  BEGIN, SET LOCAL …, Bind, Execute, Sync
//	new text, two flushes:           BEGIN, SET LOCAL …, Parse, Describe, Sync;  Bind, Execute, Sync
//
// The server works in this order. Nothing of the statement, its preparation included, happens
// outside the transaction or before its limits apply. pgx's own batches prepare their texts first.

// statement is one that BEGIN rides with. prepare fills it, send sends it with BEGIN, and then exec
// or query reads the answer.
type statement struct {
	ctx           context.Context
	sql, plainSQL string // as sent, and as the function wrote it
	args          []any
	plainArgs     []any
	mode          pgx.QueryExecMode
	formats       pgx.QueryResultFormats
	formatsByOID  pgx.QueryResultFormatsByOID
	rows          bool // sent by Query

	known       *knowledge
	description *pgconn.StatementDescription
	fresh       bool // described in this transaction
	encoded     pgx.ExtendedQueryBuilder
	pipeline    *pgconn.Pipeline
	result      *pgconn.ResultReader
	err         error // of the result, in place of it
	unprepared  bool  // err is that of preparing or encoding
	traceCtx    context.Context
	prepareCtx  context.Context
}

// prepare reads what pgx reads from the arguments. It reports whether BEGIN can ride with the
// statement; if not, nothing was changed.
func (st *statement) prepare(ctx context.Context, s *session, sql string, args []any, rows bool) (bool, error) {
	known := knowledgeOf(s.conn)
	*st = statement{ctx: ctx, sql: sql, plainSQL: sql, plainArgs: args, mode: known.mode, rows: rows, known: known}
	if s.raw != nil || s.opts.TxOptions.BeginQuery != "" || !strings.ContainsAny(strings.TrimSpace(sql), " \t\r\n") {
		return false, nil // a text without a space may be the name of a prepared statement
	}
	var rewriter pgx.QueryRewriter
options:
	for ; len(args) > 0; args = args[1:] {
		switch arg := args[0].(type) {
		case pgx.QueryExecMode:
			st.mode = arg
		case pgx.QueryRewriter:
			rewriter = arg
		case pgx.QueryResultFormats:
			if !rows {
				return false, nil
			}
			st.formats = arg
		case pgx.QueryResultFormatsByOID:
			if !rows {
				return false, nil
			}
			st.formatsByOID = arg
		default:
			break options
		}
	}
	switch st.mode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec:
	default:
		return false, nil // pgx's own quoting of arguments is not exported
	}
	st.args = args
	if rewriter != nil {
		var err error
		if st.sql, st.args, err = rewriter.RewriteQuery(ctx, s.conn, sql, args); err != nil {
			return false, fmt.Errorf("rewrite query failed: %w", err)
		}
	}
	if !rows && len(st.args) == 0 || len(st.args) > math.MaxUint16 {
		return false, nil // pgx sends an Exec without arguments by the simple protocol
	}
	return true, nil
}

// send sends BEGIN and the statement and reads the answers up to the statement's result. An error is
// that of BEGIN or of the client; the statement's own is left for exec and query. unanswered reports
// that the connection broke before BEGIN was answered.
func (st *statement) send(s *session) (unanswered bool, err error) {
	st.known = knowledgeOf(s.conn)
	for again := true; again; {
		unanswered, err = st.sendOnce(s)
		stale := err == nil && st.description != nil && !st.fresh && isStalePlan(st.err)
		if stale {
			st.known.forget(st.sql)
		}
		// Nothing of the function has taken effect, so the flush can be repeated without a trace.
		again = stale && s.undoFirst()
	}
	return unanswered, err
}

// undoFirst rolls back a transaction whose first statement failed.
func (s *session) undoFirst() bool {
	if s.state != stateFailed || s.control(s.ctx, "rollback") != nil {
		s.observe(nil)
		return false
	}
	s.reset()
	return true
}

func (st *statement) sendOnce(s *session) (unanswered bool, err error) {
	start := time.Now()
	st.description, st.result, st.err, st.unprepared = st.known.find(st.mode, st.sql), nil, nil, false
	st.fresh = false
	describe := st.description == nil && st.mode != pgx.QueryExecModeExec
	if !describe {
		if err := st.encode(s.conn); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	p := s.conn.PgConn().StartPipeline(st.ctx)
	st.pipeline = p
	settled := false
	defer func() {
		if !settled { // an error, or a panic in an argument's encoder
			_ = p.Close()
		}
	}()
	for _, sql := range prelude {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	closed := 0
	if describe {
		closed = st.sendPrepare(p)
	} else {
		st.sendExecute(p)
	}
	err = p.Sync()
	s.times.begin += time.Since(start)
	if err != nil {
		return st.breakBegin(s, err)
	}
	for i := range prelude {
		result, err := nextResult(p)
		if err == nil {
			s.readProbe(result)
			_, err = result.Close()
		}
		switch {
		case err != nil && i == 0 && s.conn.IsClosed():
			return st.breakBegin(s, err)
		case err != nil:
			_ = p.Close()
			settled = true
			s.abandonBegin(err)
			s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", unsupported(err))))
			return false, s.cause
		}
	}
	// The status is that of before until the pipeline is settled.
	s.begun()
	if describe {
		err := st.readPrepare(p, closed)
		if err == nil {
			_, err = p.GetResults() // Sync
		}
		if err != nil {
			_ = p.Close()
			settled = true
			s.observe(err)
			st.err, st.unprepared = err, true
			return false, nil
		}
		if err := st.encode(s.conn); err != nil {
			_ = p.Close()
			settled = true
			s.observe(nil)
			st.err, st.unprepared = err, true
			return false, nil
		}
		st.sendExecute(p)
		if err := p.Sync(); err != nil {
			settled = true
			s.observe(err)
			st.err = err
			return false, nil
		}
		st.fresh = true
	}
	settled = true
	if st.result, st.err = nextResult(p); st.err != nil {
		_ = p.Close()
		s.observe(st.err)
	}
	return false, nil
}

// breakBegin records that BEGIN could not be sent, or was not answered. Nobody can tell whether the
// connection broke under BEGIN or under the statement: the error is the statement's.
func (st *statement) breakBegin(s *session, err error) (unanswered bool, _ error) {
	if s.conn.IsClosed() { // else ctx was done before anything was sent
		s.fail(stateLost, err)
	}
	return s.state == stateLost && st.ctx.Err() == nil, err
}

func nextResult(p *pgconn.Pipeline) (*pgconn.ResultReader, error) {
	results, err := p.GetResults()
	if err != nil {
		return nil, err
	}
	if result, ok := results.(*pgconn.ResultReader); ok {
		return result, nil
	}
	return nil, fmt.Errorf("unexpected %T in place of a result", results)
}

// encode encodes the arguments. An error is the one that pgx gives.
func (st *statement) encode(conn *pgx.Conn) error {
	if d := st.description; st.rows && d != nil && len(d.ParamOIDs) != len(st.args) {
		return fmt.Errorf("expected %d arguments, got %d", len(d.ParamOIDs), len(st.args))
	}
	if err := st.encoded.Build(conn.TypeMap(), st.description, st.args); err != nil {
		return err
	}
	if st.formatsByOID != nil && st.description != nil {
		st.formats = make([]int16, len(st.description.Fields))
		for i, field := range st.description.Fields {
			st.formats[i] = st.formatsByOID[field.DataTypeOID]
		}
	}
	if st.formats == nil {
		st.formats = st.encoded.ResultFormats
	}
	return nil
}

// sendPrepare sends what describes the statement, and returns how many answers to Close come first.
func (st *statement) sendPrepare(p *pgconn.Pipeline) (closed int) {
	st.known.makeRoom()
	for _, evicted := range st.known.evicted {
		p.SendDeallocate(evicted)
		closed++
	}
	st.known.evicted = nil
	name := ""
	if st.mode == pgx.QueryExecModeCacheStatement {
		// One that is there, because its transaction failed or its description was forgotten, would
		// make Parse fail.
		name = preparedName(st.sql)
		p.SendDeallocate(name)
		closed++
	}
	if st.known.prepareTracer != nil {
		st.prepareCtx = st.known.prepareTracer.TracePrepareStart(st.traceCtx, st.known.conn, pgx.TracePrepareStartData{Name: name, SQL: st.sql})
	}
	p.SendPrepare(name, st.sql, nil)
	return closed
}

func (st *statement) readPrepare(p *pgconn.Pipeline, closed int) (err error) {
	defer func() {
		if st.known.prepareTracer != nil {
			st.known.prepareTracer.TracePrepareEnd(st.prepareCtx, st.known.conn, pgx.TracePrepareEndData{Err: err})
		}
	}()
	for range closed {
		if _, err := p.GetResults(); err != nil {
			return err
		}
	}
	results, err := p.GetResults()
	if err != nil {
		return err
	}
	description, ok := results.(*pgconn.StatementDescription)
	if !ok {
		return fmt.Errorf("unexpected %T in place of a description", results)
	}
	if st.mode == pgx.QueryExecModeCacheStatement {
		description.Name = preparedName(st.sql)
	}
	description.SQL = st.sql
	st.description = description
	st.known.keep(st.mode, description)
	return nil
}

func (st *statement) sendExecute(p *pgconn.Pipeline) {
	e := &st.encoded
	switch st.mode {
	case pgx.QueryExecModeCacheDescribe:
		p.SendQueryParams(st.sql, e.ParamValues, st.description.ParamOIDs, e.ParamFormats, st.formats)
	case pgx.QueryExecModeExec:
		p.SendQueryParams(st.sql, e.ParamValues, nil, e.ParamFormats, e.ResultFormats)
	default:
		p.SendQueryStatement(st.description, e.ParamValues, e.ParamFormats, st.formats)
	}
}

// exec reads the answer to an Exec.
func (st *statement) exec(s *session) (tag pgconn.CommandTag, err error) {
	if err = st.err; err == nil {
		tag, err = st.result.Close()
		err = st.settle(s, tag, err)
	} else {
		st.traceEnd(tag, err)
	}
	return tag, err
}

// query returns the rows of a Query. Like pgx it returns the error of preparing and encoding, and
// leaves that of the execution to the rows.
func (st *statement) query(s *session) (pgx.Rows, error) {
	switch {
	case st.err == nil:
		return &ridingRows{Rows: pgx.RowsFromResultReader(s.conn.TypeMap(), st.result), session: s}, nil
	case st.unprepared:
		st.traceEnd(pgconn.CommandTag{}, st.err)
		return errRows{err: st.err}, st.err
	}
	st.traceEnd(pgconn.CommandTag{}, st.err)
	return errRows{err: st.err}, nil
}

// settle ends the pipeline after the statement's result was read.
func (st *statement) settle(s *session, tag pgconn.CommandTag, err error) error {
	if closeErr := st.pipeline.Close(); err == nil {
		err = closeErr
	}
	s.observeStatement(st.sql, tagged(tag), err)
	st.traceEnd(tag, err)
	return err
}

// ridingRows settle the pipeline when they are closed.
type ridingRows struct {
	pgx.Rows
	session *session
	settled bool
	err     error
}

func (r *ridingRows) Conn() *pgx.Conn { return r.session.conn }

func (r *ridingRows) Err() error { return r.err }

func (r *ridingRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan and Values close the rows if they fail, as those of pgx do.
func (r *ridingRows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

func (r *ridingRows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

func (r *ridingRows) Close() {
	if r.settled {
		return
	}
	r.settled = true
	r.Rows.Close()
	serverErr := r.Rows.Err()
	tag := r.Rows.CommandTag()
	if closeErr := r.session.statement.settle(r.session, tag, serverErr); serverErr == nil {
		serverErr = closeErr
	}
	r.err = serverErr
}

func (st *statement) traceStart() {
	st.traceCtx = st.ctx
	if st.known.tracer != nil {
		st.traceCtx = st.known.tracer.TraceQueryStart(st.ctx, st.known.conn, pgx.TraceQueryStartData{SQL: st.plainSQL, Args: st.plainArgs})
	}
}

func (st *statement) traceEnd(tag pgconn.CommandTag, err error) {
	if st.known.tracer != nil {
		st.known.tracer.TraceQueryEnd(st.traceCtx, st.known.conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	}
}

// knowledge is what this package keeps with a connection. It dies with it.
type knowledge struct {
	conn          *pgx.Conn
	tracer        pgx.QueryTracer
	prepareTracer pgx.PrepareTracer
	batchTracer   pgx.BatchTracer
	mode          pgx.QueryExecMode
	lineage       *lineage
	keyTable      string // the table of idempotency keys, with its schema

	// The statements that were prepared or described, in the order of their last use, and the names
	// of those that are to be closed.
	descriptions map[described]*list.Element
	order        list.List
	evicted      []string
}

// described is the key of a description: the modes with a cache keep their own.
type described struct {
	mode pgx.QueryExecMode
	sql  string
}

// maxDescriptions limits the statements that are kept for a connection. A first statement is
// usually one of a service's few dozen; each prepared one takes tens of kilobytes on the server.
const maxDescriptions = 128

const customKey = "github.com/page-builder/persistence/pgtx"

// knowledgeOf returns what is kept with conn.
func knowledgeOf(conn *pgx.Conn) *knowledge {
	data := conn.PgConn().CustomData()
	if k, ok := data[customKey].(*knowledge); ok {
		return k
	}
	config := conn.Config() // a deep copy, so only once
	k := &knowledge{
		conn: conn, tracer: config.Tracer, mode: config.DefaultQueryExecMode,
		descriptions: map[described]*list.Element{},
	}
	k.prepareTracer, _ = config.Tracer.(pgx.PrepareTracer)
	k.batchTracer, _ = config.Tracer.(pgx.BatchTracer)
	data[customKey] = k
	return k
}

func (k *knowledge) find(mode pgx.QueryExecMode, sql string) *pgconn.StatementDescription {
	if element, ok := k.descriptions[described{mode, sql}]; ok {
		k.order.MoveToBack(element)
		return element.Value.(*pgconn.StatementDescription) //nolint:forcetypeassert // nothing else is put in
	}
	return nil
}

// keep remembers a description. The mode that always describes again keeps none.
func (k *knowledge) keep(mode pgx.QueryExecMode, d *pgconn.StatementDescription) {
	if mode == pgx.QueryExecModeDescribeExec {
		return
	}
	k.makeRoom()
	k.descriptions[described{mode, d.SQL}] = k.order.PushBack(d)
}

// makeRoom forgets the description that was not used for the longest time if there are too many.
func (k *knowledge) makeRoom() {
	if k.order.Len() < maxDescriptions {
		return
	}
	oldest := k.order.Front().Value.(*pgconn.StatementDescription) //nolint:forcetypeassert // nothing else is put in
	mode := pgx.QueryExecModeCacheStatement
	if oldest.Name == "" {
		mode = pgx.QueryExecModeCacheDescribe
	} else {
		k.evicted = append(k.evicted, oldest.Name)
	}
	k.remove(described{mode, oldest.SQL})
}

// forget drops the descriptions of a text that the server no longer accepts.
func (k *knowledge) forget(sql string) {
	k.remove(described{pgx.QueryExecModeCacheStatement, sql})
	k.remove(described{pgx.QueryExecModeCacheDescribe, sql})
}

func (k *knowledge) remove(key described) {
	if element, ok := k.descriptions[key]; ok {
		k.order.Remove(element)
		delete(k.descriptions, key)
	}
}

// preparedName is made from the text, so that a pooler that switches servers can make it unknown,
// but never let it stand for another statement.
func preparedName(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return "pgtx_" + hex.EncodeToString(sum[:16])
}
