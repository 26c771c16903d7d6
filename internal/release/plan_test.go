package release

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

func drawPlan(t *rapid.T, ids []job.MinionID) Plan {
	p := Plan{
		Release: 10, Tolerate: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "tolerate"),
		Off: rapid.IntRange(0, 9).Draw(t, "off") == 0, Paused: rapid.IntRange(0, 9).Draw(t, "paused") == 0,
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "groups") {
		g := Group{Name: fmt.Sprintf("g%d", i), Canaries: rapid.IntRange(0, 3).Draw(t, "canaries")}
		if rapid.Bool().Draw(t, "percent") {
			g.MaxInFlight = job.Amount(fmt.Sprintf("%d%%", rapid.IntRange(1, 100).Draw(t, "max in flight")))
		} else if n := rapid.IntRange(0, 5).Draw(t, "max in flight"); n > 0 {
			g.MaxInFlight = job.Amount(strconv.Itoa(n))
		}
		if len(ids) > 0 {
			g.Minions = rapid.SliceOfN(rapid.SampledFrom(ids), 0, 8).Draw(t, "members")
		}
		p.Groups = append(p.Groups, g)
	}
	return p
}

func drawMinion(t *rapid.T) Minion {
	m := Minion{
		Release:   rapid.SampledFrom([]Number{8, 9, 10, 10, 10, 11}).Draw(t, "release"),
		Connected: rapid.IntRange(0, 4).Draw(t, "connected") > 0,
		Managed:   rapid.IntRange(0, 9).Draw(t, "managed") == 0,
		Failed:    rapid.SampledFrom([]Number{0, 0, 0, 0, 7, 10}).Draw(t, "failed"),
	}
	if rapid.IntRange(0, 3).Draw(t, "told") == 0 {
		m.UpdatingSince = now.Add(-rapid.SampledFrom([]time.Duration{0, DefaultPatience - 1, DefaultPatience}).Draw(t, "since"))
	}
	return m
}

func drawIDs(t *rapid.T) []job.MinionID {
	var ids []job.MinionID
	for i := range rapid.IntRange(0, 12).Draw(t, "minions") {
		ids = append(ids, job.MinionID(fmt.Sprintf("m%d", i)))
	}
	return ids
}

// P1 to P5 hold for whatever is known of the minions. The promises are counted
// out here from the minions themselves, in another way than the plan does.
func TestNextKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		p := drawPlan(t, ids)
		minions := map[job.MinionID]Minion{}
		for _, id := range ids {
			if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
				minions[id] = drawMinion(t)
			}
		}
		step := p.Next(minions, now)
		checkPromises(t, p, minions, step)
	})
}

func checkPromises(t *rapid.T, p Plan, minions map[job.MinionID]Minion, step Step) {
	home := map[job.MinionID]int{}
	failed := 0
	for i, g := range p.Groups {
		for _, id := range g.Minions {
			if _, ok := home[id]; !ok {
				home[id] = i
				if p.Phase(minions[id], now) == PhaseFailed {
					failed++
				}
			}
		}
	}
	if (p.Off || p.Paused || failed > p.Tolerate) && len(step.Tell) > 0 {
		t.Fatalf("P4: told %v with %d failures by %+v", step.Tell, failed, p)
	}
	counted := 0
	for _, g := range step.Groups {
		counted += g[PhaseFailed]
	}
	if len(step.Failed) != failed || counted != failed {
		t.Fatalf("%d have failed, step says %v", failed, step.Failed)
	}
	told := map[job.MinionID]bool{}
	for _, id := range step.Tell {
		m := minions[id]
		if told[id] || !m.Connected || m.Managed || m.Release >= p.Release || m.Failed == p.Release || !m.UpdatingSince.IsZero() {
			t.Fatalf("P5: told %s, which is %+v", id, m)
		}
		told[id] = true
	}
	begun := len(p.Groups)
	for i, g := range p.Groups {
		var healthy, open, news, pending, size int
		for id, at := range home {
			m := minions[id]
			if at != i || m.Managed {
				continue
			}
			size++
			switch at := m.Release >= p.Release; {
			case at && m.Connected:
				healthy++
			case at:
				open++
			case m.Failed == p.Release:
			case !m.UpdatingSince.IsZero():
				if now.Sub(m.UpdatingSince) < DefaultPatience {
					open++
				}
			case told[id]:
				news++
			case m.Connected:
				pending++
			}
		}
		text, share := strings.CutSuffix(string(g.MaxInFlight), "%")
		limit, _ := strconv.Atoi(text) // none: 0
		if share {
			limit = size * limit / 100
		}
		limit = max(1, limit)
		if news > 0 && news+open > limit {
			t.Fatalf("P1: group %d has %d in flight and %d told, limit %d", i, open, news, limit)
		}
		if news > 0 && i > begun {
			t.Fatalf("P2: group %d is told before group %d is done", i, begun)
		}
		canaries := min(g.Canaries, size)
		if news > 0 && healthy < canaries && healthy+open+news > canaries {
			t.Fatalf("P3: group %d: %d healthy, %d in flight, %d told, %d canaries", i, healthy, open, news, canaries)
		}
		complete := open+news+pending == 0 && healthy >= min(size, max(1, g.Canaries))
		if !complete && begun == len(p.Groups) {
			begun = i
			room := limit - open - news
			if healthy < canaries {
				room = min(room, canaries-healthy-open-news)
			}
			if step.Status == StatusRunning && room > 0 && pending > 0 {
				t.Fatalf("P5: group %d: %d could be told and are not", i, min(room, pending))
			}
			if step.Group != g.Name {
				t.Fatalf("step is in group %q, want %q", step.Group, g.Name)
			}
		}
	}
	if (begun == len(p.Groups)) != (step.Group == "") || step.Status == StatusDone && step.Group != "" {
		t.Fatalf("status %s, group %q, the first that is not done is %d", step.Status, step.Group, begun)
	}
}

