package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/internal/members/roster"
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
	apart, err := c.etcd.EtcdDistance(ctx)
	return append(ownEtcd(all), etcdPace(&apart)...), err
}

// etcdPace looks whether members that are so far apart bear how fast they call one another
// lost, and says which settings would fit.
func etcdPace(d *roster.Distance) []api.Check {
	a, b, trip := d.Furthest()
	if b == "" {
		return nil
	}
	trip = trip.Round(10 * time.Microsecond)
	ch := api.Check{Name: "etcd pace", Status: api.CheckOK}
	if a == "" {
		ch.Detail = fmt.Sprintf("%s is a round trip of %v away from this node", b, trip)
	} else {
		ch.Detail = fmt.Sprintf("%s and %s are a round trip of %v apart at most, measured from this node", a, b, trip)
	}
	ch.Detail += fmt.Sprintf("; heartbeat %v, election %v, lease %v", d.Pace.Heartbeat, d.Pace.Election, d.Pace.LeaseTTL)
	if why := d.Pace.Bears(trip); why != "" {
		fits := pace.For(trip)
		ch.Status, ch.Detail = api.CheckWarn, ch.Detail+": "+why
		ch.Hint = fmt.Sprintf("give all nodes --etcd-heartbeat %v --etcd-election %v --lease-ttl %v, one after the other", fits.Heartbeat, fits.Election, fits.LeaseTTL)
	}
	return []api.Check{ch}
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
		ch.Hint = "start those nodes again; one that is gone for good: carillon etcd remove NODE, or carillon etcd replace NODE"
	case voters == 1:
		ch.Status, ch.Hint = api.CheckWarn, "all data is on one host; add two nodes: scheduler --join (docs/production.md)"
	case voters%2 == 0:
		ch.Status = api.CheckWarn
		ch.Hint = fmt.Sprintf("%d members survive the loss of no more hosts than %d would; add one, or remove one (carillon etcd remove)", voters, voters-1)
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

// whoAnswers asks each member that votes whether it runs, where a majority may be away: by
// name, whether it answers. Empty: it cannot be told.
func (c *Checker) whoAnswers(ctx context.Context) map[string]bool {
	sctx, cancel := c.db.Bounded(ctx)
	defer cancel()
	list, err := c.db.Client.MemberList(sctx, clientv3.WithSerializable()) // as the one that is asked knows them
	if err != nil {
		return nil
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	answers := map[string]bool{}
	for _, m := range list.Members {
		if m.IsLearner || m.Name == "" {
			continue
		}
		all.Go(func() {
			up := slices.ContainsFunc(m.ClientURLs, func(url string) bool {
				_, err := c.db.Status(ctx, url)
				return err == nil
			})
			mu.Lock()
			defer mu.Unlock()
			answers[m.Name] = up
		})
	}
	all.Wait()
	return answers
}

// lacking tells which members are to be started, where those that answer are no majority;
// empty: they are one, or it is not known.
func lacking(answers map[string]bool) (detail, hint string) {
	var down []string
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		if !answers[name] {
			down = append(down, name)
		}
	}
	up, need := len(answers)-len(down), len(answers)/2+1
	if up >= need || len(down) == 0 {
		return "", ""
	}
	word := "answer"
	if up == 1 {
		word = "answers"
	}
	return fmt.Sprintf("%d of %d members %s, and %d are needed", up, len(answers), word, need),
		fmt.Sprintf("start %s; when too many are gone for good, see docs/disaster-recovery.md", strings.Join(down, ", "))
}
