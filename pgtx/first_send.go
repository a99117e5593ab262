package pgtx

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// send sends BEGIN and the statement. It returns the error of BEGIN or of the connection, and an
// error of the client before anything was sent. The statement's own error is in f.err.
//
// dead reports that the connection broke and that nothing of the statement can have been executed.
func (f *firstStatement) send(s *session) (dead bool, err error) {
	if dead, err = f.sendOnce(s); err != nil {
		return dead, err
	}
	if f.err == nil {
		f.result, f.err = nextResult(f.pipeline)
	}
	if f.err != nil {
		_ = f.pipeline.Close()
		s.observe(f.err)
		if isStalePlan(f.err) {
			delete(f.known.descriptions, described{f.mode, f.text})
		}
	}
	return false, nil
}

func (f *firstStatement) sendOnce(s *session) (dead bool, err error) {
	start := time.Now()
	f.known, f.result, f.err, f.unsent = knowledgeOf(s.conn), nil, nil, false
	f.description = f.known.descriptions[described{f.mode, f.text}]
	prepares := f.description == nil && f.mode != pgx.QueryExecModeExec
	if !prepares {
		if err := f.encode(s.conn); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	_, endBegin := f.known.traceQuery(s.ctx, joinSQL(prelude), nil)
	f.traceStart()
	p := s.conn.PgConn().StartPipeline(f.ctx)
	f.pipeline = p
	done := false
	defer func() {
		if !done { // an error, or a panic of an argument's encoder
			_ = p.Close()
		}
	}()
	for _, sql := range prelude {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if prepares {
		f.sendPrepare()
	} else {
		f.sendExecute()
	}
	answered, err := 0, p.Sync()
	unwritten := err != nil && pgconn.SafeToRetry(err)
	s.times.begin += time.Since(start)
	if err == nil {
		answered, err = s.readPrelude(p, len(prelude))
	}
	if err != nil {
		endBegin(pgconn.CommandTag{}, err)
		dead = s.conn.IsClosed() && (unwritten || prepares && answered == 0) && f.ctx.Err() == nil
		return dead, f.failBegin(s, start, err)
	}
	endBegin(pgconn.NewCommandTag("BEGIN"), nil)
	s.begun()
	if prepares {
		if f.err = f.describe(s); f.err != nil {
			f.unsent = true
			return false, nil
		}
		f.sendExecute()
		if err := p.Sync(); err != nil {
			s.fail(stateLost, err)
			return false, err
		}
	}
	done = true
	return false, nil
}

// readPrelude reads the answers to BEGIN and the statements with it, and returns how many there
// were.
func (s *session) readPrelude(p *pgconn.Pipeline, n int) (answered int, err error) {
	for ; answered < n; answered++ {
		result, err := nextResult(p)
		if err == nil {
			s.readProbe(result)
			_, err = result.Close()
		}
		if err != nil {
			return answered, err
		}
	}
	return answered, nil
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

// failBegin records that BEGIN failed, or the connection broke.
func (f *firstStatement) failBegin(s *session, start time.Time, err error) error {
	switch {
	case s.conn.IsClosed():
		s.fail(stateLost, err)
		return err
	case !errors.As(err, new(*pgconn.PgError)):
		return err // ctx was done before anything was sent
	}
	_ = f.pipeline.Close()
	return s.refuseBegin(start, err)
}

// sendPrepare sends what describes the statement.
func (f *firstStatement) sendPrepare() {
	k, p := f.known, f.pipeline
	k.makeRoom()
	name := ""
	if f.mode == pgx.QueryExecModeCacheStatement {
		// The name may exist already, because its transaction failed or its description was
		// forgotten. Then Parse would fail.
		name = preparedName(f.text)
		k.obsolete = append(k.obsolete, name)
	}
	for _, obsolete := range k.obsolete {
		p.SendDeallocate(obsolete)
	}
	k.obsolete = nil
	p.SendPrepare(name, f.text, nil)
}

// describe reads the description and encodes the arguments.
func (f *firstStatement) describe(s *session) error {
	end := f.known.tracePrepare(f.ctx, f.mode, f.text)
	description, err := f.nextDescription()
	if end(err); err != nil {
		return err
	}
	if description.SQL = f.text; f.mode == pgx.QueryExecModeCacheStatement {
		description.Name = preparedName(f.text)
	}
	f.known.keep(f.mode, description)
	f.description = description
	if _, err := f.pipeline.GetResults(); err != nil { // of Sync
		return err
	}
	return f.encode(s.conn)
}

func (f *firstStatement) nextDescription() (*pgconn.StatementDescription, error) {
	for {
		results, err := f.pipeline.GetResults()
		if err != nil {
			return nil, err
		}
		switch results := results.(type) {
		case *pgconn.StatementDescription:
			return results, nil
		case *pgconn.CloseComplete:
		default:
			return nil, fmt.Errorf("unexpected %T in place of a description", results)
		}
	}
}

func (f *firstStatement) sendExecute() {
	e := &f.encoded
	switch f.mode {
	case pgx.QueryExecModeExec:
		f.pipeline.SendQueryParams(f.text, e.ParamValues, nil, e.ParamFormats, e.ResultFormats)
	case pgx.QueryExecModeCacheDescribe:
		f.pipeline.SendQueryParams(f.text, e.ParamValues, f.description.ParamOIDs, e.ParamFormats, e.ResultFormats)
	default:
		f.pipeline.SendQueryStatement(f.description, e.ParamValues, e.ParamFormats, e.ResultFormats)
	}
}
