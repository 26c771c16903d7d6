package agentpush

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// fate is what a model of the channel knows of a message.
type fate struct {
	m       *message
	number  int
	offered bool
	ended   int
	taken   bool
}

// machine drives a topic and a slot as a channel does, against a model.
type machine struct {
	topic topic
	slot  []*message
	now   int64
	fates []*fate
	of    map[*message]*fate
}

func (s *machine) end(t *rapid.T, ends []ending) {
	for _, e := range ends {
		f := s.of[e.m]
		if f.ended++; f.ended > 1 || f.taken {
			t.Fatalf("message %d ended again", f.number) // I1
		}
		if e.state == endNeedless {
			continue // see push
		}
		if f.offered != (e.state == job.StateIndeterminate) {
			t.Fatalf("message %d, offered %v, ended as %s", f.number, f.offered, e.state) // I4
		}
		if e.state == job.StateDeliveryTimeout && e.m.until > s.now {
			t.Fatalf("message %d expired early", f.number)
		}
		if e.state == endStale && (f.offered || !e.m.stale(time.Duration(s.now))) {
			t.Fatalf("message %d ended as stale", f.number) // I7
		}
		if e.state != job.StateDropped || !e.m.isOrder() {
			continue
		}
		for _, o := range s.fates { // I7
			if o.m.isOrder() && !o.offered && !o.taken && o.ended == 0 && o.number < f.number {
				t.Fatalf("message %d dropped before the older %d", f.number, o.number)
			}
		}
	}
}

func (s *machine) push(t *rapid.T) {
	task := &agentpb.TaskID{Minion: "m", Attempt: rapid.Uint32Range(1, 9).Draw(t, "attempt")}
	var b body = &agentpb.Order{Task: task, HoldUntil: max(s.now+rapid.Int64Range(-10, 50).Draw(t, "hold"), 0)}
	if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
		b = &agentpb.Question{Task: task}
	}
	m := &message{
		body: b, since: s.now, size: rapid.IntRange(1, 60).Draw(t, "size"),
		until: s.now + rapid.Int64Range(1, 50).Draw(t, "life"),
		// As a link that broke would mark it.
		unsure: rapid.IntRange(0, 5).Draw(t, "unsure") == 0,
	}
	f := &fate{m: m, number: len(s.fates), offered: m.unsure}
	s.fates = append(s.fates, f)
	s.of[m] = f
	// A question is needless while what it asks about waits, and only then.
	needless := m.isQuestion() && slices.ContainsFunc(s.fates, func(o *fate) bool {
		return o != f && o.ended == 0 && !o.taken && !slices.Contains(s.slot, o.m) && o.m.body.GetTask().GetAttempt() == task.GetAttempt()
	})
	questions := s.topic.w != nil && s.topic.w.fresh.of[aQuestion].first != nil
	ends := s.topic.push(m)
	s.end(t, ends)
	if needless != (f.ended > 0) {
		t.Fatalf("the new message %d ended: %v, and is needless: %v", f.number, f.ended > 0, needless) // I7
	}
	for _, e := range ends {
		if !m.unsure && e.state == job.StateDropped && e.m.isOrder() && questions {
			t.Fatalf("order %d was dropped, and questions wait", s.of[e.m].number)
		}
	}
}

// again returns what was offered before and waits again, in its order.
func (s *machine) again() []*message {
	var all []*message
	if s.topic.w == nil {
		return nil
	}
	for _, m := range s.topic.w.ends {
		if m.unsure {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(a.place, b.place) })
	return all
}

func (s *machine) offer(t *rapid.T) {
	if s.slot != nil { // I3: the channel's rule
		return
	}
	again := s.again()
	msgs, ends := s.topic.take(4, 100, s.now, time.Duration(s.now))
	s.end(t, ends)
	size := 0
	for i, m := range msgs {
		f := s.of[m]
		if m.until <= s.now || m.stale(time.Duration(s.now)) || f.ended > 0 || f.taken {
			t.Fatalf("message %d must not be offered", f.number)
		}
		f.offered = true
		size += m.size
		if i > 0 && size > 100 {
			t.Fatalf("offer of %d bytes", size)
		}
		if len(again) > 0 && i == 0 && !m.unsure && slices.ContainsFunc(again, func(o *message) bool { return o.until > s.now }) {
			t.Fatal("what was offered before does not go first") // I4
		}
	}
	if len(msgs) > 4 {
		t.Fatalf("offer of %d messages", len(msgs))
	}
	if len(msgs) > 0 {
		s.slot = msgs
	}
}