// Played through with minions that come, go, update and fail, a plan keeps its
// promises at every step; and if nothing fails and all come back, it gets done.
func TestPlanPlayedThrough(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		p := drawPlan(t, ids)
		p.Off, p.Paused = false, false
		minions := map[job.MinionID]Minion{}
		for _, id := range ids {
			minions[id] = Minion{Release: 9, Connected: true}
		}
		mayFail := rapid.Bool().Draw(t, "may fail")
		advance := func() Step {
			step := p.Next(minions, now)
			checkPromises(t, p, minions, step)
			for _, id := range step.Tell {
				m := minions[id]
				m.UpdatingSince = now
				minions[id] = m
			}
			return step
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			advance()
			if len(ids) == 0 {
				break
			}
			id := rapid.SampledFrom(ids).Draw(t, "minion")
			m := minions[id]
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				m.Connected = !m.Connected
			case 1:
				if !mayFail || m.UpdatingSince.IsZero() {
					continue
				}
				m.Failed, m.UpdatingSince, m.Connected = p.Release, time.Time{}, true
			default:
				if m.UpdatingSince.IsZero() {
					continue
				}
				m.Release, m.UpdatingSince, m.Connected = p.Release, time.Time{}, true
			}
			minions[id] = m
		}
		for range 2*len(ids) + 2 { // everybody comes to an end
			step := advance()
			for id, m := range minions {
				m.Connected = true
				if !m.UpdatingSince.IsZero() {
					m.Release, m.UpdatingSince = p.Release, time.Time{}
				}
				minions[id] = m
			}
			if mayFail && step.Status == StatusHalted && len(step.Tell) > 0 {
				t.Fatal("a halted plan tells")
			}
		}
		if step := p.Next(minions, now); !mayFail && step.Status != StatusDone {
			t.Fatalf("in the end: %+v", step)
		}
	})
}

