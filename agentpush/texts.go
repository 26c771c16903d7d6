package agentpush

import (
	"context"
	"errors"
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
	// maxFetches bounds the fetches of one session that are answered at a time;
	// further ones are dropped, and come again.
	maxFetches = 8
	// maxFetched bounds the texts of one fetch.
	maxFetched = job.MaxSteps + 1
	// textWait bounds the search for one text.
	textWait = 5 * time.Second
)

// fetch answers a minion's wish for texts. What cannot be said now is not
// answered: the minion asks again.
func (h *Hub) fetch(s *session, sums []string) {
	if h.deps.Texts == nil {
		return
	}
	answer := func() {
		defer s.fetches.Add(-1)
		ctx, cancel := context.WithCancel(h.life)
		defer cancel()
		defer context.AfterFunc(s.stream.Context(), cancel)()
		for _, sum := range sums[:min(len(sums), maxFetched)] {
			h.sendText(ctx, s, sum)
		}
	}
	if s.fetches.Add(1) > maxFetches || !h.spawn(answer) {
		s.fetches.Add(-1)
	}
}

func (h *Hub) sendText(ctx context.Context, s *session, sum string) {
	ctx, cancel := context.WithTimeout(ctx, textWait)
	defer cancel()
	answer := &agentpb.Text{Sha256: sum}
	text, err := h.deps.Texts.Text(ctx, sum)
	switch {
	case errors.Is(err, job.ErrNotFound):
		answer.Error = "the cluster does not have it; the job or script that it belongs to was changed or deleted"
	case err != nil:
		h.log.Debug("text not found out", zap.String("sha256", sum), zap.Error(err))
		return
	}
	answer.Text = text
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.session == s {
		s.control = append(s.control, &agentpb.ToMinion{Body: &agentpb.ToMinion_Text{Text: answer}})
		h.kick(s.c)
	}
}
