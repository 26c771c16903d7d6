package cluster

import (
	"sync/atomic"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Secrets are the cluster's secrets, sealed.
type Secrets map[job.Key]*job.Secret

// secrets are the secrets that the cluster keeps; index is made anew at every change.
type secrets struct {
	wake   func()
	stored *etcdkv.Map[etcdkv.StoredSecret]
	index  atomic.Pointer[Secrets]
}

func (l *secrets) follow(f *feed, keys etcdkv.Keys) {
	l.wake = f.Wake
	l.index.Store(&Secrets{})
	l.stored = follow(f, keys.JobSecrets(), etcdkv.Decode[etcdkv.StoredSecret], l.onSecrets)
}

func (l *secrets) onSecrets() {
	entries, _ := l.stored.Snapshot()
	made := make(Secrets, len(entries))
	for _, e := range entries {
		s := &e.Value.Secret
		made[s.Key()] = s
	}
	l.index.Store(&made)
	l.wake()
}

// Secrets returns the cluster's secrets.
func (l *secrets) Secrets() Secrets { return *l.index.Load() }

// Find is a job.SecretFinder.
func (s Secrets) Find(key job.Key) (*job.Secret, bool) {
	found, ok := s[key]
	return found, ok
}
