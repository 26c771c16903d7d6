package registrar

import (
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// revocations is up to which instant of issue each minion's certificates are
// revoked.
type revocations struct {
	prefix string
	log    *zap.Logger

	mu sync.RWMutex
	// mu guards what follows.

	before map[job.MinionID]time.Time
	fns    []func(job.MinionID)
}

func newRevocations(prefix string, log *zap.Logger) *revocations {
	return &revocations{prefix: prefix, log: log, before: map[job.MinionID]time.Time{}}
}

// Revoked implements auth.Revocations.
func (r *revocations) Revoked(i auth.Identity) bool {
	id, ok := i.Minion()
	if !ok {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	before, ok := r.before[id]
	return ok && !i.IssuedAt.After(before)
}

func (r *revocations) onRaise(fn func(job.MinionID)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fns = append(r.fns, fn)
}

// raise notes a revocation and tells of it, unless it is known.
func (r *revocations) raise(id job.MinionID, before time.Time) {
	r.mu.Lock()
	if was, ok := r.before[id]; ok && !before.After(was) {
		r.mu.Unlock()
		return
	}
	r.before[id] = before
	fns := r.fns
	r.mu.Unlock()
	for _, fn := range fns {
		fn(id)
	}
}

// apply follows what is stored. A revocation that cannot be read revokes all
// that the minion has: it is safer to refuse too much.
func (r *revocations) apply(b etcdkv.Batch) error {
	seen := map[job.MinionID]bool{}
	for _, e := range b.Events {
		id := job.MinionID(strings.TrimPrefix(e.Key, r.prefix))
		if e.Value == nil {
			r.drop(func(k job.MinionID) bool { return k == id })
			continue
		}
		seen[id] = true
		rec, err := etcdkv.Decode[etcdkv.Revocation](e.Key, e.Value)
		if err != nil {
			r.log.Error("a revocation cannot be read; the minion is refused until it is removed or repaired", zap.Error(err))
			rec.Before = forever
		}
		r.raise(id, rec.Before)
	}
	if b.Relist {
		r.drop(func(k job.MinionID) bool { return !seen[k] })
	}
	return nil
}

func (r *revocations) drop(gone func(job.MinionID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.before {
		if gone(id) {
			delete(r.before, id)
		}
	}
}

var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
