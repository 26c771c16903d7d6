package agentpush

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// Texts finds the texts of scripts.
type Texts interface {
	// Text returns the text with a SHA-256, in hexadecimal. The error wraps
	// job.ErrNotFound when there is none; after any other one it is asked for again.
	Text(ctx context.Context, sum string) (string, error)
}

const (
	// maxFetches bounds the fetches of one session that are answered at a time, and
	// maxFetching those of all; further ones are dropped, and come again.
	maxFetches  = 2
	maxFetching = 4096
	// textWait bounds the search for one text, and the wait for its place.
	textWait = 5 * time.Second
	// perText is what a text takes beside itself, maxText what the largest takes.
	perText = 256
	maxText = job.MaxScriptBytes + perText
)

// textRoom is the room for texts that wait for a session's stream: so many bytes,
// and no more before the minion has read some of them.
type textRoom struct {
	// all is the budget of all sessions.
	all *budget
	// now is the hub's clock.
	now func() time.Time
	// room is signaled when some have been sent.
	room chan struct{}

	mu sync.Mutex
	// mu guards what follows.
	held int
	// since is when there were none last, or when some were sent last; it counts
	// while some wait.
	since int64
	gone  bool
}

// reserve holds room for the largest text, and waits for it if need be, until ctx
// is done.
func (t *textRoom) reserve(ctx context.Context) bool {
	for {
		t.mu.Lock()
		switch {
		case t.gone:
			t.mu.Unlock()
			return false
		case t.held+maxText <= textBytes:
			ok := t.all.take(maxText)
			if ok {
				if t.held == 0 {
					t.since = t.now().UnixNano()
				}
				t.held += maxText
			}
			t.mu.Unlock()
			return ok // if not, others have it all: the minion asks again
		}
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-t.room:
		}
	}
}

// give lets go of bytes: those of a text that was sent, or that a reservation has
// too many.
func (t *textRoom) give(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return // drop has let go of it
	}
	t.since = t.now().UnixNano()
	t.held -= n
	t.all.give(n)
	select {
	case t.room <- struct{}{}:
	default:
	}
}

// drop lets go of all when the session has ended; it may be called again.
func (t *textRoom) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		t.gone = true
		t.all.give(t.held)
	}
}

// wait reports whether some wait, stuck whether none was sent since a time.
func (t *textRoom) wait() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held > 0
}

func (t *textRoom) stuck(since int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held > 0 && t.since < since
}

// texts answers minions' wishes for the texts of scripts.
type texts struct {
	*base
	life  *lifetime
	pumps *pumps
	// find is Deps.Texts; nil: nothing is answered.
	find Texts
	// budget is what is held for all sessions, fetching how many fetches are being
	// answered.
	budget   *budget
	fetching atomic.Int32
}

// answer answers a minion's wish for texts. What cannot be said now is not
// answered: the minion asks again.
func (t *texts) answer(s *session, sums []string) {
	if t.find == nil {
		return
	}
	answer := func() {
		defer t.fetching.Add(-1)
		defer s.fetches.Add(-1)
		ctx, cancel := context.WithCancel(t.life.ctx)
		defer cancel()
		defer context.AfterFunc(s.stream.Context(), cancel)()
		for _, sum := range sums {
			if !t.send(ctx, s, sum) {
				return
			}
		}
	}
	mine, all := s.fetches.Add(1), t.fetching.Add(1)
	if mine > maxFetches || all > maxFetching || !t.life.spawn(answer) {
		s.fetches.Add(-1)
		t.fetching.Add(-1)
	}
}

// send answers for one text. It reports false when there is no room for
// further ones.
func (t *texts) send(ctx context.Context, s *session, sum string) bool {
	ctx, cancel := context.WithTimeout(ctx, textWait)
	defer cancel()
	if !s.texts.reserve(ctx) {
		return false
	}
	s.c.quiet.Store(false)
	answer := &agentpb.Text{Sha256: sum}
	text, err := t.find.Text(ctx, sum)
	switch {
	case errors.Is(err, job.ErrNotFound):
		answer.Error = "the cluster does not have it; the job or script that it belongs to was changed or deleted"
	case err != nil:
		t.log.Debug("text not found out", zap.String("sha256", sum), zap.Error(err))
		s.texts.give(maxText)
		return true
	}
	answer.Text = text
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.session != s {
		return false
	}
	s.texts.give(maxText - sizeOf(answer))
	s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Text{Text: answer}})
	t.pumps.kick(s.c)
	return true
}

func sizeOf(t *agentpb.Text) int { return len(t.GetText()) + perText }
