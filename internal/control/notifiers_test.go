package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

func notifierNamed(name string, edit ...func(*job.NotifierSpec)) manifest.Object {
	o := manifest.Object{Kind: job.KindNotifier, Metadata: job.Metadata{Namespace: "ops", Name: name}, Notifier: job.NotifierSpec{Webhook: &job.WebhookReceiver{URL: "https://hooks.example.org"}}}
	for _, fn := range edit {
		fn(&o.Notifier)
	}
	return o
}

// A notifier is applied, shown with what became of its alerts, tried, and deleted with what
// it had to tell; each of it leaves an audit record.
func TestNotifiers(t *testing.T) {
	t.Parallel()
	e := setup(t)
	if got := e.apply(t, notifierNamed("oncall"))["oncall"]; got != api.ActionCreated {
		t.Errorf("%s", got)
	}
	if got := e.apply(t, notifierNamed("oncall"))["oncall"]; got != api.ActionUnchanged {
		t.Errorf("the same again: %s", got)
	}
	if got := e.apply(t, notifierNamed("oncall", func(s *job.NotifierSpec) { s.MaxPerHour = 5 }))["oncall"]; got != api.ActionUpdated {
		t.Errorf("another: %s", got)
	}
	quiet := notifierNamed("quiet", func(s *job.NotifierSpec) { s.Quiet = []string{"night"} })
	if _, err := e.Apply(t.Context(), "f", encode(t, quiet), false); err == nil || !strings.Contains(err.Error(), `spec.quiet[0]: there is no calendar "night" in namespace "ops"`) {
		t.Errorf("a calendar that there is not: %v", err)
	}
	e.apply(t, manifest.Object{Kind: job.KindCalendar, Metadata: job.Metadata{Namespace: "ops", Name: "night"}, Calendar: job.CalendarSpec{Closed: []string{"12-25"}}})
	e.apply(t, quiet)
	if err := e.DeleteCalendar(t.Context(), jobNamed("night")); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "calendar ops/night is named by 1 notifier (ops/quiet); change that first") {
		t.Errorf("a calendar that a notifier keeps to is deleted: %v", err)
	}
	if err := e.DeleteNotifier(t.Context(), jobNamed("quiet")); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteCalendar(t.Context(), jobNamed("night")); err != nil {
		t.Error(err)
	}
	key := jobNamed("oncall")
	at := time.Now().UTC().Truncate(time.Second)
	for i, state := range []job.DeliveryState{job.DeliveryDelivered, job.DeliveryRetrying, job.DeliveryFailed} {
		d := job.Delivery{Notifier: key, Alert: job.Alert{ID: fmt.Sprint("alert_", i)}, State: state, Message: "alerts_x", QueuedAt: at.Add(time.Duration(i) * time.Second), SettledAt: at}
		if state != job.DeliveryDelivered {
			d.Error = "no answer"
		}
		text, err := etcdkv.Encode(etcdkv.StoredDelivery{Schema: 1, Delivery: d})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.cli.Put(t.Context(), e.keys.Delivery(key, d.Alert.ID), text); err != nil {
			t.Fatal(err)
		}
	}
	all, err := e.Notifiers(t.Context(), "ops")
	if err != nil || len(all) != 1 || all[0].Waiting != 1 || all[0].Failing != 1 || all[0].Failed != 1 || !all[0].DeliveredAt.Equal(at) || all[0].Error != "no answer" {
		t.Errorf("%+v %v", all, err)
	}
	o := api.Order{By: "me", Reason: "why"}
	if err := e.SendAgain(t.Context(), key, "alert_1", o); !errors.Is(err, job.ErrConflict) {
		t.Errorf("one that is under way: %v", err)
	}
	if err := e.SendAgain(t.Context(), key, "alert_9", o); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("one that there is not: %v", err)
	}
	if err := e.SendAgain(t.Context(), key, "alert_2", o); err != nil {
		t.Error(err)
	}
	v, err := e.Notifier(t.Context(), key)
	if err != nil || len(v.Deliveries) != 3 || v.Deliveries[0].State != job.DeliveryPending || v.Deliveries[0].Replays != 1 || v.Deliveries[0].Message != "" || v.Deliveries[0].Error != "" {
		t.Errorf("%+v %v", v, err)
	}
	if err := e.TestNotifier(t.Context(), key, o); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a test where nothing is sent: %v", err)
	}
	if err := e.DeleteNotifier(t.Context(), key); err != nil {
		t.Error(err)
	}
	if _, err := e.Notifier(t.Context(), key); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	r, err := e.cli.Get(context.Background(), e.keys.Delivery(key, "alert_0"))
	if err != nil || len(r.Kvs) != 0 {
		t.Errorf("its deliveries are left: %v", err)
	}
	var done []string
	for _, rec := range e.records(t, 20) {
		done = append(done, rec.Action+" "+rec.Object)
	}
	for _, want := range []string{"delete notifier ops/oncall", "send again alert alert_2 of notifier ops/oncall"} {
		if !strings.Contains(strings.Join(done, "\n"), want) {
			t.Errorf("no record of %q: %v", want, done)
		}
	}
}
