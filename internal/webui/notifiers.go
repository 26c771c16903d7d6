package webui

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

const notifiersPath = "/notifiers"

// maxDeliveries is how many deliveries a page shows.
const maxDeliveries = 200

func (u *UI) notifiers(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Notifiers(r.Context(), r.FormValue("namespace"))
	t := table{
		Head: []string{"Notifier", "Receiver", "Tells of", "Jobs", "Waiting", "Failed", "Delivered", "Last trouble"},
		None: "No notifiers. A notifier tells people what becomes of jobs.",
	}
	for i := range all {
		n := &all[i]
		events := cell{Text: counted(len(n.Spec.Events()), "event")}
		for _, e := range n.Spec.Events() {
			events.More = append(events.More, string(e))
		}
		jobs := cell{Text: "of " + n.Namespace}
		if n.Spec.Everywhere {
			jobs.Text = "of all namespaces"
		}
		for _, p := range n.Spec.Namespaces {
			jobs.More = append(jobs.More, "namespace "+p)
		}
		for _, p := range n.Spec.Jobs {
			jobs.More = append(jobs.More, "job "+p)
		}
		if len(n.Spec.Labels) > 0 {
			jobs.More = append(jobs.More, "label "+job.LabelText(n.Spec.Labels))
		}
		t.Rows = append(t.Rows, []cell{
			{Text: n.Key().String(), Link: notifiersPath + "/" + n.Namespace + "/" + n.Name}, said(n.Spec.Receiver()), events, jobs,
			waiting(n), number(n.Failed), when(n.DeliveredAt), said(n.Error),
		})
	}
	u.showTable(w, r, "Notifiers", "notifiers", "runs", t, err)
}

// waiting is how many alerts wait, coloured where the receiver does not take them.
func waiting(n *api.Notifier) cell {
	c := number(n.Waiting)
	if n.Failing > 0 {
		c.State, c.Text = string(job.StateFailed), strconv.Itoa(n.Waiting)+", "+strconv.Itoa(n.Failing)+" tried in vain"
	}
	return c
}

func (u *UI) notifier(w http.ResponseWriter, r *http.Request) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	v, err := u.control.Notifier(r.Context(), key)
	t := table{
		Note: "What became of the last alerts, the newest first.",
		Head: []string{"When", "About", "What", "Run", "State", "Tries", "Next try", "Trouble", "Alert"}, None: "Nothing was told yet.",
	}
	path := notifiersPath + "/" + url.PathEscape(key.Namespace) + "/" + url.PathEscape(key.Name)
	edits := err == nil && u.allows(r.Context(), rights.Request{Verb: rights.Edit, Kind: rights.Notifiers, Namespace: key.Namespace, Labels: v.Labels})
	if edits {
		t.Acts = []button{{"Send a sample", path + "/test"}}
		if r.FormValue("sent") != "" {
			t.Note = "The receiver has taken the sample. " + t.Note
		}
	}
	state := map[job.DeliveryState]job.State{job.DeliveryDelivered: job.StateSucceeded, job.DeliveryFailed: job.StateFailed, job.DeliveryDropped: job.StateFailed, job.DeliveryRetrying: job.StateRunning}
	for i := range v.Deliveries[:min(len(v.Deliveries), maxDeliveries)] {
		d := &v.Deliveries[i]
		about, run := said(d.Alert.What()), cell{}
		if d.Alert.About == "" {
			about.Link = jobsPath + "/" + d.Alert.Job.Namespace + "/" + d.Alert.Job.Name
		}
		if d.Alert.Run != "" {
			run = cell{Text: string(d.Alert.Run[:min(8, len(d.Alert.Run))]), Link: "/runs/" + string(d.Alert.Run), Mono: true}
		}
		what := cell{Text: message.Wording(d.Alert.Event)}
		if d.Alert.Reason != "" {
			what.More = []string{d.Alert.Reason}
		}
		became := cell{Text: string(d.State), State: string(state[d.State])}
		if edits && d.State.Settled() {
			became.Act = &button{"Send again", path + "/alerts/" + url.PathEscape(d.Alert.ID) + "/send"}
		}
		t.Rows = append(t.Rows, []cell{
			when(d.Alert.At), about, what, run, became, number(d.Attempts), when(d.NextAt), said(d.Error), code(d.Alert.ID),
		})
	}
	u.showTable(w, r, "Notifier "+key.String(), "notifiers", "runs", t, err)
}

// testNotifier sends a sample to a notifier's receiver.
func (u *UI) testNotifier(w http.ResponseWriter, r *http.Request) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	u.told(w, r, key, "?sent=1", u.control.TestNotifier(r.Context(), key, api.Order{}))
}

// sendAgain has an alert sent once more.
func (u *UI) sendAgain(w http.ResponseWriter, r *http.Request) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	u.told(w, r, key, "", u.control.SendAgain(r.Context(), key, r.PathValue("id"), api.Order{}))
}

// told leads back to a notifier, or shows why it was not done.
func (u *UI) told(w http.ResponseWriter, r *http.Request, key job.Key, query string, err error) {
	if err != nil {
		u.show(w, r, "error", page{Nav: "notifiers"}, err)
		return
	}
	http.Redirect(w, r, notifiersPath+"/"+url.PathEscape(key.Namespace)+"/"+url.PathEscape(key.Name)+query, http.StatusSeeOther)
}
