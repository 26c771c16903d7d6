package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
)

// checkOwnEtcd looks at the members of the cluster's own etcd: whether they answer, and
// whether one more may be lost.
func (c *Checker) checkOwnEtcd(ctx context.Context) ([]api.Check, error) {
	if !c.etcd.OwnEtcd() {
		return nil, nil
	}
	all, err := c.etcd.EtcdMembers(ctx)
	if err != nil {
		return nil, err
	}
	return ownEtcd(all), nil
}

func ownEtcd(all []api.EtcdMember) []api.Check {
	var checks []api.Check
	voters, up := 0, 0
	var down []string
	versions := map[string]bool{}
	for i := range all {
		m := &all[i]
		if m.Version != "" {
			versions[m.Version] = true
		}
		switch m.Role {
		case api.EtcdLearner, api.EtcdAdded:
			checks = append(checks, joining(m))
		case api.EtcdLeader, api.EtcdFollower:
			voters++
			up++
		case api.EtcdDown:
			voters++
			down = append(down, string(m.Node))
		case api.EtcdClient:
		}
	}
	ch := api.Check{Name: "etcd members", Status: api.CheckOK, Detail: fmt.Sprintf("%d of %d answer", up, voters)}
	if need := voters/2 + 1; voters > 1 {
		ch.Detail += fmt.Sprintf("; the cluster goes on while %d do", need)
	}
	switch {
	case len(down) > 0:
		ch.Status = api.CheckWarn
		ch.Detail += "; down: " + strings.Join(down, ", ")
		ch.Hint = "start those nodes again; one that is gone for good: carillon etcd remove NODE"
	case voters == 1:
		ch.Status, ch.Hint = api.CheckWarn, "all data is on one host; add two nodes: scheduler --join (docs/production.md)"
	case voters%2 == 0:
		ch.Status = api.CheckWarn
		ch.Hint = fmt.Sprintf("%d members survive the loss of no more than %d do; add one, or remove one (carillon etcd remove)", voters, voters-1)
	}
	checks = append(checks, ch)
	if len(versions) > 1 {
		checks = append(checks, api.Check{
			Name: "etcd members", Status: api.CheckWarn, Detail: "members run etcd " + strings.Join(slices.Sorted(maps.Keys(versions)), " and "),
			Hint: "have all nodes run the same version",
		})
	}
	return checks
}

// joining looks at a member that has no vote yet.
func joining(m *api.EtcdMember) api.Check {
	ch := api.Check{Name: "etcd members", Status: api.CheckWarn, Detail: fmt.Sprintf("%s joins, and is %d entries behind", m.Node, m.Behind)}
	name := string(m.Node)
	if m.Role == api.EtcdAdded {
		name = m.ID
		ch.Detail = fmt.Sprintf("a member was added for %s, and has not started", m.PeerURL)
	}
	ch.Hint = "it becomes a member once it has caught up; see its log if that takes minutes"
	if !m.Live {
		ch.Status = api.CheckFail
		ch.Hint = "no other node becomes a member meanwhile: start its node, or take it out: carillon etcd remove " + name
	}
	return ch
}
