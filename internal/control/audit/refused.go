package audit

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

const (
	// refusedEvery is how often what one caller is refused is recorded: the first time
	// at once, then how often it was since.
	refusedEvery = time.Minute
	// maxRefused bounds the callers that are told apart at a time: those that are known,
	// and the addresses of others. What more there are count as one.
	maxRefused = 50
	// maxRefusedText bounds what a record of a refusal repeats.
	maxRefusedText = 256
)

// ActionRefused is the action of the record of an attempt that was refused; its object
// is what was tried.
const ActionRefused = "refused"

// Refusals records attempts that were refused. Use NewRefusals; Run writes the records.
// It may be used by many goroutines at once.
type Refusals struct {
	log *Log
	// every is refusedEvery, but in tests.
	every time.Duration
	wake  chan struct{}

	mu sync.Mutex
	// mu guards all below.
	callers map[refusedBy]*refused
}

// refusedBy tells callers apart.
type refusedBy struct{ by, from string }

// others are the callers that are not told apart.
var others = refusedBy{by: "others"}

// refused is what a caller was refused.
type refused struct {
	// last is what the caller was refused last, count how often since the last record.
	last  etcdkv.Audit
	count int64
	// next is when it is recorded again; zero: now.
	next time.Time
}

// NewRefusals returns Refusals that are recorded in log.
func NewRefusals(log *Log) *Refusals {
	return &Refusals{log: log, every: refusedEvery, wake: make(chan struct{}, 1), callers: map[refusedBy]*refused{}}
}

// Refused notes that whoever ctx is of was refused what it tried: an action on an
// object, and why. It does not block, and writes nothing itself: one record tells of all
// attempts of a caller within a minute, with how many they were.
func (r *Refusals) Refused(ctx context.Context, action, object, why string) {
	rec := r.log.Record(ctx, ActionRefused, short(action+" "+object), api.Order{})
	rec.Reason = short(why)
	who := refusedBy{rec.By, rec.From}
	if c, asked := caller.From(ctx); asked && !c.Known() {
		who.by = "" // whatever name each request gives itself
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.callers[who]
	if c == nil && len(r.callers) >= maxRefused {
		who = others
		c = r.callers[who]
		rec.By, rec.From, rec.Request = others.by, "", ""
	}
	if c == nil {
		c = &refused{}
		r.callers[who] = c
	}
	c.last = rec
	c.count++
	if !c.next.IsZero() {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func short(text string) string {
	if len(text) > maxRefusedText {
		return text[:maxRefusedText] + "..."
	}
	return text
}

// RecordRefusals writes records of what was refused until ctx ends, and then of what is
// left.
func (r *Refusals) RecordRefusals(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-tick.C:
		}
		r.write(ctx, r.log.db.Now())
	}
	r.write(ctx, time.Time{})
	return nil
}

// write records what is due by now; zero: all. What it has taken is written also when ctx
// ends meanwhile: nobody else knows of it.
func (r *Refusals) write(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.log.db.Timeout)
	defer cancel()
	for _, rec := range r.due(now) {
		var d store.Txn
		err := r.log.Add(&d, rec)
		if err == nil {
			_, err = r.log.db.Commit(ctx, "record a refusal", &d)
		}
		if err != nil {
			r.log.log.Warn("an attempt that was refused is not recorded", zap.Error(err),
				zap.String("by", rec.By), zap.String("from", rec.From), zap.String("what", rec.Object), zap.Int64("times", max(rec.Count, 1)))
		}
	}
}

// due takes what is to be recorded, and forgets callers of whom nothing is.
func (r *Refusals) due(now time.Time) []etcdkv.Audit {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []etcdkv.Audit
	for who, c := range r.callers {
		if !now.IsZero() && now.Before(c.next) {
			continue
		}
		if c.count == 0 {
			delete(r.callers, who)
			continue
		}
		if c.count > 1 {
			c.last.Count = c.count
		}
		out = append(out, c.last)
		c.count, c.next = 0, now.Add(r.every)
	}
	return out
}
