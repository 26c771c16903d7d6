package worker

import (
	"container/heap"
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
//
// What is done to a text, or to a task that waits for one, costs the same for 1 task
// and for 100,000 that wait.
type texts struct {
	// asked is when a text was asked for last, on this session; zero: not yet.
	asked map[string]time.Time
	// toAsk are texts to ask for, in line; some have come since.
	toAsk []string
	// sent are texts that were asked for, the first one first, some of which have
	// come since; awaited is how many have not.
	sent    []askedText
	awaited int
	// parked are the tasks that wait, by one of the texts that they lack; ends are
	// those that may not wait for ever, some of which do not wait any more.
	parked map[string]*parked
	ends   byNotAfter
}

type askedText struct {
	sum string
	at  time.Time
}

// parked are the tasks that wait for a text: n of those that are listed.
type parked struct {
	tasks []*entry
	n     int
}

// byNotAfter is a heap of tasks; the one whose time is over first is its root.
type byNotAfter []parkedTask

type parkedTask struct {
	e        *entry
	notAfter time.Time
}

func (b byNotAfter) Len() int           { return len(b) }
func (b byNotAfter) Less(i, j int) bool { return b[i].notAfter.Before(b[j].notAfter) }
func (b byNotAfter) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *byNotAfter) Push(x any)        { *b = append(*b, x.(parkedTask)) } // only these are pushed
func (b *byNotAfter) Pop() any {
	old := *b
	x := old[len(old)-1]
	old[len(old)-1] = parkedTask{}
	*b = old[:len(old)-1]
	return x
}

// park has a task wait for the texts that its order lacks. One may have come since
// that was looked for: who takes it has what waits for it go on, and asks for no other.
func (ex *execution) park(e *entry, o *job.Order) {
	t := ex.tasks
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := ex.scripts.missing(o)
	if len(sums) == 0 {
		t.places.ready.push(e)
		notify(t.startWake)
		return
	}
	t.texts.park(e, sums)
	notify(t.out.wake)
}

// park has a task wait for texts. The caller holds mu.
func (t *texts) park(e *entry, sums []string) {
	if t.asked == nil {
		t.asked, t.parked = map[string]time.Time{}, map[string]*parked{}
	}
	for _, sum := range sums {
		if _, ok := t.asked[sum]; !ok {
			t.asked[sum] = time.Time{}
			t.toAsk = append(t.toAsk, sum)
		}
	}
	if e.parkedFor != "" || e.order == nil {
		return // it waits already, or has ended
	}
	e.parkedFor = sums[0]
	p := t.parked[e.parkedFor]
	if p == nil {
		p = &parked{}
		t.parked[e.parkedFor] = p
	}
	p.tasks = append(p.tasks, e)
	p.n++
	if !e.order.NotAfter.IsZero() {
		heap.Push(&t.ends, parkedTask{e, e.order.NotAfter})
	}
}

// leave notes that a task waits no more, if it did. The caller holds mu.
func (t *texts) leave(e *entry) {
	if e.parkedFor == "" {
		return
	}
	if p := t.parked[e.parkedFor]; p != nil {
		if p.n--; p.n == 0 {
			delete(t.parked, e.parkedFor)
		}
	}
	e.parkedFor = ""
}

// come returns the tasks that wait for a text, which is wanted no more. The caller
// holds mu.
func (t *texts) come(sum string) []*entry {
	if at, ok := t.asked[sum]; ok && !at.IsZero() {
		t.awaited--
	}
	delete(t.asked, sum)
	p := t.parked[sum]
	if p == nil {
		return nil
	}
	delete(t.parked, sum)
	list := slices.DeleteFunc(p.tasks, func(e *entry) bool { return e.parkedFor != sum })
	for _, e := range list {
		e.parkedFor = ""
	}
	return list
}

// lateTask is a task, and the text that it has waited for.
type lateTask struct {
	e   *entry
	sum string
}

// over removes and returns the tasks whose time is over by now. The caller holds
// mu.
func (t *texts) over(now time.Time) []lateTask {
	var late []lateTask
	for len(t.ends) > 0 && now.After(t.ends[0].notAfter) {
		x := heap.Pop(&t.ends).(parkedTask) // only these are pushed
		if x.e.parkedFor != "" {
			late = append(late, lateTask{x.e, x.e.parkedFor})
			t.leave(x.e)
		}
	}
	if len(t.parked) == 0 {
		clear(t.asked)
		t.toAsk, t.sent, t.awaited, t.ends = nil, nil, 0, nil
	}
	return late
}

