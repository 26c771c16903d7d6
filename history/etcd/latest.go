package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// outcomes are how the latest runs of jobs ended, as far as segments were looked at. They
// cost a look at each segment once, by whoever asks first after it was written.
type outcomes struct {
	// building is held by who looks at segments.
	building sync.Mutex
	// seen are the segments that were looked at, by their keys.
	seen map[string]int64
	// built is of how many jobs there was something when all was looked at anew.
	built int

	// mu guards what follows.
	mu sync.RWMutex
	of map[job.UID][]outcome
}

type outcome struct {
	history.Outcome

	rev int64
}

// leftover is how many jobs more than were there at first may be remembered before all is
// looked at anew: what was told of deleted jobs goes with it.
const leftover = 20_000

// Latest implements history.Knowing.
func (s *Store) Latest(ctx context.Context) (history.Latest, error) {
	o := &s.outcomes
	o.building.Lock()
	defer o.building.Unlock()
	if err := s.read(ctx, s.cfg.Keys.Runs(), func(l listing) error { return s.look(ctx, l) }); err != nil {
		return nil, fmt.Errorf("latest runs: %w", err)
	}
	return o.latest, nil
}

func (o *outcomes) latest(uid job.UID) []history.Outcome {
	o.mu.RLock()
	defer o.mu.RUnlock()
	had := o.of[uid]
	out := make([]history.Outcome, len(had))
	for i := range had {
		out[i] = had[i].Outcome
	}
	return out
}

// look looks at the segments of a listing that were not looked at before; building is held.
func (s *Store) look(ctx context.Context, l listing) error {
	o := &s.outcomes
	o.mu.Lock()
	anew := o.of == nil || len(o.of) > 2*o.built+leftover
	if anew {
		o.of, o.seen = map[job.UID][]outcome{}, map[string]int64{}
	}
	o.mu.Unlock()
	there := make(map[string]int64, len(l.segments))
	var fresh []*segment
	for _, seg := range l.segments {
		if rev, ok := o.seen[seg.key]; ok && rev == seg.modRev {
			there[seg.key] = rev
			continue
		}
		fresh = append(fresh, seg)
	}
	for len(fresh) > 0 {
		n := openable(fresh)
		if err := s.open(ctx, fresh[:n], l.rev, false); err != nil {
			return err
		}
		for _, seg := range fresh[:n] {
			if err := s.note(ctx, seg); err != nil {
				return err
			}
			o.seen[seg.key], there[seg.key] = seg.modRev, seg.modRev
			seg.records = nil
		}
		fresh = fresh[n:]
	}
	o.seen = there
	if anew {
		o.built = len(o.of)
	}
	return nil
}

// note takes what a segment tells.
func (s *Store) note(ctx context.Context, seg *segment) error {
	var doubts []job.RunID
	s.outcomes.mu.Lock()
	for i := range seg.records {
		w := walk{seg: seg, i: i}
		if !s.outcomes.add(w.record(), w.rev()) {
			doubts = append(doubts, w.record().ID)
		}
	}
	s.outcomes.mu.Unlock()
	for _, id := range doubts { // two records of one run: H2 says which counts
		run, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		s.outcomes.settle(&run)
	}
	return nil
}

// add takes a record; false: there is another one of its run, which may count instead. mu
// must be held.
func (o *outcomes) add(r *etcdkv.SegmentRecord, rev int64) bool {
	had := o.of[r.Job]
	at := history.Position{At: r.At, ID: r.ID}
	i, found := slices.BinarySearchFunc(had, at, func(h outcome, at history.Position) int {
		return history.Position{At: h.At, ID: h.ID}.Compare(at)
	})
	switch {
	case found:
		return had[i].rev == rev || had[i].State == r.State
	case i == history.KeptOutcomes:
		return true
	}
	// The record's texts are parts of a long one, which must not be kept for them.
	one := outcome{history.Outcome{ID: job.RunID(strings.Clone(string(r.ID))), At: r.At, State: known(r.State)}, rev}
	if had = slices.Insert(had, i, one); len(had) > history.KeptOutcomes {
		had = had[:history.KeptOutcomes]
	}
	o.of[r.Job] = had
	return true
}

// settle takes the record that counts of a run.
func (o *outcomes) settle(r *job.Run) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, had := range o.of[r.FireID.Job] {
		if had.ID == r.RunID {
			o.of[r.FireID.Job][i].State = r.State
		}
	}
}

// known returns a state whose text is the one that all share.
func known(s job.State) job.State {
	states := job.States()
	if i := slices.Index(states, s); i >= 0 {
		return states[i]
	}
	return job.State(strings.Clone(string(s)))
}
