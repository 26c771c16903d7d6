package scheduler

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A job that its shard's owner cannot plan is set aside: the others fire as if it
// were not there. A record in etcd tells people of it, and why; nothing is decided
// by it. The owner writes and removes it with its commits.

// tellAside sees to it that the record of a job says whether it is set aside.
func (s *shard) tellAside(e *entry) {
	s.tellAsideOf(e.key, e.uid, e.SetAside(&s.look))
}

// tellAsideOf is tellAside for a job that may not be readable. Its UID is zero
// then.
func (s *shard) tellAsideOf(key job.Key, uid job.UID, why string) {
	now, told := s.asides[key]
	if !told {
		if stored, ok := s.deps.Cluster.Aside(key); ok && (why == "" || stored.Job == uid) {
			now = stored.Reason
		}
	}
	if now == why {
		return
	}
	if why != "" {
		s.log.Error("job is set aside", zap.Stringer("job", key), zap.String("reason", why))
	}
	if s.asides == nil {
		s.asides = map[job.Key]string{}
	}
	s.asides[key] = why
	if s.untold == nil {
		s.untold = map[job.Key]etcdkv.Aside{}
	}
	s.untold[key] = etcdkv.Aside{Schema: etcdkv.Schema, Namespace: key.Namespace, Name: key.Name, Job: uid, Reason: why, Since: time.Unix(0, s.deps.now()).UTC()}
	s.countAsides()
}

// countAsides sets this shard's share of the metric.
func (s *shard) countAsides() {
	n := 0
	for _, why := range s.asides {
		if why != "" {
			n++
		}
	}
	s.met.aside.Add(float64(n - s.asideCount))
	s.asideCount = n
}

// gatherAsides adds to a commit what has become of jobs that are set aside.
func (s *shard) gatherAsides(w *write) error {
	for name, a := range s.untold {
		if w.size() >= maxOps {
			break
		}
		delete(s.untold, name)
		key := s.cfg.Keys.Aside(name)
		if a.Reason == "" {
			w.ops = append(w.ops, clientv3.OpDelete(key))
			continue
		}
		text, err := etcdkv.Encode(a)
		if err != nil {
			return err
		}
		w.ops = append(w.ops, clientv3.OpPut(key, text))
	}
	return nil
}