func (s *machine) take(*rapid.T) {
	for _, m := range s.slot {
		s.of[m].taken = true
	}
	s.slot = nil
}

func (s *machine) breakSession(t *rapid.T) {
	s.end(t, s.topic.restore(s.slot))
	s.slot = nil
}

func (s *machine) tick(t *rapid.T) {
	s.now += rapid.Int64Range(1, 20).Draw(t, "pass")
	s.end(t, s.topic.expire(s.now))
	for _, f := range s.fates {
		if f.m.until <= s.now && f.ended == 0 && !f.taken && !slices.Contains(s.slot, f.m) {
			t.Fatalf("message %d outlived its time", f.number)
		}
	}
}

func (s *machine) check(t *rapid.T) {
	open := 0
	for _, f := range s.fates {
		if f.ended == 0 && !f.taken {
			open++
		}
	}
	if got := s.topic.len() + len(s.slot); got != open {
		t.Fatalf("%d messages are held, %d have no end", got, open) // I1
	}
	w := s.topic.w
	if (s.topic.len() == 0) != (w == nil) {
		t.Fatalf("%d messages wait, and this is held for them: %+v", s.topic.len(), w)
	}
	if w == nil {
		return
	}
	if w.fresh.n > s.topic.of.depth || w.again.n > s.topic.of.depth {
		t.Fatalf("topic holds %d and %d, depth %d", w.fresh.n, w.again.n, s.topic.of.depth)
	}
	noted := 0
	for id, n := range w.about {
		if n.orders < 0 || n.questions < 0 || n == (waits{}) {
			t.Fatalf("of %v wait %+v", id, n)
		}
		noted += n.orders + n.questions
	}
	if len(w.ends) != s.topic.len() || noted != s.topic.len() {
		t.Fatalf("%d messages wait, the ends of %d are known, and %d are noted", s.topic.len(), len(w.ends), noted)
	}
}

func TestI1_TopicStateMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &machine{topic: newTopics(6).topic(), now: 1, of: map[*message]*fate{}}
		t.Repeat(map[string]func(*rapid.T){
			"push": s.push, "offer": s.offer, "take": s.take, "break": s.breakSession, "tick": s.tick, "": s.check,
		})
	})
}

func TestInventory_HighestSessionWins(t *testing.T) {
	t.Parallel()
	i := newInventory("self")
	i.trusting = true
	var moved []job.MinionID
	i.moved = func(id job.MinionID) { moved = append(moved, id) }
	i.SetMinion(job.Minion{ID: "m", Labels: map[string]string{"os": "linux"}})
	linux := job.Target{Labels: map[string]string{"os": "linux"}}
	if len(i.targets.match(linux)) != 0 {
		t.Error("a minion that is not connected matches")
	}
	i.SetPresence("b", 0, []Present{{ID: "m", Session: 5}, {ID: "other", Session: 1}})
	i.SetPresence("c", 3, []Present{{ID: "m", Session: 7}})
	if got := i.locations.node("m"); got != "c" {
		t.Errorf("at %s", got)
	}
	if got := i.targets.match(linux); !slices.Equal(got, []job.MinionID{"m"}) {
		t.Errorf("match: %v", got)
	}
	if got := i.targets.match(job.Target{Names: []string{"o*"}}); !slices.Equal(got, []job.MinionID{"other"}) {
		t.Errorf("match of a minion without a description: %v", got)
	}
	i.locals.open(job.Minion{ID: "m", Labels: map[string]string{"os": "plan9"}}, 6)
	if got := i.locations.node("m"); got != "c" {
		t.Errorf("a lower session here wins: %s", got)
	}
	if len(i.targets.match(linux)) != 0 {
		t.Error("its own word on labels does not count")
	}
	i.RemoveNode("c")
	if got := i.locations.node("m"); got != "self" {
		t.Errorf("at %s", got)
	}
	i.locals.close("m", 5) // of an older session: nothing
	i.locals.close("m", 6)
	if got := i.locations.node("m"); got != "b" {
		t.Errorf("at %s", got)
	}
	i.RemovePresence("b", 0)
	if got := i.locations.node("m"); got != "" || len(i.targets.match(linux)) != 0 {
		t.Errorf("at %q", got)
	}
	if want := []job.MinionID{"m", "other", "m", "m", "m"}; len(moved) < len(want) {
		t.Errorf("moved: %v", moved)
	}
	i.RemoveMinion("m")
	if len(i.entries) != 0 {
		t.Errorf("entries are left: %v", i.entries)
	}
}

