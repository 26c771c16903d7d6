package attack

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// A minion with a good certificate sends what no minion does: its session ends, the
// answer names the field, and the node goes on for others.
func TestMinionSendsWhatItLikes(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	cert := joined(t, n, "taken")
	mb := strings.Repeat("x", 900<<10)
	report := func(change func(*agentpb.Report)) *agentpb.FromMinion {
		r := &agentpb.Report{
			Task:  &agentpb.TaskID{Job: make([]byte, len(job.UID{})), At: time.Now().UnixNano(), Trigger: 1, Attempt: 1},
			Known: true, State: string(job.StateSucceeded), Spooled: true,
		}
		change(r)
		return &agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: []*agentpb.Report{r}}}}
	}
	year := func(y int) int64 { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() }
	many := &agentpb.Fetch{}
	for i := range 5000 {
		many.Sha256 = append(many.Sha256, job.ScriptSum(fmt.Sprint(i)))
	}
	for field, frame := range map[string]*agentpb.FromMinion{
		"field (all)":                      {Body: &agentpb.FromMinion_Inventory{Inventory: &agentpb.Inventory{Facts: map[string]string{"motd": mb}}}},
		"field inventory.facts.value":      {Body: &agentpb.FromMinion_Inventory{Inventory: &agentpb.Inventory{Facts: map[string]string{"motd": mb[:2000]}}}},
		"field inventory has":              {Body: &agentpb.FromMinion_Inventory{Inventory: &agentpb.Inventory{Facts: map[string]string{"motd": mb[:200_000]}}}},
		"field output.data":                {Body: &agentpb.FromMinion_Output{Output: &agentpb.OutputChunk{Id: 1, Data: []byte(mb[:100_000])}}},
		"field beat.trouble":               {Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Trouble: []string{mb[:1000]}}}},
		"field fetch":                      {Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: many.Sha256[:1000]}}},
		"field reports.reports.state":      report(func(r *agentpb.Report) { r.State = "exploded" }),
		"field reports.reports.started_at": report(func(r *agentpb.Report) { r.StartedAt = year(1684) }),
		"field reports.reports.ended_at":   report(func(r *agentpb.Report) { r.EndedAt = year(2255) }),
		"field reports.reports.stdout":     report(func(r *agentpb.Report) { r.Stdout = &agentpb.Output{Head: []byte(mb[:50_000])} }),
		"field hello.session":              {Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{Minion: "taken", Instance: "x", Session: math.MaxInt64 - 1}}},
	} {
		t.Run(field, func(t *testing.T) {
			stream, err := agentpb.NewPushClient(dial(t, n, cert)).Session(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			hello := &agentpb.Hello{Minion: "taken", Instance: "taken", Protocol: agentpb.Protocol}
			for _, f := range []*agentpb.FromMinion{{Body: &agentpb.FromMinion_Hello{Hello: hello}}, frame} {
				_ = stream.Send(f) // Recv tells why it fails
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), field) {
				t.Errorf("the session ended otherwise: %v", err)
			}
		})
	}
	startMinion(t, n, "web1")
	n.carillon(t, "exec", "--target", "web1", "--", "true").must(t)
}
