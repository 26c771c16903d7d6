package worker

import "time"

// places are those of the tasks that run, and the lines of those that wait for one.
type places struct {
	// max is how many there are, active how many tasks hold one.
	max, active int
	// waiting are accepted tasks without one, ready those whose intent is durable,
	// held those that an earlier process accepted and that wait for the servers' time.
	waiting, ready taskLine
	held           []*entry
	// renewals are the tasks that were given back at their turn.
	renewals renewals
}

// wait puts a task in line. The caller holds mu.
func (pl *places) wait(e *entry) {
	if e.renewed {
		pl.renewals.line.push(e)
		return
	}
	pl.waiting.push(e)
}

// first returns the task whose turn it is, nil when none waits. The caller holds
// mu.
func (pl *places) first() *entry {
	pl.renewals.giveUp(time.Now())
	for _, line := range []*taskLine{&pl.renewals.line, &pl.waiting} {
		for e := line.first(); e != nil; e = line.first() {
			if e.settling == nil && e.final == nil {
				return e
			}
			line.drop() // cancelled meanwhile
		}
	}
	return nil
}

// dropFirst takes the task out of line that first has returned. The caller holds
// mu.
func (pl *places) dropFirst() {
	if pl.renewals.line.len() > 0 {
		pl.renewals.line.drop()
		return
	}
	pl.waiting.drop()
}

func (pl *places) count(e *entry) {
	if !e.counted {
		e.counted = true
		pl.active++
	}
}

// free frees the task's place.
func (pl *places) free(e *entry) {
	if e.counted {
		e.counted = false
		pl.active--
	}
}

// inLine is how many tasks wait for a place.
func (pl *places) inLine() int { return pl.waiting.len() + len(pl.held) + pl.renewals.line.len() }
