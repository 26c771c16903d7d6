package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/job"
)

// Sender sends messages to receivers. It may be used by many goroutines at once.
type Sender struct {
	egress  *egress.Caller
	secrets secrets
	node    job.NodeID
	now     func() time.Time
}

// NewSender returns a Sender. Secrets is the directory with files of receivers' secrets;
// empty: there are none.
func NewSender(node job.NodeID, caller *egress.Caller, secretsDir string, now func() time.Time) *Sender {
	if now == nil {
		now = time.Now
	}
	return &Sender{egress: caller, secrets: secrets{secretsDir}, node: node, now: now}
}

// failure is a try that was in vain.
type failure struct {
	err error
	// wait is how long the receiver wants to be left alone; for good: it takes it never.
	wait    time.Duration
	forGood bool
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns what was in the way.
func (f *failure) Unwrap() error { return f.err }

// Send sends a message to the receiver of a notifier.
func (s *Sender) Send(ctx context.Context, n *job.Notifier, m *message.Message) error {
	spec := &n.Spec
	switch {
	case spec.Webhook != nil:
		return s.webhook(ctx, n, spec.Webhook, m)
	case spec.Email != nil:
		return s.email(ctx, n, spec.Email, m)
	case spec.Slack != nil:
		return s.slack(ctx, n, spec.Slack, m)
	case spec.Ntfy != nil:
		return s.ntfy(ctx, n, spec.Ntfy, m)
	case spec.PagerDuty != nil:
		return s.pagerDuty(ctx, n, spec.PagerDuty, m)
	case spec.Alertmanager != nil:
		return s.alertmanager(ctx, n, spec.Alertmanager, m)
	case spec.Healthchecks != nil:
		return s.healthchecks(ctx, n, spec.Healthchecks, m)
	}
	return &failure{err: errors.New("the notifier has no receiver that this release knows"), forGood: true}
}

// Test sends samples to the receiver of a notifier, once each.
func (s *Sender) Test(ctx context.Context, n *job.Notifier) error {
	for _, a := range message.Samples(n, s.now()) {
		m, err := message.Compose(n, a.ID, []job.Alert{a})
		if err != nil {
			return err
		}
		if err := s.Send(ctx, n, m); err != nil {
			return err
		}
	}
	return nil
}

// address is where a receiver is: as it stands there, or as a file has it.
func (s *Sender) address(n *job.Notifier, url, file string) (string, error) {
	if file == "" {
		return url, nil
	}
	return s.secrets.address(n.Namespace, file)
}

// post sends a body and judges the answer.
func (s *Sender) post(ctx context.Context, to string, h http.Header, body []byte) error {
	a, err := s.egress.Post(ctx, to, h, body)
	if err != nil {
		return err
	}
	if err := a.Err(); err != nil {
		return &failure{err: err, wait: a.RetryAfter, forGood: forGood(a.Status)}
	}
	return nil
}

// forGood reports whether the same message would be refused again.
func forGood(status int) bool {
	switch status {
	case http.StatusGone, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// bearer is a header with a token from a file; none is asked for: no header.
func (s *Sender) bearer(n *job.Notifier, h http.Header, file, to string) error {
	if file == "" {
		return nil
	}
	token, err := s.secrets.of(n.Namespace, file, to)
	if err != nil {
		return err
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

func asJSON() http.Header { return http.Header{"Content-Type": {"application/json"}} }

func encodeErr(err error) error { return fmt.Errorf("encode the message: %w", err) }
