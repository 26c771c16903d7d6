package plans

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/plan"
)

// upstream takes callbacks.
type upstream struct {
	mu     sync.Mutex
	secret webhook.Secret
	// refuse says what is answered to the nth call: 0 takes it, 1 is no answer, else the status.
	refuse func(n int) int
	calls  int
	// taken are the bodies by their ids, order the ids as they were taken first.
	taken map[string]string
	order []string
	wrong []string
}

func (u *upstream) Post(_ context.Context, to string, h http.Header, body []byte) (*egress.Answer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	if to != "https://erp.example.org/hook" {
		u.wrong = append(u.wrong, "called "+to)
	}
	if err := u.secret.Verify(webhook.Of(h), body, time.Now()); err != nil {
		u.wrong = append(u.wrong, err.Error())
	}
	answer := 0
	if u.refuse != nil {
		answer = u.refuse(u.calls)
	}
	id := h.Get("webhook-id")
	switch had, ok := u.taken[id]; {
	case ok && had != string(body):
		u.wrong = append(u.wrong, "another body under the id "+id)
	case !ok && answer < 2: // an answer that is lost is of a call that was taken
		u.taken[id] = string(body)
		u.order = append(u.order, id)
	}
	switch answer {
	case 0:
		return &egress.Answer{Status: http.StatusNoContent}, nil
	case 1:
		return nil, errors.New("no answer")
	}
	return &egress.Answer{Status: answer}, nil
}

// C1, C2: whatever becomes of owners and answers, the upstream is told of each change, in order and
// without a gap, and of the end.
func TestTheUpstreamIsToldOfEachChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret, err := webhook.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{secret: secret, taken: map[string]string{}, refuse: func(n int) int {
		return []int{0, 1, 503, 0}[n%4]
	}}
	w.caller, w.callback = u, "https://erp.example.org/hook"
	w.put(w.keys.PlanSecret("team", "erp"), etcdkv.HookSecret{Schema: etcdkv.Schema, Secret: secret.Text()})
	w.queue("report", nil)
	const n = 24
	var tasks []plan.Task
	for i := range n {
		one := plan.Task{ID: fmt.Sprint("t", i), Type: "report"}
		if i > 0 {
			one.After = []string{fmt.Sprint("t", i-1)}
		}
		tasks = append(tasks, one)
	}
	w.accept(tasks...)
	done := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.ended)
	}
	for i := range 3 {
		defer w.own()()
		await.Until(t, "some of the tasks", func() bool { return done() >= n*(i+1)/4 })
	}
	await.Until(t, "all to be told", func() bool { p := w.plan(); return !p.EndedAt.IsZero() && !p.Untold })
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, wrong := range u.wrong {
		t.Error(wrong)
	}
	seq, states, ended := int64(0), map[string]plan.State{}, false
	for _, id := range u.order {
		var c Call
		if err := json.Unmarshal([]byte(u.taken[id]), &c); err != nil {
			t.Fatal(err)
		}
		if c.Data.Upstream != "erp" || c.Data.Plan != "p" || c.Data.Namespace != "team" || c.Data.First != seq+1 || ended {
			t.Errorf("after change %d: %+v", seq, c)
		}
		if ended = c.Type == "plan.ended"; ended && c.Data.Counts[string(plan.Succeeded)] != n {
			t.Errorf("the end: %+v", c)
		}
		for _, e := range c.Data.Tasks {
			if seq++; e.Seq != seq {
				t.Errorf("change %d has the number %d", seq, e.Seq)
			}
			was := plan.Pending
			if s, ok := states[e.Task]; ok {
				was = s
			}
			if !was.May(plan.State(e.State)) {
				t.Errorf("%s went from %s to %s", e.Task, was, e.State)
			}
			states[e.Task] = plan.State(e.State)
		}
	}
	for i := range n {
		if s := states[fmt.Sprint("t", i)]; s != plan.Succeeded {
			t.Errorf("t%d was told to be %q", i, s)
		}
	}
	if !ended {
		t.Error("the end was not told")
	}
}

// C2: what an upstream does not take is kept, and why is told; the tasks go on. After three days
// it is given up.
func TestWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := &upstream{taken: map[string]string{}}
	w.caller, w.callback = u, "https://erp.example.org/hook" // there is no secret
	w.queue("report", nil)
	w.accept(plan.Task{ID: "a", Type: "report"})
	defer w.own()()
	await.Until(t, "the end of the plan", func() bool { return !w.plan().EndedAt.IsZero() })
	key := w.keys.PlanData(w.uid).Callback()
	await.Until(t, "the reason", func() bool {
		resp, err := w.client.Get(t.Context(), key)
		return err == nil && len(resp.Kvs) == 1 && strings.Contains(string(resp.Kvs[0].Value), "carillon plan secret erp")
	})
	if p := w.plan(); !p.Untold || u.calls != 0 {
		t.Errorf("untold %v, %d calls", p.Untold, u.calls)
	}
	w.ahead.Store(int64(tellExpires + time.Hour))
	await.Until(t, "it to be given up", func() bool { return !w.plan().Untold })
}
