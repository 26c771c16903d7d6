package agentpush

import (
	"maps"

	"github.com/carillon-cron/carillon/job"
)

// description is what a minion is like.
type description struct {
	// stored is what the cluster's state says; nil: nothing yet. Its labels, and
	// those of local, are what the minion says of itself.
	stored *job.Minion
	// local is what it said itself in its session here; nil: no session here.
	local *job.Minion
	// granted are the labels that it has been granted; view is the minion as
	// others see it, with these; nil: nothing is known of it.
	granted map[string]string
	view    *job.Minion
}

// see makes the view: its labels are those that were granted, or with trusting also
// those that it says it has; what it says beyond them are requests.
func (d *description) see(trusting bool) *job.Minion {
	said := d.local
	if said == nil {
		said = d.stored
	}
	if said == nil {
		return nil
	}
	m := *said
	m.Labels, m.Requested = d.granted, nil
	for k, v := range said.Labels {
		if has, ok := d.granted[k]; ok && (trusting || has == v) {
			continue
		}
		if trusting {
			if len(d.granted) == 0 {
				m.Labels = said.Labels
				break
			}
			m.Labels = maps.Clone(said.Labels)
			maps.Copy(m.Labels, d.granted)
			break
		}
		if m.Requested == nil {
			m.Requested = map[string]string{}
		}
		m.Requested[k] = v
	}
	return &m
}
