package scheduler

import (
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/phase"
)

// live describes the shard's open fires.
func (s *shard) live(namespace, name string) []job.Run {
	var out []job.Run
	now := s.deps.now()
	for _, f := range s.fires {
		key := f.e.key
		if namespace != "" && key.Namespace != namespace || name != "" && key.Name != name {
			continue
		}
		if f.ended() { // not in history yet
			out = append(out, *f.run)
			continue
		}
		state, reason := job.StatePending, ""
		if at := f.due(); at > f.id.At && at > now {
			reason = "starts at " + instant(at).Format(time.RFC3339Nano)
		}
		if f.entryState() == etcdkv.EntryQueued {
			state, reason = job.StateQueued, "waiting for an earlier run of the job to end"
		}
		held, queued := s.admission.Why(f.asks)
		if queued {
			state, reason = job.StateQueued, held
		}
		if why := f.waits(now); why != "" {
			reason = why
		}
		for _, t := range f.tasks {
			switch {
			case t.awaitsWorker():
				reason = awaitsWorker
			case t.phase.AtMinion() || t.final():
				state, reason = job.StateRunning, ""
			}
		}
		if f.rollout != nil && f.rollout.Held() != "" {
			reason = f.rollout.Held()
		}
		if held != "" && !queued {
			reason = held
		}
		if f.tasks != nil && f.tasks[0].minion == "" {
			reason = s.awaitsMinion(f)
		}
		run := s.runOf(f, state, reason)
		s.gone.describe(f, &run)
		brief(&run)
		out = append(out, run)
	}
	return out
}

// waits says what a fire whose time has come waits for: the word of minions that an
// earlier owner may have ordered it from, or its next attempt.
func (f *fire) waits(now int64) string {
	if f.due() > now {
		return ""
	}
	begins := int64(0)
	for _, t := range f.tasks {
		switch {
		case t.phase == phase.Unknown:
			return "taken over; its minions are being asked"
		case t.phase.AtMinion(), t.final(), t.ordered:
		case t.notBefore > now && (begins == 0 || t.notBefore < begins):
			begins = t.notBefore
		}
	}
	if begins != 0 {
		return "its next attempt starts at " + instant(begins).Format(time.RFC3339Nano)
	}
	return ""
}

// awaitsMinion tells what a fire waits for that has no minion yet.
func (s *shard) awaitsMinion(f *fire) string {
	spec, err := s.spec(f)
	if err != nil {
		return "waiting for a minion"
	}
	if found := s.deps.Minions.Match(s.choice.within(f, spec.Target)); len(found) > 0 {
		if t := &spec.Target; t.EffectiveRun() == job.SpreadEach && len(s.choice.byValue(found, t.By)) == 0 {
			return fmt.Sprintf("waiting for a minion with the label %s: %d match the target, and none has it", t.By, len(found))
		}
		return awaitsMore(len(found), max(spec.Target.Count, 1))
	}
	if away := s.choice.away(f, spec.Target); len(away) > 0 {
		return "waiting for a minion that takes orders: " + awayWords(away)
	}
	return "waiting for a minion that matches the target: none does"
}

// awaitsMore tells what a fire waits for that some minions match now.
func awaitsMore(found, want int) string {
	switch {
	case found < want:
		return fmt.Sprintf("waiting for more minions: %d match the target, and it is to run on %d", found, want)
	case found == 1:
		return "about to be sent: a minion matches the target now"
	}
	return fmt.Sprintf("about to be sent: %d minions match the target now", found)
}

// fullOutputs is up to how many tasks an open run is told of with their output.
const fullOutputs = 256

// brief leaves the output out of a large run: it can be had from the minions.
func brief(run *job.Run) {
	if len(run.Tasks) <= fullOutputs {
		return
	}
	for i := range run.Tasks {
		for _, o := range []*job.Output{&run.Tasks[i].Stdout, &run.Tasks[i].Stderr} {
			if o.Bytes > 0 {
				o.Head, o.Tail, o.Truncated = "", "", true
			}
		}
	}
}
