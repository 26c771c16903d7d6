package agentpush_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/job"
)

// TestFanOverALink: a run on many minions of a peer reaches each of them once.
func TestFanOverALink(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	a, b := c.nodes[0], c.nodes[1]
	const hosts = 150
	var ms []*agenttest.Minion
	var os []job.Order
	now := time.Now()
	fire := job.FireID{Job: job.UID{9}, At: now.UnixNano(), Trigger: job.TriggerManual}
	for i := range hosts {
		id := job.MinionID(fmt.Sprintf("m%d", i))
		ms = append(ms, c.minion(agenttest.Config{ID: id}, b))
		os = append(os, job.Order{
			Task: job.TaskID{Fire: fire, Minion: id, Attempt: 1}, Shard: 7, Token: job.Token{Epoch: 1, Revision: 2}, RunID: fire.RunID(),
			Command: []string{"true"}, Env: map[string]string{"A": "b"}, NotAfter: now.Add(long), Timeout: time.Minute,
		})
	}
	for round := range 2 { // the second time the peer has said what it reads
		for i := range os {
			os[i].Task.Attempt = round + 1
		}
		a.hub.Send(os)
		a.await(hosts*(round+1), "succeeded", inState(job.StateSucceeded))
	}
	for _, m := range ms {
		if m.Executed() != 2 || m.Repeated() != 0 {
			t.Errorf("%s ran %d, and was told again %d times", m.ID(), m.Executed(), m.Repeated())
		}
	}
}
