package worker

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// fetchAgain is how long an answer to a fetch is awaited.
const fetchAgain = 5 * time.Second

// texts are the scripts that orders name by their hash and that the minion has
// asked its node for. A task waits with its intent written: it was not handed to
// the shim. The minion's mutex guards it.
type texts struct {
	// asked is when a text was asked for last, on this session; zero: not yet.
	asked map[string]time.Time
	// parked are the tasks that wait, by one of the texts that they lack.
	parked map[string][]*entry
}

// park has a task wait for the texts that its order lacks. One may have come since
// that was looked for: who takes it has what waits for it go on, and asks for no other.
func (m *Minion) park(e *entry, o *job.Order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := m.scripts.missing(o)
	if len(sums) == 0 {
		m.ready = append(m.ready, e)
		notify(m.startWake)
		return
	}
	t := &m.texts
	if t.asked == nil {
		t.asked, t.parked = map[string]time.Time{}, map[string][]*entry{}
	}
	for _, sum := range sums {
		if _, ok := t.asked[sum]; !ok {
			t.asked[sum] = time.Time{}
		}
	}
	if first := sums[0]; !slices.Contains(t.parked[first], e) {
		t.parked[first] = append(t.parked[first], e)
	}
	notify(m.out.wake)
}

// toFetch returns the texts that are to be asked for now: no more are awaited than
// a node takes at a time. The caller holds mu.
func (t *texts) toFetch(now time.Time) []string {
	var sums []string
	for sum, at := range t.asked {
		if now.Sub(at) >= fetchAgain {
			sums = append(sums, sum)
		}
	}
	slices.Sort(sums)
	awaited := len(t.asked) - len(sums)
	sums = sums[:min(len(sums), max(agentpb.MaxFetch-awaited, 0))]
	for _, sum := range sums {
		t.asked[sum] = now
	}
	return sums
}

// anew has everything asked for again: the session is another one.
func (t *texts) anew() {
	for sum := range t.asked {
		t.asked[sum] = time.Time{}
	}
}

// tellFetch asks the node for texts.
func (s *session) tellFetch() error {
	s.m.mu.Lock()
	sums := s.m.texts.toFetch(time.Now())
	s.m.mu.Unlock()
	if len(sums) == 0 {
		return nil
	}
	return s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: sums}}})
}

// arrived takes a text, or the word that there is none: the tasks that wait for it
// go on, or are refused.
func (m *Minion) arrived(w *agentpb.Text) {
	sum := w.GetSha256()
	m.mu.Lock()
	_, wanted := m.texts.asked[sum]
	m.mu.Unlock()
	if !wanted {
		return
	}
	why := w.GetError()
	if why == "" {
		if job.ScriptSum(w.GetText()) != sum {
			m.log.Warn("a text is not what its hash says; it is asked for again", zap.String("sha256", sum))
			return
		}
		if err := m.scripts.keep(w.GetText()); err != nil {
			why = err.Error()
		}
	}
	m.mu.Lock()
	list := m.texts.parked[sum]
	delete(m.texts.asked, sum)
	delete(m.texts.parked, sum)
	var refused []*job.Report
	if why == "" {
		m.ready = append(m.ready, list...)
	} else {
		for _, e := range list {
			refused = append(refused, m.withoutText(e, sum, why))
		}
	}
	notify(m.out.wake) // there is room to ask for others
	m.mu.Unlock()
	m.settle(refused)
	notify(m.startWake)
}

// withoutText refuses a task whose script cannot be had.
func (m *Minion) withoutText(e *entry, sum, why string) *job.Report {
	return &job.Report{
		Task: e.key.id(m.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
		Reason: fmt.Sprintf("the text of script %.12s cannot be had: %s", sum, why), EndedAt: time.Now().UTC(), Spooled: true,
	}
}

// expireTexts refuses tasks that have waited for a text beyond the time at which
// they might be delivered, and has texts asked for again.
func (m *Minion) expireTexts() {
	m.mu.Lock()
	now := m.clock.now()
	var late []*job.Report
	for sum, list := range m.texts.parked {
		m.texts.parked[sum] = slices.DeleteFunc(list, func(e *entry) bool {
			gone := e.settling != nil || e.final != nil || e.order == nil
			over := !gone && !e.order.NotAfter.IsZero() && now.After(e.order.NotAfter)
			if over {
				late = append(late, m.withoutText(e, sum, "no node has given it in time"))
			}
			return gone || over
		})
		if len(m.texts.parked[sum]) == 0 {
			delete(m.texts.parked, sum)
		}
	}
	if len(m.texts.parked) == 0 {
		clear(m.texts.asked)
	} else {
		notify(m.out.wake)
	}
	m.mu.Unlock()
	m.settle(late)
}
