package minions

import (
	"context"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Inputs returns the schemas of what the minions take that may do the items of a queue, if
// its command calls a handler. None: no handler does them, or one that takes anything, or
// it is not known which there are.
func (f *Fleet) Inputs(ctx context.Context, q *job.Queue) ([]string, error) {
	name, ok := job.HandlerOf(q.Spec.Command)
	if !ok {
		return nil, nil
	}
	all, err := f.Known()
	if err != nil {
		return nil, nil //nolint:nilerr // a worker looks at its input, too
	}
	var may []api.Minion
	for i := range all {
		if _, has := all[i].Facts[job.FactHandler+name]; !has {
			continue
		}
		if offers, err := job.ParseQueueOffers(all[i].Facts[job.FactQueues]); err == nil && offers[q.Key()] > 0 {
			may = append(may, api.Minion{Minion: all[i]})
		}
	}
	if match := q.Spec.Target.Match; match != "" && len(may) > 0 {
		_, chosen, err := f.selectFrom(ctx, may, "spec.target.match", match)
		if err != nil {
			return nil, err
		}
		may = slices.DeleteFunc(may, func(m api.Minion) bool { return !slices.Contains(chosen.Names, string(m.ID)) })
	}
	var schemas []string
	for i := range may {
		text := may[i].Facts[job.FactHandler+name]
		if text == "" {
			return nil, nil
		}
		schemas = append(schemas, text)
	}
	slices.Sort(schemas)
	return slices.Compact(schemas), nil
}
