package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// etcd's own server leaves these behind for a moment after it has closed.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch.func2"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	)
}

func minion(id job.MinionID, f release.Facts) job.Minion {
	return job.Minion{ID: id, Node: "n1", Facts: f.Map()}
}

func groups(g ...etcdkv.UpdateGroup) []etcdkv.UpdateGroup { return g }

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a constant that Go cannot write as one

func TestNext(t *testing.T) {
	t.Parallel()
	on := release.Facts{On: true, Release: 6}
	two := etcdkv.UpdatePlan{Release: 7, Groups: groups(
		etcdkv.UpdateGroup{Name: "canary", Match: "a"}, etcdkv.UpdateGroup{Name: "rest", Match: "*", MaxInFlight: "100%"},
	)}
	changed := func(f func(*etcdkv.UpdatePlan)) etcdkv.UpdatePlan {
		p := two
		f(&p)
		return p
	}
	healthy, failed := release.Facts{On: true, Release: 7}, release.Facts{On: true, Release: 6, Failed: 7, Reason: "crashed"}
	away := minion("b", healthy)
	away.Node = ""
	for name, c := range map[string]struct {
		plan    etcdkv.UpdatePlan
		state   etcdkv.UpdateState
		minions []job.Minion
		status  release.Status
		want    etcdkv.UpdateState
	}{
		"the first group is told": {
			plan: two, minions: []job.Minion{minion("a", on), minion("b", on)}, status: release.StatusRunning,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"a": began}},
		},
		"then the next, and who is healthy is under way no more": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Since: map[job.MinionID]time.Time{"a": began}},
			minions: []job.Minion{minion("a", healthy), minion("b", on), minion("c", on), minion("d", release.Facts{})}, status: release.StatusRunning,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"b": began, "c": began}},
		},
		"a failure halts": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Since: map[job.MinionID]time.Time{"a": began}},
			minions: []job.Minion{minion("a", failed), minion("b", on)}, status: release.StatusHalted,
			want: etcdkv.UpdateState{Failed: map[job.MinionID]string{"a": "crashed"}, Hold: true},
		},
		"a failure stays, whatever the minion says later": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Failed: map[job.MinionID]string{"a": "crashed"}, Hold: true},
			minions: []job.Minion{minion("a", on), minion("b", on)}, status: release.StatusHalted,
			want: etcdkv.UpdateState{Failed: map[job.MinionID]string{"a": "crashed"}, Hold: true},
		},
		"until it is healthy": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Failed: map[job.MinionID]string{"a": "crashed"}, Hold: true},
			minions: []job.Minion{minion("a", healthy), minion("b", healthy)}, status: release.StatusDone,
			want: etcdkv.UpdateState{},
		},
		"patience ends": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Since: map[job.MinionID]time.Time{"a": began.Add(-release.DefaultPatience)}},
			minions: []job.Minion{minion("a", on)}, status: release.StatusHalted,
			want: etcdkv.UpdateState{Failed: map[job.MinionID]string{"a": "was not healthy within 10m0s"}, Hold: true},
		},
		"the failure of another release is none": {
			plan: two, minions: []job.Minion{minion("a", release.Facts{On: true, Release: 5, Failed: 6})}, status: release.StatusRunning,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"a": began}},
		},
		"the state of another release counts for nothing": {
			plan: two, state: etcdkv.UpdateState{Release: 6, Failed: map[job.MinionID]string{"a": "x"}, Hold: true},
			minions: []job.Minion{minion("a", on)}, status: release.StatusRunning,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"a": began}},
		},
		"paused": {
			plan: changed(func(p *etcdkv.UpdatePlan) { p.Paused = true }), state: etcdkv.UpdateState{Release: 7, Since: map[job.MinionID]time.Time{"a": began}},
			minions: []job.Minion{minion("a", on), minion("b", on)}, status: release.StatusPaused,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"a": began}},
		},
		"who took it and has gone is waited for": {
			plan:    changed(func(p *etcdkv.UpdatePlan) { p.Groups = groups(etcdkv.UpdateGroup{Name: "all", Match: "*"}) }),
			minions: []job.Minion{minion("a", on), away}, status: release.StatusRunning, want: etcdkv.UpdateState{},
		},
		"who is forgotten while under way stays so": {
			plan: two, state: etcdkv.UpdateState{Release: 7, Since: map[job.MinionID]time.Time{"z": began}}, status: release.StatusDone,
			want: etcdkv.UpdateState{Since: map[job.MinionID]time.Time{"z": began}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := Next(&c.plan, c.state, c.minions, nil, began)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			want.Schema, want.Release = etcdkv.Schema, 7
			if want.Since == nil {
				want.Since = map[job.MinionID]time.Time{}
			}
			if want.Failed == nil {
				want.Failed = map[job.MinionID]string{}
			}
			if diff := cmp.Diff(want, out.State); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if out.Step.Status != c.status {
				t.Errorf("status %s, want %s", out.Step.Status, c.status)
			}
			n := 0
			for _, g := range out.Groups {
				for _, k := range g.Phases {
					n += k
				}
			}
			if n != len(c.minions) {
				t.Errorf("%d minions are in groups, want each of %d in one: %+v", n, len(c.minions), out.Groups)
			}
		})
	}
}

func TestCheckTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	saved := target.Groups{}
	good := etcdkv.UpdatePlan{Release: 1, Groups: groups(etcdkv.UpdateGroup{Name: "a", Match: "*", MaxInFlight: "5%"})}
	if err := Check(&good, saved); err != nil {
		t.Error(err)
	}
	bad := etcdkv.UpdatePlan{Tolerate: -1, Groups: groups(
		etcdkv.UpdateGroup{Name: "a", Match: "(", MaxInFlight: "many"}, etcdkv.UpdateGroup{Name: "a", Match: "@none"},
	)}
	err := Check(&bad, saved)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("Check = %v", err)
	}
	for _, want := range []string{"groups[0].match", "groups[0].maxInFlight", "groups[1].match", "release is 0", "tolerate is -1", "used twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q in it", err, want)
		}
	}
	if err := Check(&etcdkv.UpdatePlan{Release: 1}, saved); err == nil || !strings.Contains(err.Error(), "groups: is empty") {
		t.Errorf("Check = %v", err)
	}
}

// fleet is the minions of a cluster. Who is told comes to the release at once,
// or fails.
type fleet struct {
	t      *testing.T
	client *clientv3.Client
	keys   etcdkv.Keys
	// metrics are those of the controllers that were started.
	metrics []*prometheus.Registry

	mu sync.Mutex
	// mu guards what follows.
	minions map[job.MinionID]job.Minion
	bad     map[job.MinionID]bool
	told    []job.MinionID
	// stuck: who is told does nothing.
	stuck bool
}

func (f *fleet) Minions() []job.Minion {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []job.Minion
	for _, id := range slices.Sorted(maps.Keys(f.minions)) {
		out = append(out, f.minions[id])
	}
	return out
}

func (f *fleet) HostGroups() target.Groups { return nil }

func (f *fleet) state() etcdkv.UpdateState {
	resp, err := f.client.Get(context.Background(), f.keys.UpdateState())
	if err != nil {
		f.t.Error(err)
		return etcdkv.UpdateState{}
	}
	if len(resp.Kvs) == 0 {
		return etcdkv.UpdateState{}
	}
	s, err := etcdkv.Decode[etcdkv.UpdateState](f.keys.UpdateState(), resp.Kvs[0].Value)
	if err != nil {
		f.t.Error(err)
	}
	return s
}

