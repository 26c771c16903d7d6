package agentpush

import (
	"slices"
	"time"
)

// topic is the bounded memory queue of one minion. It is plain data; the
// channel's mutex guards it.
//
// again holds what was offered on a session that broke before the minion took
// it: it goes first, and it is never dropped as "never reached the minion"
// (I4). queue and questions hold what has not been offered, at most depth messages.
type topic struct {
	depth int
	again []*message
	queue []*message
	// questions are apart from all else, so that the one that makes room is found at
	// once: a minion that is offered more than it takes has a full topic for long.
	questions []*message
	// about is what waits, by the task that it is about.
	about map[aboutTask]waits
	// earliest is not later than the earliest until of any message; 0: none.
	earliest int64
}

// aboutTask names an attempt of the minion's.
type aboutTask struct {
	job                     string
	at                      int64
	trigger, attempt, share uint32
}

func aboutOf(m *message) aboutTask {
	id := m.body.GetTask()
	return aboutTask{string(id.GetJob()), id.GetAt(), id.GetTrigger(), id.GetAttempt(), id.GetShare()}
}

// waits says how many orders and questions of a task wait.
type waits struct{ orders, questions int }

// note takes note that a message waits.
func (t *topic) note(m *message) {
	w := t.about[aboutOf(m)]
	switch {
	case m.isOrder():
		w.orders++
	case m.isQuestion():
		w.questions++
	default:
		return
	}
	if t.about == nil {
		t.about = map[aboutTask]waits{}
	}
	t.about[aboutOf(m)] = w
}

// unnote takes note that it does no more.
func (t *topic) unnote(m *message) {
	if t.about == nil {
		return
	}
	id := aboutOf(m)
	w := t.about[id]
	switch {
	case m.isOrder():
		w.orders--
	case m.isQuestion():
		w.questions--
	}
	if w == (waits{}) {
		delete(t.about, id)
		if len(t.about) == 0 {
			t.about = nil
		}
		return
	}
	t.about[id] = w
}

// needless reports whether a message is a question about what waits here: an
// order that has not been offered, or the same question. Its asker asks again.
// Questions come every few seconds for as long as nothing is heard of a task: a
// minion that is slow to take its orders would get more and more of them.
func (t *topic) needless(m *message) bool {
	if !m.isQuestion() {
		return false
	}
	w := t.about[aboutOf(m)]
	return w.orders+w.questions > 0
}

func (t *topic) len() int { return len(t.again) + len(t.queue) + len(t.questions) }

// push appends m and returns how the messages ended that had to make room: the
// oldest question, or the oldest order when no question waits, or the oldest
// message. A needless question ends itself.
func (t *topic) push(m *message) []ending {
	if t.needless(m) {
		return []ending{m.needless()}
	}
	if t.earliest == 0 || m.until < t.earliest {
		t.earliest = m.until
	}
	var out []ending
	drop := func(list *[]*message, i int) {
		t.unnote((*list)[i])
		out = append(out, (*list)[i].overflow())
		*list = without(*list, i)
	}
	switch {
	case m.unsure:
		for len(t.again) >= t.depth {
			i := slices.IndexFunc(t.again, (*message).isQuestion)
			if i < 0 {
				i = max(slices.IndexFunc(t.again, (*message).isOrder), 0)
			}
			drop(&t.again, i)
		}
		t.again = append(t.again, m)
	default:
		for len(t.queue)+len(t.questions) >= t.depth {
			if len(t.questions) > 0 {
				drop(&t.questions, 0)
				continue
			}
			drop(&t.queue, max(slices.IndexFunc(t.queue, (*message).isOrder), 0))
		}
		if m.isQuestion() {
			t.questions = append(t.questions, m)
		} else {
			t.queue = append(t.queue, m)
		}
	}
	t.note(m)
	return out
}

