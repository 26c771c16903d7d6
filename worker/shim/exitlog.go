package shim

import (
	"encoding/json"
	"sync"

	"github.com/carillon-cron/carillon/worker/wal"
)

// rewriteAt is the size from which the log is rewritten without the records
// that were forgotten.
const rewriteAt = 1 << 20

// exitLog keeps exit records on disk until they are forgotten.
type exitLog struct {
	log *wal.Log

	mu sync.Mutex
	// mu guards kept, and orders appends against rewrites.
	kept map[string]Ended
}

func openExitLog(path string) (*exitLog, wal.Opened, error) {
	x := &exitLog{kept: map[string]Ended{}}
	var unread int64
	log, info, err := wal.Open(path, func(p []byte) error {
		var e Ended
		if err := json.Unmarshal(p, &e); err != nil {
			unread += int64(len(p)) // the sum was right, so another release wrote it
			return nil              // counted
		}
		x.kept[e.Key] = e
		return nil
	})
	x.log = log
	info.Damaged += unread
	return x, info, err
}

// add makes the record durable.
func (x *exitLog) add(e Ended) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.kept[e.Key] = e
	batch, err := x.log.Append(body)
	x.mu.Unlock()
	if err != nil {
		return err
	}
	return x.log.Sync(batch)
}

// forget drops records. They leave the disk with the next rewrite.
func (x *exitLog) forget(keys []string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range keys {
		delete(x.kept, k)
	}
	if x.log.Size() < rewriteAt {
		return nil
	}
	return x.rewrite()
}

// rewrite writes the log anew, with what is kept. The caller holds mu.
func (x *exitLog) rewrite() error {
	return x.log.Rewrite(func(emit func([]byte) error) error {
		for _, e := range x.kept {
			body, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := emit(body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *exitLog) close() error { return x.log.Close() }
