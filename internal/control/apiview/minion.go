package apiview

import (
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Minion is what the API tells of a minion.
func Minion(m job.Minion) api.Minion {
	v := api.Minion{Minion: m, State: api.MinionConnected}
	if m.Node == "" {
		v.State = api.MinionDisconnected
	}
	if len(m.Facts) > 0 {
		v.FactsFrom = api.FactsFromMinion
	}
	return v
}

// StoredMinion sets apart what a stored minion asks for and what it has.
func StoredMinion(m *etcdkv.StoredMinion, granted map[string]string) job.Minion {
	out := job.Minion{ID: m.ID, Labels: granted, Facts: m.Facts, Version: m.Version, Since: m.Since}
	for k, v := range m.Labels {
		if has, ok := granted[k]; !ok || has != v {
			if out.Requested == nil {
				out.Requested = map[string]string{}
			}
			out.Requested[k] = v
		}
	}
	return out
}
