package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// orderFor returns an order of an attempt of its own.
func orderFor(n int) *job.Order {
	return &job.Order{Task: job.TaskID{Fire: job.FireID{At: int64(n), Trigger: job.TriggerSchedule}, Minion: "m", Attempt: 1}}
}

// BenchmarkWaiting: what is done to one task costs the same for 1 and for 100,000
// that wait, are open, or are remembered.
func BenchmarkWaiting(b *testing.B) {
	now := time.Now()
	for name, begin := range map[string]func(waiting int) func(i int){
		"turn": func(waiting int) func(int) {
			pl := &places{renewals: renewals{asked: map[taskKey]time.Time{}}}
			for i := range waiting {
				pl.renewals.ask(keyOf(orderFor(i).Task), now.Add(time.Hour))
				pl.waiting.push(&entry{})
			}
			return func(int) {
				e := pl.first()
				pl.dropFirst()
				pl.waiting.putBack(e)
			}
		},
		"resend": func(waiting int) func(int) {
			l, o := newTaskTable(), newOutbox()
			for i := range waiting {
				l.accept(orderFor(i))
			}
			return func(int) { o.resend(l, now) }
		},
		"forget": func(waiting int) func(int) {
			l := newTaskTable()
			for i := range waiting {
				l.remember(keyOf(orderFor(i).Task), past{AckedAt: now.UnixNano()})
			}
			return func(int) { l.expire(now, time.Hour) }
		},
		"park": func(waiting int) func(int) {
			var t texts
			park := func(i int) *entry {
				e := &entry{order: orderFor(i)}
				e.order.NotAfter = now.Add(time.Hour)
				t.park(e, []string{"sum"})
				return e
			}
			for i := range waiting {
				park(i)
			}
			t.toFetch(now)
			return func(i int) {
				e := park(i)
				t.leave(e)
				t.over(now)
				t.toFetch(now)
			}
		},
	} {
		for _, waiting := range []int{1, 100_000} {
			b.Run(fmt.Sprintf("%s/waiting=%d", name, waiting), func(b *testing.B) {
				step := begin(waiting)
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					step(i)
				}
			})
		}
	}
}
