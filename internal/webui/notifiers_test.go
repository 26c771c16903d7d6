package webui

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

func (f fake) TestNotifier(ctx context.Context, key job.Key, _ api.Order) error {
	if f.applied != nil {
		*f.applied = append(*f.applied, applying{"test " + key.String(), caller.RequestOf(ctx)})
	}
	return f.err
}

func (f fake) SendAgain(ctx context.Context, key job.Key, alert string, _ api.Order) error {
	if f.applied != nil {
		*f.applied = append(*f.applied, applying{"send " + key.String() + " " + alert, caller.RequestOf(ctx)})
	}
	return f.err
}

// A notifier is tried, and what is settled is sent again, by buttons; a refusal is shown.
func TestNotifierActs(t *testing.T) {
	t.Parallel()
	var done []applying
	f := fake{applied: &done}
	if w := send(t, f, "/notifiers/ops/oncall/test", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/notifiers/ops/oncall?sent=1" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := send(t, f, "/notifiers/ops/oncall/alerts/alert_2/send", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/notifiers/ops/oncall" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if len(done) != 2 || done[0].text != "test ops/oncall" || done[1].text != "send ops/oncall alert_2" {
		t.Errorf("done: %v", done)
	}
	if body := get(t, f, "/notifiers/ops/oncall?sent=1").Body.String(); !strings.Contains(body, "has taken the sample") {
		t.Errorf("that it was sent is not said:\n%s", body)
	}
	if w := send(t, fake{err: job.ErrUnavailable}, "/notifiers/ops/oncall/test", nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a refusal is %d", w.Code)
	}
}

// Who may not edit notifiers sees no buttons, and what is under way has none.
func TestNotifierActsAreShown(t *testing.T) {
	t.Parallel()
	for edits, want := range map[bool]int{false: 0, true: 1} {
		mux := serveFake(t, func(_ context.Context, v rights.Verb, _ rights.Kind) bool {
			return v == rights.Read || edits && v == rights.Edit
		})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/notifiers/ops/oncall", nil))
		body := w.Body.String()
		if n := strings.Count(body, `action="/notifiers/ops/oncall/test"`); n != want {
			t.Errorf("edits %v: %d buttons that send a sample", edits, n)
		}
		if n := strings.Count(body, `action="/notifiers/ops/oncall/alerts/`); n != want || n > 0 && !strings.Contains(body, "/alerts/alert_2/send") {
			t.Errorf("edits %v: %d buttons that send again\n%s", edits, n, body)
		}
	}
}