func TestPlan(t *testing.T) {
	t.Parallel()
	names := func(s string) (ids []job.MinionID) {
		for _, id := range strings.Fields(s) {
			ids = append(ids, job.MinionID(id))
		}
		return ids
	}
	groups := []Group{
		{Name: "first", Minions: names("a b"), MaxInFlight: "1"},
		{Name: "rest", Minions: names("a c d e f"), Canaries: 1, MaxInFlight: "50%"},
	}
	all := func(phases string) map[job.MinionID]Minion { // per minion from a: its phase
		m := map[job.MinionID]Minion{}
		for i, c := range phases {
			m[job.MinionID(rune('a'+i))] = map[rune]Minion{
				'p': {Release: 9, Connected: true}, 'i': {Release: 9, UpdatingSince: now}, 'h': {Release: 10, Connected: true, UpdatingSince: now},
				'l': {Release: 10}, 'f': {Release: 9, Connected: true, Failed: 10}, 's': {Release: 9, Connected: true, UpdatingSince: now.Add(-time.Hour)},
				'e': {Release: 9, Connected: true, UpdatingSince: now.Add(-DefaultPatience)},
				'a': {Release: 9}, 'm': {Release: 3, Connected: true, Managed: true}, 'n': {Release: 12, Connected: true},
			}[c]
		}
		return m
	}
	for _, c := range []struct {
		phases string
		change func(*Plan)
		status Status
		tell   string
		reason string
	}{
		{phases: "pppppp", status: StatusRunning, tell: "a", reason: "group first: 0 of 2 healthy, 2 pending"},
		{phases: "ippppp", status: StatusRunning},
		{phases: "hppppp", status: StatusRunning, tell: "b"},
		{phases: "hipppp", status: StatusRunning},
		{phases: "hhpppp", status: StatusRunning, tell: "c", reason: "group rest: 0 of 1 canaries healthy, 4 pending"},
		{phases: "hhippp", status: StatusRunning},
		{phases: "hhhppp", status: StatusRunning, tell: "d e"},
		{phases: "hhhipp", status: StatusRunning, tell: "e"},
		{phases: "hhhlpp", status: StatusRunning, tell: "e"},
		{phases: "hhhhhh", status: StatusDone},
		{phases: "nnnnnn", status: StatusDone},
		{phases: "mmmmmm", status: StatusDone},
		{phases: "aapppp", status: StatusRunning, reason: "group first: 0 of 2 healthy, 2 absent"},
		{phases: "happpp", status: StatusRunning, tell: "c"},
		{phases: "hphhpp", status: StatusRunning, tell: "b"}, // it came back
		{phases: "hlpppp", status: StatusRunning},
		{phases: "hhhfpp", status: StatusHalted, reason: "the first is d"},
		{phases: "hhhspp", status: StatusHalted},
		{phases: "hhhepp", status: StatusHalted, reason: "the first is d"},
		{phases: "hhhfpp", change: func(p *Plan) { p.Tolerate = 1 }, status: StatusRunning, tell: "e f"},
		{phases: "hhfppp", change: func(p *Plan) { p.Tolerate = 1 }, status: StatusRunning, tell: "d"},
		{phases: "hhhspp", change: func(p *Plan) { p.Patience = 2 * time.Hour }, status: StatusRunning, tell: "e"},
		{phases: "pppppp", change: func(p *Plan) { p.Off = true }, status: StatusOff},
		{phases: "pppppp", change: func(p *Plan) { p.Paused = true }, status: StatusPaused},
		{phases: "hhhhhh", change: func(p *Plan) { p.Paused = true }, status: StatusDone},
	} {
		p := Plan{Release: 10, Groups: groups}
		if c.change != nil {
			c.change(&p)
		}
		step := p.Next(all(c.phases), now)
		if diff := cmp.Diff(names(c.tell), slices.Clip(step.Tell)); step.Status != c.status || len(step.Tell)+len(c.tell) > 0 && diff != "" || !strings.Contains(step.Reason, c.reason) {
			t.Errorf("%s: %+v, want %s, %q, %q", c.phases, step, c.status, c.tell, c.reason)
		}
	}
}

func TestPlanTellsAllProblems(t *testing.T) {
	t.Parallel()
	p := Plan{Tolerate: -1, Patience: -1, Groups: []Group{{}, {Name: "a", Canaries: -1}, {Name: "a", MaxInFlight: "101%"}}}
	err := p.Validate()
	for _, want := range []string{"release is 0", "tolerate is -1", "patience is -1ns", "group 1: name is empty", "canaries is -1", "used twice", "max in flight"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	if err := (Plan{Release: 1, Groups: []Group{{Name: "a"}}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for s, of := range map[string]int{"1": 1, "20": 20, "5%": 2, "100%": 50, "1%": 1} {
		l, err := ParseLimit(s)
		if err != nil || string(l) != s || l.Of(50, 1) != of {
			t.Errorf("%s: %+v, %v: of 50 %d, want %d", s, l, err, l.Of(50, 1), of)
		}
	}
	for _, s := range []string{"", "0", "-1", "101%", "0%", "x", "5 %"} {
		if l, err := ParseLimit(s); err == nil {
			t.Errorf("%q: %+v", s, l)
		}
	}
}