// A minion that goes from node to node, and is at none in between, is at each look
// either ready or away.
func TestInventory_ReachIsOneLook(t *testing.T) {
	t.Parallel()
	i := newInventory("self")
	i.SetMinion(job.Minion{ID: "m"})
	i.SetPresence("b", 0, []Present{{ID: "m", Session: 1}})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := int64(2); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			i.RemovePresence("b", 0)
			i.SetPresence("b", 0, []Present{{ID: "m", Session: n}})
		}
	}()
	seen := map[bool]int{}
	for seen[true] < 50_000 || seen[false] < 50_000 {
		ready, away := i.targets.reach(job.Target{})
		if len(ready)+len(away) != 1 {
			t.Errorf("ready %v, away %v: want it among one of them", ready, away)
			break
		}
		seen[len(ready) == 1]++
	}
	close(stop)
	<-done
}

// A minion whose certificate was revoked is told as such once it is connected
// nowhere, and as any other once it has joined again.
func TestInventory_Revoked(t *testing.T) {
	t.Parallel()
	i := newInventory("self")
	var out []job.MinionID
	i.out = func(id job.MinionID) { out = append(out, id) }
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	check := func(when string, times int, reason string) {
		t.Helper()
		_, got := i.targets.reach(job.Target{})
		if (reason == "") != (len(got) == 0) || reason != "" && got[0].Reason != reason {
			t.Errorf("%s: %+v, want the reason %q", when, got, reason)
		}
		if i.revoked("m") != (reason == "its certificate was revoked") {
			t.Errorf("%s: revoked: %v", when, i.revoked("m"))
		}
		if len(out) != times {
			t.Errorf("%s: told of %v, want %d times", when, out, times)
		}
	}
	i.SetMinion(job.Minion{ID: "m"})
	check("before it comes", 0, "not connected")
	i.locals.open(job.Minion{ID: "m"}, 1)
	i.SetPresence("b", 0, []Present{{ID: "m", Session: 2}})
	i.SetRevoked("m", at)
	check("while its sessions end", 0, "")
	i.locals.close("m", 1)
	check("while the last session ends", 0, "")
	i.RemovePresence("b", 0)
	check("once they have ended", 1, "its certificate was revoked")
	_, away := i.targets.reach(job.Target{})
	if got := away[0].Since; !got.Equal(at) {
		t.Errorf("since %v, want %v", got, at)
	}
	if m := i.Minions(); len(m) != 1 || m[0].Trouble != "its certificate was revoked" || !m[0].TroubleSince.Equal(at) {
		t.Errorf("listed as %+v", m)
	}
	i.locals.open(job.Minion{ID: "m"}, 3)
	check("joined again, which is not known yet", 1, "")
	i.SetRevoked("m", time.Time{})
	i.locals.close("m", 3)
	check("joined again, and gone", 1, "not connected")
	i.SetRevoked("m", at)
	check("revoked while it is away", 2, "its certificate was revoked")
	i.RemoveMinion("m")
	if !i.revoked("m") {
		t.Error("forgotten, and it is not known any more that its certificate was revoked")
	}
	i.SetRevoked("m", time.Time{})
	if len(i.entries) != 0 {
		t.Errorf("entries are left: %v", i.entries)
	}
}
