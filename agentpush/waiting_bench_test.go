package agentpush

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// BenchmarkTopic: an order that comes to a topic in which others wait costs the
// same for 1 and for 100,000 of them, whatever becomes of it. The worst case is
// each time what waits before the message that is looked for: cancels, which make
// room last.
func BenchmarkTopic(b *testing.B) {
	for _, waiting := range []int{1, 100_000} {
		for name, c := range map[string]struct {
			// depth is beyond what waits; unsure: the messages have been offered once.
			depth  int
			unsure bool
			step   func(t *topic, m *message)
		}{
			"push-full":       {depth: waiting + 1, step: func(t *topic, m *message) { t.push(m) }},
			"push-full-again": {depth: waiting + 1, unsure: true, step: func(t *topic, m *message) { t.push(m) }},
			"expire": {depth: waiting + 2, step: func(t *topic, m *message) {
				m.until = 1
				t.push(m)
				t.expire(2)
			}},
			"break": {depth: waiting + 2, unsure: true, step: func(t *topic, m *message) {
				t.restore([]*message{m})
				t.take(1, 1, 0, 0)
			}},
		} {
			b.Run(fmt.Sprintf("%s/waiting=%d", name, waiting), func(b *testing.B) {
				t := newTopics(c.depth).topic()
				task := &agentpb.TaskID{Job: make([]byte, 16), Minion: "m"}
				for range waiting {
					t.push(&message{body: &agentpb.Cancel{Task: task}, until: 1 << 62, unsure: c.unsure, size: 1})
				}
				var fresh [2]message // one of which waits when the other comes
				body := &agentpb.Order{Task: task}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					m := &fresh[i%2]
					*m = message{body: body, until: 1 << 62, unsure: c.unsure, size: 1}
					c.step(&t, m)
				}
			})
		}
	}
}

// BenchmarkDescriptions: a minion's description that is to be stored costs the same
// for 1 and for 100,000 others that must wait.
func BenchmarkDescriptions(b *testing.B) {
	for _, waiting := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			r := newRegistrar(nil, nil, nil)
			now := time.Now()
			for range describeBurst + 1 {
				for i := range waiting {
					r.put(job.Minion{ID: job.MinionID(fmt.Sprintf("w%d", i))})
				}
				r.due(now)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				now = now.Add(time.Nanosecond)
				r.put(job.Minion{ID: "m"})
				r.due(now)
				delete(r.may, "m")
			}
		})
	}
}
