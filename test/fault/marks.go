package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// marksVariable tells a command where the marks of all hosts lie; each has a
// file of its own there.
const marksVariable = "FAULT_MARKS"

// markLine appends a mark to the host's file, by one write. It is the first
// thing that every command does.
const markLine = `echo "$CARILLON_FIRE_ID $CARILLON_MINION $CARILLON_ATTEMPT" >>"$` + marksVariable + `/$CARILLON_MINION"; `

// mark is what one attempt of a task leaves on its host.
type mark struct {
	fire    job.FireID
	minion  job.MinionID
	attempt int
}

func (m mark) String() string {
	return fmt.Sprintf("%v on %s, attempt %d", m.fire, m.minion, m.attempt)
}

// readMarks counts the marks in a directory, of all hosts.
func readMarks(dir string) (map[mark]int, error) {
	marks := map[mark]int{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return readMarksOf(path, marks)
	})
	if err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	return marks, nil
}

func readMarksOf(path string, marks map[mark]int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		m, err := parseMark(lines.Text())
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		marks[m]++
	}
	return lines.Err()
}

func parseMark(line string) (mark, error) {
	words := strings.Fields(line)
	if len(words) != 3 {
		return mark{}, fmt.Errorf("%q: want FIRE MINION ATTEMPT", line)
	}
	fire, err := job.ParseFireID(words[0])
	attempt, atoi := strconv.Atoi(words[2])
	return mark{fire, job.MinionID(words[1]), attempt}, errors.Join(err, atoi)
}

// order is a run that was asked for and granted, with the minions that it is on.
type order struct {
	run     job.RunID
	minions []job.MinionID
}

// fanouts are all that is known of the runs of a part.
type fanouts struct {
	orders []order
	runs   []job.Run
	marks  map[mark]int
}

// judged is what the oracle found, in words.
type judged struct {
	tasks  int
	states map[job.State]int
	// doubles: one attempt of a task was started more than once. lost: a run, or a
	// minion's share of it, has no record or never ended. untrue: the record says
	// something else than the host's marks.
	doubles, lost, untrue []string
	// early are tasks that started before they were asked for; stuck is what had not
	// ended when it was no longer waited for.
	early, stuck []string
}

// figures returns what was found wrong, in the order of the last line.
func (j *judged) figures() []struct {
	name string
	list []string
} {
	return []struct {
		name string
		list []string
	}{{"doubled", j.doubles}, {"missing", j.lost}, {"unaccounted", j.untrue}, {"early", j.early}, {"stuck", j.stuck}}
}

func (j *judged) good() bool {
	return len(j.doubles)+len(j.lost)+len(j.untrue)+len(j.early)+len(j.stuck) == 0
}

// judgeFanouts compares what was ordered, what is recorded, and what the hosts
// show.
func judgeFanouts(f fanouts) judged {
	j := judged{states: map[job.State]int{}}
	for m, n := range f.marks {
		if n > 1 {
			j.doubles = append(j.doubles, fmt.Sprintf("%v: started %d times", m, n))
		}
	}
	records := map[job.RunID]*job.Run{}
	tasks := map[mark]*job.Task{} // of any attempt: attempt 0
	for i := range f.runs {
		r := &f.runs[i]
		records[r.RunID] = r
		if !r.State.Final() {
			j.lost = append(j.lost, fmt.Sprintf("run %s has not ended: %s %s", r.RunID, r.State, r.Reason))
		}
		for k := range r.Tasks {
			t := &r.Tasks[k]
			tasks[mark{r.FireID, t.Minion, 0}] = t
			j.judgeTask(r, t, f.marks)
		}
	}
	for _, o := range f.orders {
		r, ok := records[o.run]
		if !ok {
			j.lost = append(j.lost, fmt.Sprintf("run %s was granted and has no record", o.run))
			continue
		}
		for _, m := range o.minions {
			if tasks[mark{r.FireID, m, 0}] == nil {
				j.lost = append(j.lost, fmt.Sprintf("run %s has no task on %s: %s %s", o.run, m, r.State, r.Reason))
			}
		}
	}
	for m := range f.marks {
		t := tasks[mark{m.fire, m.minion, 0}]
		switch {
		case t == nil:
			j.untrue = append(j.untrue, fmt.Sprintf("%v: started, and has no record", m))
		case m.attempt > max(t.Attempt, 1):
			j.untrue = append(j.untrue, fmt.Sprintf("%v: started, and the record knows %d attempts", m, t.Attempt))
		}
	}
	for _, list := range [][]string{j.doubles, j.lost, j.untrue} {
		slices.Sort(list)
	}
	return j
}

// judgeTask compares the last attempt of a task with its marks.
func (j *judged) judgeTask(r *job.Run, t *job.Task, marks map[mark]int) {
	j.tasks++
	j.states[t.State]++
	m := mark{r.FireID, t.Minion, max(t.Attempt, 1)}
	says := fmt.Sprintf("%v: is recorded as %s (%s)", m, t.State, cmp.Or(t.Reason, "without a reason"))
	if !t.StartedAt.IsZero() && t.StartedAt.Before(r.ScheduledAt) {
		j.early = append(j.early, fmt.Sprintf("%s, and started %v before it was asked for", says, r.ScheduledAt.Sub(t.StartedAt)))
	}
	switch n := marks[m]; {
	case !t.State.Final():
		j.lost = append(j.lost, says+", and has not ended")
	case t.State == job.StateSucceeded && n == 0:
		j.untrue = append(j.untrue, says+", and left no mark")
	case notStarted(t) && n > 0:
		j.untrue = append(j.untrue, says+", and left a mark")
	}
}

// notStarted reports whether a task's record says that nothing was started. A
// command that was started may have been ended before it left its mark; so of
// the others only those that succeeded must have left one.
func notStarted(t *job.Task) bool {
	switch t.State {
	case job.StateDeliveryTimeout, job.StateExpired, job.StateDropped, job.StateUndeliverable, job.StateRejected,
		job.StateUncontrollable, job.StateSkipped, job.StateMissed:
		return true
	case job.StateCancelled:
		return t.StartedAt.IsZero()
	default:
		return false
	}
}
