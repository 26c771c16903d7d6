package minions

import (
	"context"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/payload"
	"github.com/carillon-cron/carillon/job"
)

// Takers are the minions that may do a piece of work, and what their handlers take.
type Takers struct {
	// Handler is the name of the handler that does the work; empty: none does.
	Handler string
	// None: it is known that no minion which may do the work has the handler.
	None bool
	// schemas say what they take: one of them has to let an input through. None:
	// anything does, as one of them takes anything, or does not tell.
	schemas []*payload.Schema
}

// Refuses tells what is wrong with an input that none of the takers takes, in the eyes of
// one of them; nil: nothing is. The text is that of an item's payload, or of a command.
func (t *Takers) Refuses(text string) []string {
	var first []string
	input := job.HandlerInput(text)
	for _, s := range t.schemas {
		wrong := s.CheckNone()
		if input != nil {
			wrong = s.Check(input)
		}
		if len(wrong) == 0 {
			return nil
		}
		if first == nil {
			first = wrong
		}
	}
	return first
}

// Takers returns who may do the items of a queue.
func (f *Fleet) Takers(ctx context.Context, q *job.Queue) (Takers, error) {
	return f.takers(ctx, q.Spec.Command, job.Target{Match: q.Spec.Target.Match}, func(m *job.Minion) bool {
		offers, err := job.ParseQueueOffers(m.Facts[job.FactQueues])
		return err == nil && offers[q.Key()] > 0
	})
}

// TakersOf returns who may do the tasks of a job.
func (f *Fleet) TakersOf(ctx context.Context, s *job.Spec) (Takers, error) {
	return f.takers(ctx, s.Command, s.Target, func(*job.Minion) bool { return true })
}

// takers returns the takers among the minions that offer the work and that a target matches.
func (f *Fleet) takers(ctx context.Context, command []string, to job.Target, offers func(*job.Minion) bool) (Takers, error) {
	name, ok := job.HandlerOf(command)
	if !ok {
		return Takers{}, nil
	}
	t := Takers{Handler: name}
	all, err := f.Known()
	if err != nil {
		return t, nil //nolint:nilerr // a worker looks at its input, too
	}
	var may []api.Minion
	for i := range all {
		if _, has := all[i].Facts[job.FactHandler+name]; has && offers(&all[i]) && to.Matches(all[i].ID, all[i].Labels) {
			may = append(may, api.Minion{Minion: all[i]})
		}
	}
	if to.Match != "" && len(may) > 0 {
		_, chosen, err := f.selectFrom(ctx, may, "spec.target.match", to.Match)
		if err != nil {
			return t, err
		}
		may = slices.DeleteFunc(may, func(m api.Minion) bool { return !slices.Contains(chosen.Names, string(m.ID)) })
	}
	t.None = len(may) == 0
	var texts []string
	for i := range may {
		texts = append(texts, may[i].Facts[job.FactHandler+name])
	}
	slices.Sort(texts)
	for _, text := range slices.Compact(texts) {
		s, err := payload.Parse(text)
		if err != nil { // a minion that does not tell may take anything
			t.schemas = nil
			break
		}
		t.schemas = append(t.schemas, s)
	}
	return t, nil
}
