package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// asides are the jobs that their shard's owner cannot plan: they are set aside, and the
// others fire as if they were not there. A record in etcd tells people of each, and why;
// nothing is decided by it. The owner writes and removes it with its commits.
type asides struct {
	// stored returns the record of a job that is stored.
	stored func(job.Key) (etcdkv.Aside, bool)
	now    func() int64
	log    *zap.Logger
	// jobs is the node's count, count this shard's share of it.
	jobs  prometheus.Gauge
	count int

	// reasons are what records say of jobs that are or were set aside, untold are
	// the records that the next commits write.
	reasons map[job.Key]string
	untold  map[job.Key]etcdkv.Aside
}

// noteAside sees to it that the record of a job says whether it is set aside.
func (s *shard) noteAside(e *entry) { s.asides.note(e.key, e.uid, e.SetAside(&s.look)) }

// note sees to it that the record of a job says why it is set aside; empty: it is not.
// The UID of a job that cannot be read is zero.
func (a *asides) note(key job.Key, uid job.UID, why string) {
	now, told := a.reasons[key]
	if !told {
		if stored, ok := a.stored(key); ok && (why == "" || stored.Job == uid) {
			now = stored.Reason
		}
	}
	if now == why {
		return
	}
	if why != "" {
		a.log.Error("job is set aside", zap.Stringer("job", key), zap.String("reason", why))
	}
	if a.reasons == nil {
		a.reasons = map[job.Key]string{}
	}
	a.reasons[key] = why
	if a.untold == nil {
		a.untold = map[job.Key]etcdkv.Aside{}
	}
	a.untold[key] = etcdkv.Aside{Schema: etcdkv.Schema, Namespace: key.Namespace, Name: key.Name, Job: uid, Reason: why, Since: time.Unix(0, a.now()).UTC()}
	a.measure()
}

// measure sets this shard's share of the metric.
func (a *asides) measure() {
	n := 0
	for _, why := range a.reasons {
		if why != "" {
			n++
		}
	}
	a.jobs.Add(float64(n - a.count))
	a.count = n
}

// any reports whether there is something to write.
func (a *asides) any() bool { return len(a.untold) > 0 }

// gather adds to a commit what has become of jobs that are set aside.
func (a *asides) gather(w *write, keys etcdkv.Keys) error {
	for name, aside := range a.untold {
		if w.size() >= maxOps {
			break
		}
		delete(a.untold, name)
		key := keys.Aside(name)
		if aside.Reason == "" {
			w.ops = append(w.ops, clientv3.OpDelete(key))
			continue
		}
		text, err := etcdkv.Encode(aside)
		if err != nil {
			return err
		}
		w.ops = append(w.ops, clientv3.OpPut(key, text))
	}
	return nil
}
