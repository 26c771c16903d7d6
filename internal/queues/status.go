package queues

import (
	"cmp"
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// The bounds of what a dispatcher tells of its queue.
const (
	tellEvery  = 2 * time.Second
	tellOldest = 30 * time.Second // as a sign of life
	maxWorkers = 500
	maxBusy    = 50
)

// toldStatus is what was told last.
type toldStatus struct {
	at      time.Time
	text    string
	writing bool
}

// rates counts what has ended, by the second, over the last minute.
type rates struct {
	begun        time.Time
	done, failed [rateSeconds]int
	last         int64
}

const rateSeconds = 60

func (r *rates) turn(now time.Time) int {
	if r.begun.IsZero() {
		r.begun, r.last = now, now.Unix()
	}
	sec := now.Unix()
	for s := max(r.last+1, sec-rateSeconds+1); s <= sec; s++ {
		r.done[s%rateSeconds], r.failed[s%rateSeconds] = 0, 0
	}
	r.last = max(r.last, sec)
	return int(sec % rateSeconds)
}

func (r *rates) count(done bool) {
	i := r.turn(time.Now())
	if done {
		r.done[i]++
	} else {
		r.failed[i]++
	}
}

func (r *rates) perSecond(now time.Time) (done, failed float64) {
	r.turn(now)
	over := min(max(now.Sub(r.begun).Seconds(), 1), rateSeconds)
	for i := range r.done {
		done += float64(r.done[i])
		failed += float64(r.failed[i])
	}
	return done / over, failed / over
}

// tell writes how the queue is, for all nodes to show, if that has changed.
func (r *runner) tell(now time.Time) {
	waiting, delayed, oldest := r.q.Depth()
	r.m.met.waiting.Add(float64(waiting - r.waiting))
	r.waiting = waiting
	if r.told.writing || now.Sub(r.told.at) < tellEvery {
		return
	}
	s := etcdkv.QueueStatus{Schema: etcdkv.Schema, Node: string(r.m.cfg.Node), OldestPutAt: oldest, Delayed: delayed}
	s.DoneRate, s.FailedRate = r.rates.perSecond(now)
	busy := map[job.MinionID][]etcdkv.QueueBusy{}
	for _, t := range r.tasks {
		busy[t.Worker] = append(busy[t.Worker], etcdkv.QueueBusy{
			ID: t.ID, Attempt: t.Attempt, RunID: string(t.id.Fire.RunID()), Since: t.Since, StartedAt: t.startedAt, HeardAt: t.heardAt, Progress: t.progress,
		})
	}
	for id, w := range r.workers {
		v := etcdkv.QueueWorker{Minion: string(id), Places: w.places, Trouble: w.trouble, Items: busy[id]}
		if a, away := r.m.deps.Minions.Absence(id); away {
			v.Away = a.Since
		}
		slices.SortFunc(v.Items, func(a, b etcdkv.QueueBusy) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
		if over := len(v.Items) - maxBusy; over > 0 {
			v.Items, v.LeftOut = v.Items[:maxBusy], over
		}
		s.Workers = append(s.Workers, v)
	}
	slices.SortFunc(s.Workers, func(a, b etcdkv.QueueWorker) int { return cmp.Compare(a.Minion, b.Minion) })
	if over := len(s.Workers) - maxWorkers; over > 0 {
		s.Workers, s.LeftOut = s.Workers[:maxWorkers], over
	}
	text, err := etcdkv.Encode(s)
	if err != nil || text == r.told.text && now.Sub(r.told.at) < tellOldest {
		return
	}
	s.At = r.m.deps.Now().UTC()
	value, err := etcdkv.Encode(s)
	if err != nil {
		return
	}
	r.told = toldStatus{at: now, text: text, writing: true}
	key := r.m.cfg.Keys.QueueStatus(r.key)
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
		defer cancel()
		there := clientv3.Compare(clientv3.CreateRevision(r.m.cfg.Keys.QueueType(r.key)), ">", 0)
		_, err := r.m.deps.Client.Txn(ctx).If(r.fence.Fence(), there).Then(clientv3.OpPut(key, value)).Commit()
		if err != nil && r.ctx.Err() == nil {
			r.log.Debug("status not written", zap.Error(err))
		}
		r.do(func() { r.told.writing = false })
	})
}
