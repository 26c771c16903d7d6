package webui

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

func (u *UI) sites(w http.ResponseWriter, r *http.Request) {
	all, err := u.control.Sites(r.Context())
	t := table{
		Note: "A site is a place that may be lost as a whole. carillon sites drain SITE has its nodes give their shards away.",
		Head: []string{"Site", "State", "Lost since", "Nodes", "Gone", "Shards", "Minions"}, None: "No sites.",
	}
	state := map[api.SiteState]job.State{api.SiteOK: job.StateSucceeded, api.SiteDegraded: job.StateRunning, api.SiteDrained: job.StateCancelled, api.SiteLost: job.StateFailed}
	for i := range all {
		s := &all[i]
		name := s.Name
		if name == "" {
			name = "(none)"
		}
		t.Rows = append(t.Rows, []cell{
			said(name), {Text: string(s.State), State: string(state[s.State])}, when(s.LostSince), namesOf(s.Nodes), namesOf(s.Gone), number(s.Shards),
			said(fmt.Sprintf("%d of %d connected", s.Connected, s.Minions)),
		})
	}
	u.showTable(w, r, "Sites", "sites", "nodes minions", t, err)
}

// namesOf counts names, and has them folded below.
func namesOf(names []job.NodeID) cell {
	c := number(len(names))
	for _, n := range names {
		c.More = append(c.More, string(n))
	}
	return c
}

// minion shows one minion: what is known of it, what it says of itself, and its last runs.
func (u *UI) minion(w http.ResponseWriter, r *http.Request) {
	id := job.MinionID(r.PathValue("id"))
	p := page{Title: "Minion " + string(id), Nav: "minions", Topics: "minions runs", About: string(id)}
	m, err := u.control.Minion(r.Context(), id)
	d := struct {
		About table
		Facts table
		Runs  []job.Run
		Gap   string
		// All leads to all its runs.
		All string
		// Unread is why its runs are not shown; empty: they are.
		Unread string
	}{Facts: table{Head: []string{"Fact", "Value"}, None: "It has told none."}}
	if err != nil {
		u.show(w, r, "minion", p, err)
		return
	}
	connected := cell{Text: m.State, State: m.State}
	if m.Trouble != "" {
		connected = cell{Text: m.State + "; it gets no orders: " + m.Trouble, State: string(job.StateFailed)}
	}
	labels := func(all map[string]string) cell { return code(job.LabelText(all)) }
	d.About = table{Head: []string{"What", "Value"}, Rows: [][]cell{
		{said("State"), connected}, {said("Since"), when(m.ConnectedSince)}, {said("Node"), said(orDash(string(m.Node)))}, {said("Runs now"), number(m.Running)},
		{said("Labels"), labels(m.Labels)}, {said("Asks for"), labels(m.Requested)}, {said("Version"), said(m.Version)}, {said("Known since"), when(m.Since)},
	}}
	if g := m.Granted; g != nil {
		d.About.Rows = append(d.About.Rows, []cell{said("Labels granted"), when(g.Since)}, []cell{said("Labels granted by"), said(g.By)})
	}
	if c := m.Certificate; c != nil {
		d.About.Rows = append(d.About.Rows, []cell{said("Joined"), when(c.EnrolledAt)}, []cell{said("Key"), code(c.Key)}, []cell{said("Certificate until"), when(c.ExpiresAt)}, []cell{said("Revoked"), when(c.RevokedAt)})
		for _, k := range c.Clones {
			d.About.Rows = append(d.About.Rows, []cell{said("Another key asked for its name"), {Text: k.Key, Mono: true, More: []string{"from " + k.From + ", " + utc(k.At)}}})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Facts)) {
		d.Facts.Rows = append(d.Facts.Rows, []cell{code(k), code(m.Facts[k])})
	}
	words := "minion:" + quoted(string(id))
	d.All = "/runs?" + url.Values{"q": {words}}.Encode()
	found, err := u.control.Runs(r.Context(), api.RunQuery{Words: words, Limit: 20})
	if err != nil {
		d.Unread = err.Error() // who sees minions may not see runs
	}
	d.Runs, d.Gap = found.Runs, found.Gap()
	p.Data = d
	u.show(w, r, "minion", p, nil)
}

// quoted writes a value of a query so that it is one word.
func quoted(text string) string {
	if strings.ContainsAny(text, " \t\"") {
		return `"` + strings.ReplaceAll(text, `"`, ``) + `"`
	}
	return text
}
