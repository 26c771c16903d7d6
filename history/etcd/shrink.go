package etcd

import (
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// shrunkOutput is how many bytes of each stream stay when a record is too large.
const shrunkOutput = 256

// record makes the record of a run. One that would not fit into a value loses
// output, then tasks: those that succeeded first.
func (s *Store) record(r *job.Run) (etcdkv.SegmentRecord, error) {
	rec, err := etcdkv.NewSegmentRecord(r)
	if err != nil || s.fits(&rec) {
		return rec, err
	}
	small := *r
	small.Tasks = slices.Clone(r.Tasks)
	small.Attempts, small.AttemptsLeftOut = nil, r.AttemptsLeftOut+len(r.Attempts)
	for _, limit := range []int{shrunkOutput, 0} {
		for i := range small.Tasks {
			t := &small.Tasks[i]
			t.Stdout, t.Stderr = cut(t.Stdout, limit), cut(t.Stderr, limit)
		}
		rec, err = etcdkv.NewSegmentRecord(&small)
		if err != nil || s.fits(&rec) {
			return rec, err
		}
	}
	slices.SortStableFunc(small.Tasks, func(a, b job.Task) int { return rank(a.State) - rank(b.State) })
	if len(small.Reason) > job.MaxOutputPart {
		small.Reason = small.Reason[:job.MaxOutputPart]
	}
	for len(small.Tasks) > 0 {
		small.Tasks = small.Tasks[:len(small.Tasks)/2]
		short := small
		short.Reason = fmt.Sprintf("%s (the record keeps %d of %d tasks: it is too large for history in etcd)",
			small.Reason, len(small.Tasks), len(r.Tasks))
		rec, err = etcdkv.NewSegmentRecord(&short)
		if err != nil || s.fits(&rec) {
			return rec, err
		}
	}
	return rec, nil
}

func (s *Store) fits(rec *etcdkv.SegmentRecord) bool {
	return rec.Size() <= targetBytes || len(s.codec.Encode([]etcdkv.SegmentRecord{*rec})) <= maxValue
}

// rank puts the tasks first that somebody will want to read about.
func rank(st job.State) int {
	if st == job.StateSucceeded {
		return 1
	}
	return 0
}

// cut keeps at most n bytes of an output's head.
func cut(o job.Output, n int) job.Output {
	if len(o.Head) > n || o.Tail != "" {
		o.Head, o.Tail, o.Truncated = o.Head[:min(n, len(o.Head))], "", true
	}
	return o
}