// toFetch returns the texts that are to be asked for now: no more are awaited than
// a node takes at a time. The caller holds mu.
func (t *texts) toFetch(now time.Time) []string {
	n := 0
	for ; n < len(t.sent); n++ {
		first := &t.sent[n]
		if at, ok := t.asked[first.sum]; !ok || !at.Equal(first.at) {
			continue // it has come
		}
		if now.Sub(first.at) < fetchAgain {
			break
		}
		t.again(first.sum)
	}
	t.sent = t.sent[n:]
	var sums []string
	for n = 0; n < len(t.toAsk) && t.awaited < agentpb.MaxFetch; n++ {
		sum := t.toAsk[n]
		if at, ok := t.asked[sum]; !ok || !at.IsZero() {
			continue // it has come
		}
		t.asked[sum] = now
		t.sent = append(t.sent, askedText{sum, now})
		t.awaited++
		sums = append(sums, sum)
	}
	t.toAsk = t.toAsk[n:]
	return sums
}

// again has a text asked for that is awaited.
func (t *texts) again(sum string) {
	t.asked[sum] = time.Time{}
	t.awaited--
	t.toAsk = append(t.toAsk, sum)
}

// anew has everything asked for again: the session is another one.
func (t *texts) anew() {
	for _, x := range t.sent {
		if at, ok := t.asked[x.sum]; ok && at.Equal(x.at) {
			t.again(x.sum)
		}
	}
	t.sent = nil
}

// tellFetch asks the node for texts.
func (s *session) tellFetch() error {
	s.of.tasks.mu.Lock()
	sums := s.of.tasks.texts.toFetch(time.Now())
	s.of.tasks.mu.Unlock()
	if len(sums) == 0 {
		return nil
	}
	return s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: sums}}})
}

// arrived takes a text, or the word that there is none: the tasks that wait for it
// go on, or are refused.
func (ex *execution) arrived(w *agentpb.Text) {
	sum := w.GetSha256()
	ex.tasks.mu.Lock()
	_, wanted := ex.tasks.texts.asked[sum]
	ex.tasks.mu.Unlock()
	if !wanted {
		return
	}
	why := w.GetError()
	if why == "" {
		if job.ScriptSum(w.GetText()) != sum {
			ex.log.Warn("a text is not what its hash says; it is asked for again", zap.String("sha256", sum))
			return
		}
		if err := ex.scripts.keep(w.GetText()); err != nil {
			why = err.Error()
		}
	}
	ex.tasks.mu.Lock()
	list := ex.tasks.texts.come(sum)
	var refused []*job.Report
	if why == "" {
		ex.tasks.places.ready.push(list...)
	} else {
		for _, e := range list {
			refused = append(refused, ex.withoutText(e, sum, why))
		}
	}
	notify(ex.tasks.out.wake) // there is room to ask for others
	ex.tasks.mu.Unlock()
	ex.reporting.settle(refused)
	notify(ex.tasks.startWake)
}

// withoutText refuses a task whose script cannot be had.
func (ex *execution) withoutText(e *entry, sum, why string) *job.Report {
	return &job.Report{
		Task: e.key.id(ex.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
		Reason: fmt.Sprintf("the text of script %.12s cannot be had: %s", sum, why), EndedAt: time.Now().UTC(), Spooled: true,
	}
}

// expireTexts refuses tasks that have waited for a text beyond the time at which
// they might be delivered, and has texts asked for again.
func (ex *execution) expireTexts() {
	ex.tasks.mu.Lock()
	now := ex.tasks.clock.now()
	var late []*job.Report
	for _, x := range ex.tasks.texts.over(now) {
		late = append(late, ex.withoutText(x.e, x.sum, "no node has given it in time"))
	}
	if len(ex.tasks.texts.parked) > 0 {
		notify(ex.tasks.out.wake)
	}
	ex.tasks.mu.Unlock()
	ex.reporting.settle(late)
}