// tell holds U1.
func (f *fleet) tell(number int64, signed []byte, ids []job.MinionID) {
	if number == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		m := f.minions[id]
		if facts := release.FactsOf(m.Facts); facts.Release == release.Number(number) || facts.Failed == release.Number(number) {
			continue // told again
		}
		if f.state().Since[id].IsZero() {
			f.t.Errorf("U1: %s is told, and it is not durable that it is", id)
		}
		f.told = append(f.told, id)
		if f.stuck {
			continue
		}
		if string(signed) != "signed" {
			f.t.Errorf("signed: %q", signed)
		}
		facts := release.Facts{On: true, Release: release.Number(number)}
		if f.bad[id] {
			facts = release.Facts{On: true, Failed: release.Number(number), Reason: "crashed"}
		}
		f.minions[id] = minion(id, facts)
	}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	srv := etcdtest.Start(t)
	f := &fleet{t: t, client: srv.Client(t), keys: etcdkv.NewKeys(""), minions: map[job.MinionID]job.Minion{}, bad: map[job.MinionID]bool{}}
	for i := range 8 {
		id := job.MinionID(fmt.Sprintf("m%d", i))
		f.minions[id] = minion(id, release.Facts{On: true})
	}
	return f
}

// controllers starts n controllers that all look after the plan, and returns
// what stops them.
func (f *fleet) controllers(n int, ready func() bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range n {
		metrics := prometheus.NewRegistry()
		f.metrics = append(f.metrics, metrics)
		c, err := New(Config{Keys: f.keys, Every: 5 * time.Millisecond}, Deps{
			Client: f.client, Minions: f, Ready: ready, Mine: func() bool { return true }, Tell: f.tell, Metrics: metrics,
		})
		if err != nil {
			f.t.Fatal(err)
		}
		wg.Go(func() {
			if err := c.Run(ctx); err != nil {
				f.t.Error(err)
			}
		})
	}
	stop = func() {
		cancel()
		wg.Wait()
	}
	f.t.Cleanup(stop)
	return stop
}

