package webui

import (
	"net/http"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// mostTasks is how many tasks of a run its page shows one by one: those first that did not
// succeed.
const mostTasks = 200

// runView is a run as its page shows it.
type runView struct {
	job.Run

	// States counts the tasks by their states; Cut is how many are not shown.
	States []stateCount
	Cut    int
	// Same are the tasks that ended alike and wrote the same, as one.
	Same []sameTasks
	// Cells are all tasks, by minion.
	Cells []job.Task
	// Live: it writes while the page is read, and the reader may see that.
	Live bool
	Does map[string]bool
}

type stateCount struct {
	State job.State
	N     int
}

// sameTasks are tasks that ended alike and wrote the same.
type sameTasks struct {
	Task    job.Task
	Minions []job.MinionID
	// Open: they are shown unfolded.
	Open bool
}

func newRunView(run *job.Run) runView {
	v := runView{Run: *run, Does: map[string]bool{}}
	counts := map[job.State]int{}
	for i := range run.Tasks {
		counts[run.Tasks[i].State]++
	}
	for _, s := range job.States() {
		if counts[s] > 0 {
			v.States = append(v.States, stateCount{s, counts[s]})
		}
	}
	v.Tasks = slices.Clone(run.Tasks)
	good := func(t *job.Task) int {
		if t.State == job.StateSucceeded {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(v.Tasks, func(a, b job.Task) int { return good(&a) - good(&b) })
	v.Cells = v.Tasks
	if len(v.Cells) > mostCells {
		v.Cells = v.Cells[:mostCells]
	}
	if len(v.Tasks) > mostTasks {
		v.Tasks, v.Cut = v.Tasks[:mostTasks], len(run.Tasks)-mostTasks
	}
	v.Same = folded(v.Tasks)
	return v
}

// mostCells is how many tasks the matrix of a run has.
const mostCells = 2000

// folded puts together the tasks that ended alike and wrote the same.
func folded(tasks []job.Task) []sameTasks {
	type alike struct {
		state            job.State
		code             int
		reason, out, err string
	}
	at := map[alike]int{}
	var out []sameTasks
	for i := range tasks {
		t := &tasks[i]
		k := alike{state: t.State, reason: t.Reason, out: t.Stdout.Head + t.Stdout.Tail, err: t.Stderr.Head + t.Stderr.Tail}
		if t.Exit != nil {
			k.code = t.Exit.ShellCode()
		}
		n, ok := at[k]
		if !ok || !t.State.Final() {
			at[k], n = len(out), len(out)
			out = append(out, sameTasks{Task: *t, Open: len(tasks) == 1 || len(out) < 3})
		}
		out[n].Minions = append(out[n].Minions, t.Minion)
	}
	return out
}

func (u *UI) run(w http.ResponseWriter, r *http.Request) {
	run, err := u.control.Run(r.Context(), job.RunID(r.PathValue("id")))
	topics := "runs"
	if run.State.Final() {
		topics = ""
	}
	v := newRunView(&run)
	if err == nil {
		// Rights go by the labels of its job, which it does not have: what is shown is what
		// may be allowed, and control decides.
		may := func(verb rights.Verb) bool { return u.may(r.Context(), verb, rights.Runs) }
		v.Live = !run.State.Final() && may(rights.Logs)
		v.Does["cancel"] = !run.State.Final() && may(rights.Run)
		v.Does["redo"] = run.State.Final() && run.State != job.StateSkipped && run.State != job.StateMissed && may(rights.Run)
		v.Does["log"] = may(rights.Logs)
	}
	u.show(w, r, "run", page{Title: "Run " + string(run.RunID), Nav: "runs", Topics: topics, Data: v}, err)
}

// doRun cancels a run, or does it again.
func (u *UI) doRun(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, o := job.RunID(r.PathValue("id")), api.Order{Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	back := "/runs/" + string(id)
	var err error
	switch r.PathValue("do") {
	case "cancel":
		err = u.control.Cancel(r.Context(), id, o)
	case "redo":
		var only []api.RedoPart
		if part := r.PostFormValue("only"); part != "" {
			only = append(only, api.RedoPart(part))
		}
		var redo api.Redo
		if redo, err = u.control.Redo(r.Context(), id, only, o); err == nil {
			back = "/runs/" + string(redo.RunID)
		}
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		u.show(w, r, "error", page{Nav: "runs"}, err)
		return
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}
