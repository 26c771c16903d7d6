package sharing

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// scope is a run or a job while something is asked of it.
type scope struct {
	s   *Service
	key string

	mu sync.Mutex
	// mu guards what follows: who uses it, and since when nobody has.
	users int
	idle  time.Time
	// run is the fire of a scope of a run, and stored: there may be a value to remove.
	run    runScope
	stored bool
	// waiting is what the next round does; running: there is a round.
	waiting []*step
	running bool
	written time.Time
	// changed is closed when the value has been written.
	changed chan struct{}
	// barriers are those that tasks wait at, rates bound what each task asks for.
	barriers map[string]*barrier
	rates    map[job.TaskID]*rate.Limiter
}

// runScope is which run it is; zero: it is one of a job.
type runScope struct {
	shard job.ShardID
	fire  job.FireID
}

// step is what is done to the value of a scope.
type step struct {
	fence Fence
	do    func(*value) shared.Answer
	// answer has one place.
	answer chan shared.Answer
}

// do has something done to the value in the next round, and returns the answer.
func (sc *scope) do(ctx context.Context, f Fence, do func(*value) shared.Answer) shared.Answer {
	st := &step{f, do, make(chan shared.Answer, 1)}
	sc.mu.Lock()
	sc.waiting = append(sc.waiting, st)
	begin := !sc.running
	sc.running = true
	sc.mu.Unlock()
	if begin && !sc.s.spawn(sc.rounds) {
		sc.stopped()
	}
	select {
	case a := <-st.answer:
		return a
	case <-ctx.Done():
	}
	select { // it may just have been done
	case a := <-st.answer:
		return a
	default:
		return shared.Answer{Code: shared.CodeUnsure, Reason: "nobody has waited for the end of it"}
	}
}

// stopped tells all that wait for a round that there is none any more.
func (sc *scope) stopped() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	for _, st := range sc.waiting {
		st.answer <- unavailable("the node stops")
	}
	sc.waiting, sc.running = nil, false
}

func unavailable(why string) shared.Answer {
	return shared.Answer{Code: shared.CodeUnavailable, Reason: why}
}

// rounds does rounds until nothing waits.
func (sc *scope) rounds() {
	for {
		sc.mu.Lock()
		if len(sc.waiting) == 0 {
			sc.running = false
			sc.mu.Unlock()
			return
		}
		n := 1
		for n < len(sc.waiting) && sc.waiting[n].fence == sc.waiting[0].fence {
			n++
		}
		steps := sc.waiting[:n:n]
		sc.waiting = sc.waiting[n:]
		pause := sc.s.every - time.Since(sc.written)
		sc.mu.Unlock()
		select {
		case <-time.After(pause): // H7; at once, if it is over
		case <-sc.s.ctx.Done():
		}
		sc.s.rounds <- struct{}{}
		answers := sc.round(steps)
		<-sc.s.rounds
		for i, st := range steps {
			st.answer <- answers[i]
		}
	}
}

// tries is how often a round begins anew, as somebody else has written the value.
const tries = 5

// round does steps to the value, and returns the answers to them.
func (sc *scope) round(steps []*step) []shared.Answer {
	all := func(a shared.Answer) []shared.Answer {
		answers := make([]shared.Answer, len(steps))
		for i := range answers {
			answers[i] = a
		}
		return answers
	}
	for range tries {
		v, raw, rev, err := sc.read()
		if err != nil {
			sc.s.log.Warn("what tasks share cannot be read", zap.String("key", sc.key), zap.Error(err))
			return all(unavailable("the cluster's store does not answer"))
		}
		answers := make([]shared.Answer, len(steps))
		writes := make([]bool, len(steps))
		changed := false
		for i, st := range steps {
			version := v.Version
			v.marked = false
			answers[i] = st.do(v)
			writes[i] = v.marked || v.Version != version
			changed = changed || writes[i]
		}
		if !changed {
			return answers
		}
		v.Schema, v.Write = etcdkv.Schema, rand.Text()
		err = sc.write(steps[0].fence, v, raw, rev)
		switch {
		case err == nil:
			sc.wrote()
			return answers
		case errors.Is(err, ErrChanged):
			continue
		case errors.Is(err, ErrFenced):
			if steps[0].fence.Job != (job.Key{}) {
				return all(unavailable("the run's node has just been replaced, or its job deleted or moved"))
			}
			return all(unavailable("the run's node has just been replaced"))
		}
		sc.s.log.Warn("it is not known whether what tasks share was written", zap.String("key", sc.key), zap.Error(err))
		for i := range answers {
			if writes[i] {
				answers[i] = shared.Answer{Code: shared.CodeUnsure, Reason: "the cluster's store has not answered"}
			} else if changed {
				answers[i] = unavailable("the cluster's store does not answer")
			}
		}
		return answers
	}
	return all(unavailable("others write it all the time"))
}

// storeTimeout bounds one call of the store.
const storeTimeout = 3 * time.Second

func (sc *scope) read() (*value, []byte, int64, error) {
	ctx, cancel := context.WithTimeout(sc.s.ctx, storeTimeout)
	defer cancel()
	raw, rev, err := sc.s.deps.Store.Read(ctx, sc.key)
	v := &value{}
	if err == nil && rev != 0 {
		v.SharedState, err = etcdkv.Decode[etcdkv.SharedState](sc.key, raw)
	}
	return v, raw, rev, err
}

// write writes the value. After an answer that was lost it looks whether it is there.
func (sc *scope) write(f Fence, v *value, raw []byte, rev int64) error {
	text, err := etcdkv.MergeUnknown(raw, v.SharedState)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(sc.s.ctx, storeTimeout)
	defer cancel()
	err = sc.s.deps.Store.Write(ctx, f, sc.key, rev, text)
	if err == nil || errors.Is(err, ErrChanged) || errors.Is(err, ErrFenced) {
		return err
	}
	now, _, _, err2 := sc.read()
	if err2 == nil && now.Write == v.Write {
		return nil
	}
	return errors.Join(err, err2)
}

// wrote wakes who waits for a change.
func (sc *scope) wrote() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.written, sc.stored = time.Now(), true
	close(sc.changed)
	sc.changed = make(chan struct{})
}

// next is closed when the value is written next.
func (sc *scope) next() <-chan struct{} {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.changed
}

// allow has a task wait for its turn (H7). It reports false when that is too far away.
func (sc *scope) allow(ctx context.Context, task job.TaskID) bool {
	sc.mu.Lock()
	l := sc.rates[task]
	if l == nil {
		l = rate.NewLimiter(Rate, Burst)
		sc.rates[task] = l
	}
	sc.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	return l.Wait(ctx) == nil
}

// watch waits until an entry has another version than the request says.
func (sc *scope) watch(ctx context.Context, f Fence, r *shared.Request) shared.Answer {
	for {
		changed := sc.next()
		a := sc.do(ctx, f, func(v *value) shared.Answer { return v.Do(r) })
		if a.Code == shared.CodeUnsure && ctx.Err() != nil { // it was only read
			a = shared.Answer{Code: shared.CodeAgain}
		}
		if a.Code != shared.CodeAgain {
			return a
		}
		select {
		case <-changed:
		case <-time.After(lookEvery): // another owner may have written what is a job's
		case <-ctx.Done():
			return a
		}
	}
}
