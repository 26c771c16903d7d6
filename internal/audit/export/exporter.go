package export

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Chain is where sealed records are read.
type Chain interface {
	Head(ctx context.Context) (etcdkv.AuditHead, error)
	// Segment returns a segment; the error wraps chain.ErrGone when it is not there.
	Segment(ctx context.Context, seq int64) (chain.Sealed, error)
}

// Sink is where records go. One goroutine uses it.
type Sink interface {
	// Last is the number of the last segment that it has; 0: none.
	Last() int64
	// Known are the hashes of the segments that it has, as far as it knows them: of the
	// last one at least, unless that is not known either.
	Known() (map[int64]string, error)
	// Write takes the lines of a segment, of which the last one is its hash, and
	// remembers its number. After an error it has none of them, or may have some where
	// it cannot take them back.
	Write(ctx context.Context, seq int64, lines [][]byte) error
	// Close gives back what it took.
	Close() error
}

// Config says how an Exporter works. Name must be set.
type Config struct {
	// Name is what the log calls the sink.
	Name string
	// Every is how often new segments are looked for. Zero: DefaultEvery. After an
	// error it rests for Retry. Zero: DefaultRetry.
	Every, Retry time.Duration
}

// Defaults of Config.
const (
	DefaultEvery = time.Second
	DefaultRetry = 10 * time.Second
)

// Deps is what an Exporter stands on. All must be set.
type Deps struct {
	Chain Chain
	Sink  Sink
	// Records are those of a segment, Seal is its hash, as they are told.
	Records func(*chain.Sealed) []api.AuditRecord
	Seal    func(*chain.Sealed) api.AuditSeal
	Logger  *zap.Logger
}

// Exporter copies segments to a sink. Use New.
type Exporter struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	// checked is the last segment of the sink that is known to be of the cluster's chain,
	// as this process has seen it: a cluster is restored while no node runs.
	checked int64
}

// New returns an Exporter that does nothing until Run.
func New(cfg Config, deps Deps) *Exporter {
	cfg.Every, cfg.Retry = cmp.Or(cfg.Every, DefaultEvery), cmp.Or(cfg.Retry, DefaultRetry)
	return &Exporter{cfg: cfg, deps: deps, log: deps.Logger.Named("audit").With(zap.String("to", cfg.Name))}
}

// Run exports until ctx ends, and returns nil then. It closes the sink.
func (e *Exporter) Run(ctx context.Context) error {
	defer func() { _ = e.deps.Sink.Close() }() // what was told to be there is synced
	failing := ""
	for ctx.Err() == nil {
		wait := e.cfg.Every
		err := e.once(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			if text := err.Error(); text != failing { // once for each error
				e.log.Error("audit records are not exported for the moment; it is tried again", zap.Error(err), zap.Int64("lastSegment", e.deps.Sink.Last()))
				failing = text
			}
			wait = e.cfg.Retry
		case err == nil && failing != "":
			e.log.Info("audit records are exported again", zap.Int64("lastSegment", e.deps.Sink.Last()))
			failing = ""
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// once exports what is sealed by now.
func (e *Exporter) once(ctx context.Context) error {
	head, err := e.deps.Chain.Head(ctx)
	if err != nil {
		return err
	}
	if err := e.held(ctx, &head); err != nil {
		return err
	}
	for ctx.Err() == nil {
		last := e.deps.Sink.Last()
		switch {
		case last >= head.Seq:
			return nil
		case last+1 < head.First:
			if err := e.skip(ctx, last+1, head.First-1); err != nil {
				return err
			}
			continue
		}
		if err := e.segment(ctx, last+1); err != nil {
			return err
		}
	}
	return nil
}

// held compares the last segment of the sink with the cluster's chain, which is another
// one after a backup was restored. Then it tells so, and goes back to where they part (E6).
func (e *Exporter) held(ctx context.Context, head *etcdkv.AuditHead) error {
	last := e.deps.Sink.Last()
	if last == 0 || last == e.checked && last <= head.Seq {
		return nil
	}
	known, err := e.deps.Sink.Known()
	if err != nil {
		return err
	}
	at, first := min(last, head.Seq), max(head.First, 1)
	if _, is := known[last]; at == last && !is || last < first-1 { // nothing to compare
		e.checked = last
		return nil
	}
	for ; at >= first; at-- {
		sum, is := known[at]
		if !is {
			continue
		}
		s, err := e.deps.Chain.Segment(ctx, at)
		if err != nil && !errors.Is(err, chain.ErrGone) {
			return err
		}
		if err != nil || s.Hash == sum { // one that is damaged is told to be when it is verified
			break
		}
	}
	if at == last && (at >= first || known[at] == head.Prev) {
		e.checked = last
		return nil
	}
	text := fmt.Sprintf("segment %d is another one in the cluster, or not there: a backup was restored, or this is another cluster. Segments from %d on follow as the cluster has them; what was told of them before is only here", last, at+1)
	e.log.Warn("the audit goes on from an earlier segment", zap.String("why", text), zap.Int64("lastSegment", last), zap.Int64("from", at+1))
	line, err := json.Marshal(restored{at, text})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if err := e.write(ctx, at, [][]byte{line}); err != nil {
		return err
	}
	e.checked = at
	return nil
}

// restored is the line that says that the segments behind one follow again, since the
// cluster has others.
type restored struct {
	Segment  int64  `json:"segment"`
	Restored string `json:"restored"`
}

// missing is the line of segments that the export lacks.
type missing struct {
	Segment int64  `json:"segment"`
	Missing string `json:"missing"`
}

// skip tells that segments are not exported, up to one.
func (e *Exporter) skip(ctx context.Context, from, to int64) error {
	text := fmt.Sprintf("segments %d to %d had been removed before they were exported", from, to)
	e.log.Error("audit records are missing in the export", zap.String("why", text))
	line, err := json.Marshal(missing{to, text})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return e.write(ctx, to, [][]byte{line})
}

func (e *Exporter) segment(ctx context.Context, seq int64) error {
	s, err := e.deps.Chain.Segment(ctx, seq)
	if errors.Is(err, chain.ErrGone) {
		return e.skip(ctx, seq, seq)
	}
	if err != nil {
		return err
	}
	var lines [][]byte
	for _, r := range e.deps.Records(&s) {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode a record of segment %d: %w", seq, err)
		}
		lines = append(lines, line)
	}
	line, err := json.Marshal(e.deps.Seal(&s))
	if err != nil {
		return fmt.Errorf("encode segment %d: %w", seq, err)
	}
	return e.write(ctx, seq, append(lines, line))
}

func (e *Exporter) write(ctx context.Context, seq int64, lines [][]byte) error {
	if err := e.deps.Sink.Write(ctx, seq, lines); err != nil {
		return fmt.Errorf("segment %d: %w", seq, err)
	}
	e.checked = seq
	return nil
}
