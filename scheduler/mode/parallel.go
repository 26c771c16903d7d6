package mode

import (
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/job"
)

// parallel gives every node its share of every occurrence.
func parallel() Mode {
	return Mode{
		Name:   "parallel",
		Words:  "every node has its own share of every occurrence; the shares are runs of their own, or, with start sync, start together as one run",
		Reads:  []string{"spread", "start"},
		Check:  checkStart,
		Holder: func(s *Situation) Verdict { return s.rendezvous(s.Nodes) },
		Shares: shares,
	}
}

func checkStart(g *job.GroupSpec) []job.Problem {
	if g.Start != "" && g.Start != job.StartAsync && g.Start != job.StartSync {
		return []job.Problem{{Path: "spec.start", Message: fmt.Sprintf("%q is unknown; (allowed: %s, %s)", g.Start, job.StartAsync, job.StartSync)}}
	}
	return nil
}

// shares returns the nodes that have a share: all, or of each value of the
// spread label the first choice. Nodes without the label have none then.
func shares(s *Situation) []job.NodeID {
	seen := map[string]bool{}
	var out []job.NodeID
	for _, n := range s.ranked() {
		if s.Spec.Spread != "" {
			v := n.Label(s.Spec.Spread)
			if v == "" || seen[v] {
				continue
			}
			seen[v] = true
		}
		out = append(out, n.ID)
	}
	slices.Sort(out)
	return out
}