func (f *fleet) put(p etcdkv.UpdatePlan) {
	f.t.Helper()
	p.Schema, p.Signed = etcdkv.Schema, []byte("signed")
	text, err := etcdkv.Encode(&p)
	if err == nil {
		_, err = f.client.Put(context.Background(), f.keys.UpdatePlan(), text)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) eventually(what string, cond func() bool) {
	f.t.Helper()
	await.Missing(f.t, func() string {
		if cond() {
			return ""
		}
		return fmt.Sprintf("%s; state %+v", what, f.state())
	})
}

// metric returns the value of a gauge of the ith controller, by its label's value
// where it has one.
func (f *fleet) metric(i int, name string, label ...string) float64 {
	f.t.Helper()
	families, err := f.metrics[i].Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if family.GetName() == name && slices.Equal(labels, label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	f.t.Fatalf("no metric %s %v", name, label)
	return 0
}

func (f *fleet) at(number release.Number) int {
	n := 0
	for _, m := range f.Minions() {
		if release.FactsOf(m.Facts).Release == number {
			n++
		}
	}
	return n
}

// With two controllers at once nobody is told twice, and no more are under way
// than may be, in any state that ever was.
func TestU2_TwoControllersAreAsOne(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	watching, stop := context.WithCancel(context.Background())
	states := f.client.Watch(watching, f.keys.UpdateState())
	f.controllers(2, func() bool { return true })
	f.put(etcdkv.UpdatePlan{Release: 7, Groups: groups(
		etcdkv.UpdateGroup{Name: "first", Match: "m0"}, etcdkv.UpdateGroup{Name: "rest", Match: "*", Canaries: 1, MaxInFlight: "2"},
	)})
	f.eventually("all have the release", func() bool { return f.at(7) == 8 })
	f.eventually("nobody is under way", func() bool { return len(f.state().Since) == 0 })
	last := f.state()
	f.mu.Lock()
	told := slices.Clone(f.told)
	f.mu.Unlock()
	if told[0] != "m0" || len(told) != 8 {
		t.Errorf("told: %v", told)
	}
	for seen := false; !seen; {
		for _, e := range (<-states).Events {
			s, err := etcdkv.Decode[etcdkv.UpdateState](string(e.Kv.Key), e.Kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Since) > 2 {
				t.Errorf("%d are under way: %v", len(s.Since), s.Since)
			}
			seen = cmp.Equal(s, last)
		}
	}
	stop()
}

// When the node that looked after the plan has died, the next one counts who is
// under way, tells them again, and goes on.
func TestU1_AnotherNodeGoesOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.stuck = true
	stop := f.controllers(1, func() bool { return true })
	f.put(etcdkv.UpdatePlan{Release: 7, Groups: groups(etcdkv.UpdateGroup{Name: "all", Match: "*", MaxInFlight: "3"})})
	told := func() []job.MinionID {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Clone(f.told)
	}
	f.eventually("three are told", func() bool { return len(told()) >= 3 })
	stop()
	before := told()
	f.mu.Lock()
	f.told, f.stuck = nil, false
	f.mu.Unlock()
	f.controllers(1, func() bool { return true })
	f.eventually("all have the release", func() bool { return f.at(7) == 8 })
	if again := told(); len(again) != 8 || !cmp.Equal(again[:3], before[:3]) {
		t.Errorf("told: %v, and before that node died: %v", again, before)
	}
}

// A failure halts the plan durably, and a release that comes later begins anew.
func TestFailureHalts(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.bad["m0"] = true
	f.controllers(1, func() bool { return true })
	plan := etcdkv.UpdatePlan{Release: 7, Groups: groups(
		etcdkv.UpdateGroup{Name: "first", Match: "m0"}, etcdkv.UpdateGroup{Name: "rest", Match: "*", MaxInFlight: "100%"},
	)}
	f.put(plan)
	f.eventually("the plan is halted", func() bool { return f.state().Hold })
	f.eventually("the metrics tell of it", func() bool {
		return f.metric(0, "carillon_update_release") == 7 && f.metric(0, "carillon_update_halted") == 1 &&
			f.metric(0, "carillon_update_minions", "failed") == 1 && f.metric(0, "carillon_update_minions", "pending") == 7
	})
	if diff := cmp.Diff(map[job.MinionID]string{"m0": "crashed"}, f.state().Failed); diff != "" {
		t.Error(diff)
	}
	if n := f.at(7); n != 0 {
		t.Errorf("%d have the release", n)
	}
	f.mu.Lock()
	f.bad = map[job.MinionID]bool{}
	f.mu.Unlock()
	plan.Release = 8
	f.put(plan)
	f.eventually("all have the next release", func() bool { return f.at(8) == 8 })
	f.eventually("the metrics tell of that", func() bool {
		return f.metric(0, "carillon_update_release") == 8 && f.metric(0, "carillon_update_halted") == 0 &&
			f.metric(0, "carillon_update_minions", "failed") == 0 && f.metric(0, "carillon_update_minions", "healthy") == 8
	})
	plan.Off = true
	f.put(plan)
	f.eventually("nothing is left of a plan that is off", func() bool {
		return f.metric(0, "carillon_update_release") == 0 && f.metric(0, "carillon_update_minions", "healthy") == 0
	})
}

// Before all is known nobody is told.
func TestU4_NobodyIsToldBeforeAllIsKnown(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	asked := make(chan struct{}, 100)
	var mu sync.Mutex
	ready := false
	f.controllers(1, func() bool {
		select {
		case asked <- struct{}{}:
		default:
		}
		mu.Lock()
		defer mu.Unlock()
		return ready
	})
	p := etcdkv.UpdatePlan{Release: 7, Groups: groups(etcdkv.UpdateGroup{Name: "all", Match: "*", MaxInFlight: "100%"})}
	f.put(p)
	for range 5 {
		<-asked
	}
	if s := f.state(); s.Release != 0 {
		t.Errorf("state: %+v", s)
	}
	mu.Lock()
	ready = true
	mu.Unlock()
	f.eventually("all have the release", func() bool { return f.at(7) == 8 })
}
