package scheduler

import (
	"testing"
	"unique"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// TestOrdersTellWhoCausedThem: an order has the name of who applied the job, and of who
// asked for the run, if anybody did; under a new owner too. So has the run's record, of
// whose orders ran, also where the job is somebody else's since.
func TestOrdersTellWhoCausedThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trigger         job.Trigger
		asked, subject  string
		applied, author string
	}{
		"a schedule's":              {trigger: job.TriggerSchedule, applied: "ada", subject: "ada", author: "ada"},
		"by hand":                   {trigger: job.TriggerManual, asked: "token ci", applied: "ada", subject: "token ci", author: "ada"},
		"of a job that nobody owns": {trigger: job.TriggerManual, asked: "token ci", subject: "token ci"},
	} {
		d := newDesk(t, 2)
		e := d.job(job.Spec{})
		value, err := etcdkv.Encode(etcdkv.StoredJob{Schema: 1, Job: job.Job{
			Metadata: job.Metadata{Namespace: "t", Name: "j"}, UID: e.uid, Spec: job.Spec{Command: []string{"x"}, Target: job.Target{Run: job.SpreadAll}}, AppliedBy: c.applied,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err = newEntry("j", []byte(value), d.deps.Schedules); err != nil {
			t.Fatal(err)
		}
		d.jobs[e.key] = e
		seen := 0
		look := func(o *job.Order) {
			seen++
			if o.Subject != c.subject || o.Author != c.author {
				t.Errorf("%s: ordered for %q, by the job of %q; want %q and %q", name, o.Subject, o.Author, c.subject, c.author)
			}
		}
		d.ordered = look
		f := d.fire(e, fire{id: job.FireID{Job: e.uid, At: d.clock, Trigger: c.trigger}, subject: c.asked})
		if seen != 2 {
			t.Fatalf("%s: %d orders", name, seen)
		}
		edited := *e
		edited.origin = unique.Make(origin{author: "eve"})
		f.e = &edited
		if r := d.runOf(f, job.StateSucceeded, ""); c.author != "" && r.Author != c.author || r.Subject != c.asked {
			t.Errorf("%s: the record has %q, and the job of %q", name, r.Subject, r.Author)
		}
		f.e = e
		if next, again := d.taken(f); again.subject != c.asked || next == nil {
			t.Errorf("%s: the next owner has the subject %q", name, again.subject)
		}
	}
}