// without removes a message from a list. The first goes at no cost.
func without(list []*message, i int) []*message {
	if i == 0 {
		list[0] = nil
		return list[1:]
	}
	return slices.Delete(list, i, i+1)
}

// restore puts an offer back that was not taken, ahead of everything else. The
// messages that find no room end.
func (t *topic) restore(offer []*message) []ending {
	back := make([]*message, 0, len(offer)+len(t.again))
	for _, m := range offer {
		if !m.told {
			m.unsure = true
			back = append(back, m)
			t.note(m)
		}
	}
	back = append(back, t.again...)
	var out []ending
	for len(back) > t.depth {
		t.unnote(back[0])
		out = append(out, back[0].overflow())
		back = back[1:]
	}
	t.again = back
	for _, m := range back {
		if t.earliest == 0 || m.until < t.earliest {
			t.earliest = m.until
		}
	}
	return out
}

// take removes and returns what fits into one offer: at most n messages and
// about the given bytes, but at least one message. Expired ones are not
// offered, nor stale orders by the clock: they are returned as ended. So a minion that
// is offered more than it takes gets orders that it may still start, however many
// wait.
func (t *topic) take(n, bytes int, now int64, clock time.Duration) (offer []*message, ended []ending) {
	size := 0
	from := func(list *[]*message, most int) {
		i := 0
		for ; i < len(*list) && len(offer) < min(most, n); i++ {
			m := (*list)[i]
			switch {
			case m.orphaned():
			case m.until <= now:
				ended = append(ended, m.expiry())
			case m.stale(clock):
				ended = append(ended, m.staleness())
			case len(offer) > 0 && size+m.size > bytes:
				n = 0 // full
				i--
			default:
				offer = append(offer, m)
				size += m.size
			}
		}
		for _, m := range (*list)[:i] {
			t.unnote(m)
		}
		clear((*list)[:i])
		if *list = (*list)[i:]; len(*list) == 0 {
			*list = nil // lets the array go
		}
	}
	from(&t.again, n)
	from(&t.questions, len(offer)+(n-len(offer))/2) // neither waits for the other
	from(&t.queue, n)
	from(&t.questions, n)
	if t.len() == 0 {
		t.earliest = 0
	}
	return offer, ended
}

// expire removes what is over by now.
func (t *topic) expire(now int64) []ending {
	if t.earliest == 0 || now < t.earliest {
		return nil
	}
	t.earliest = 0
	var out []ending
	over := func(m *message) bool {
		switch {
		case m.orphaned():
			t.unnote(m)
			return true
		case m.until <= now:
			t.unnote(m)
			out = append(out, m.expiry())
			return true
		}
		if t.earliest == 0 || m.until < t.earliest {
			t.earliest = m.until
		}
		return false
	}
	t.again = slices.DeleteFunc(t.again, over)
	t.queue = slices.DeleteFunc(t.queue, over)
	t.questions = slices.DeleteFunc(t.questions, over)
	return out
}

// forgetOrphans removes what came by links that are broken.
func (t *topic) forgetOrphans() {
	orphaned := func(m *message) bool {
		if !m.orphaned() {
			return false
		}
		t.unnote(m)
		return true
	}
	t.again = slices.DeleteFunc(t.again, orphaned)
	t.queue = slices.DeleteFunc(t.queue, orphaned)
	t.questions = slices.DeleteFunc(t.questions, orphaned)
	if t.len() == 0 {
		t.earliest = 0
	}
}

// drain removes and returns everything.
func (t *topic) drain() []*message {
	all := slices.Concat(t.again, t.queue, t.questions)
	t.again, t.queue, t.questions, t.about, t.earliest = nil, nil, nil, nil, 0
	return all
}

// oldest returns when the oldest waiting message came, 0 when none waits.
func (t *topic) oldest() int64 {
	var at int64
	for _, list := range [][]*message{t.again, t.queue, t.questions} {
		if len(list) > 0 && (at == 0 || list[0].since < at) {
			at = list[0].since
		}
	}
	return at
}
