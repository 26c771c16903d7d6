package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// TestI22_RevokedMinionEndsItsTasks: what a minion was sent ends when its
// certificate is revoked, whatever is known of it by then, and what others run
// goes on.
func TestI22_RevokedMinionEndsItsTasks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		said job.State // empty: nothing
		want string
	}{
		"it runs":         {job.StateRunning, "it had started the task, and whether that still runs is not known"},
		"nothing is said": {"", "whether it ran the task is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 2)
			f := d.fire(d.job(job.Spec{}), fire{})
			if c.said != "" {
				d.says(f, "m01", c.said)
			}
			d.says(f, "m00", job.StateRunning)
			d.revoked = "m01"
			d.endRevoked("m01")
			d.step()
			if len(d.runs) != 0 {
				t.Fatalf("recorded while another minion runs it: %+v", d.runs)
			}
			d.says(f, "m00", job.StateSucceeded)
			d.wantRun(job.StateIndeterminate, "minion m01: its certificate was revoked, so it cannot be controlled; "+c.want)
		})
	}
}

// TestI22_RevokedBeforeTheTakeOver: a new owner, who was not told of the
// revocation, does not wait for that minion's word.
func TestI22_RevokedBeforeTheTakeOver(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.says(f, "m00", job.StateRunning)
	d.revoked = "m00"
	next, _ := d.taken(f)
	next.pass(2 * rematchEvery)
	next.wantRun(job.StateIndeterminate, "minion m00: its certificate was revoked")
}

// TestI22_WordThatComesLate: that a minion has started a task may be heard after
// its revocation.
func TestI22_WordThatComesLate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	f := d.fire(d.job(job.Spec{}), fire{})
	d.revoked = "m00"
	d.says(f, "m00", job.StateRunning)
	d.wantRun(job.StateIndeterminate, "minion m00: its certificate was revoked")
}

// TestI22_RevokedMinionGetsNoOrders: what was not sent when the certificate was
// revoked never is, and the others get theirs.
func TestI22_RevokedMinionGetsNoOrders(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	f := d.fire(d.job(job.Spec{Rollout: job.Rollout{Batch: "1", Pause: job.Duration(time.Minute)}}), fire{})
	d.wantSent("m00")
	d.revoked = "m01"
	d.endRevoked("m01")
	d.says(f, "m00", job.StateSucceeded)
	d.pass(time.Minute)
	d.wantSent("m00")
	if len(d.runs) != 1 || d.runs[0].Tasks[1].State != job.StateUncontrollable || d.runs[0].Tasks[1].Reason != "its certificate was revoked before the order was sent" {
		t.Errorf("recorded %+v, want one in which m01 was uncontrollable", d.runs)
	}
}
