package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/wal"
)

// compactAt is the size from which a journal that has doubled is rewritten.
const compactAt = 8 << 20

// retryOver is how often a journal that is over its limit is rewritten.
const retryOver = 30 * time.Second

// journal is the minion's durable memory: records on disk, the task table in
// memory. The minion's mutex guards it; only sync is called without.
type journal struct {
	*taskTable
	log *wal.Log
	// compacted is the size after the last rewrite.
	compacted int64
	keep      time.Duration
	// limit is how many bytes the log may have, and tried when it was last
	// rewritten because it had more.
	limit int64
	tried time.Time
	// unsettled are last reports that could not be written yet.
	unsettled []*job.Report
	// damaged: records were lost, so that a record is not there proves nothing.
	damaged bool
	// memory says since when it knows all.
	memory *memory
}

// openJournal reads the journal at path.
func openJournal(path string, cfg *Config, deps *Deps, log *zap.Logger) (*journal, error) {
	_, missing := os.Stat(path)
	j := &journal{taskTable: newTaskTable(), keep: cfg.JournalKeep, limit: cfg.JournalCap}
	unknown := 0
	w, info, err := wal.OpenWith(path, deps.writeJournal, func(p []byte) error {
		r, err := decodeRecord(p)
		if err != nil {
			unknown++  // the sum was right, so another release wrote it
			return nil // counted and reported below
		}
		j.apply(&r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.log, j.compacted = w, w.Size()
	if info.Torn > 0 {
		log.Info("journal had a torn tail, which is cut", zap.Int64("bytes", info.Torn))
	}
	if info.Damaged > 0 || unknown > 0 {
		j.damaged = true
		log.Error("journal is damaged; what can be read is kept", zap.String("path", path),
			zap.Int64("damagedBytes", info.Damaged), zap.Int("unknownRecords", unknown))
	}
	j.memory, err = openMemory(filepath.Join(filepath.Dir(path), memoryName), errors.Is(missing, os.ErrNotExist), time.Now(), log)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	j.memory.keep = cfg.JournalKeep
	j.expire(time.Now(), j.keep)
	return j, nil
}

// doubts reports whether what the journal says of a task of an earlier process may not be
// all: a copy does not know what became of it since.
func (j *journal) doubts(e *entry) bool {
	if j.damaged {
		return true
	}
	_, gone := j.memory.gone(e.key.fire)
	return gone && j.memory.Why == agentpb.GapCopy
}

// add queues a record and returns its batch.
func (j *journal) add(r *record) (wal.Batch, error) {
	b, err := r.encode()
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	batch, err := j.log.Append(b)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	return batch, nil
}

// raiseToken notes a token durably if it is new. It returns 0 if it is not.
func (j *journal) raiseToken(s job.ShardID, t job.Token) (wal.Batch, error) {
	if !j.raise(s, t) {
		return 0, nil
	}
	return j.add(&record{Kind: kindToken, Shard: s, Token: &t})
}

// sync waits until the batch is durable; batch 0 always is.
func (j *journal) sync(b wal.Batch) error {
	if b == 0 {
		return nil
	}
	if err := j.log.Sync(b); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// compact rewrites the journal without what needs not be remembered, if it
// has grown enough, or is over its limit.
func (j *journal) compact(now time.Time) (bool, error) {
	j.expire(now, j.keep)
	grown := j.log.Size() >= max(compactAt, 2*j.compacted)
	if over := j.over() && now.Sub(j.tried) >= retryOver; !grown && !over {
		return false, nil
	}
	j.tried = now
	return true, j.rewrite()
}

// over reports whether the journal has more bytes than it may.
func (j *journal) over() bool { return j.log.Size() > j.limit }

func (j *journal) rewrite() error {
	err := j.log.Rewrite(func(emit func([]byte) error) error {
		return j.snapshot(func(r *record) error {
			b, err := r.encode()
			if err != nil {
				return err
			}
			return emit(b)
		})
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.compacted = j.log.Size()
	return nil
}

// fatal reports whether the journal cannot be used any more.
func fatal(err error) bool { return errors.Is(err, wal.ErrClosed) }

// bootID returns the kernel's name for this boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < 36 {
		return "unknown"
	}
	return string(b[:36])
}
