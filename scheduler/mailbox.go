package scheduler

import (
	"sync"
	"time"
)

// mailbox holds what others want done by a goroutine, in order. Any goroutine may put
// something into it.
type mailbox struct {
	mu   sync.Mutex // guards mail and knocked
	mail []func()
	// knocked is when the first of it came.
	knocked time.Time
	knock   chan struct{}
}

func newMailbox() mailbox { return mailbox{knock: make(chan struct{}, 1)} }

// do has fn run by the goroutine that reads the mail. It never blocks. What is still
// waiting when that ends is dropped.
func (m *mailbox) do(fn func()) {
	m.mu.Lock()
	if len(m.mail) == 0 {
		m.knocked = time.Now()
	}
	m.mail = append(m.mail, fn)
	m.mu.Unlock()
	select {
	case m.knock <- struct{}{}:
	default:
	}
}

// take returns what has come, and when the first of it did.
func (m *mailbox) take() ([]func(), time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mail := m.mail
	m.mail = nil
	return mail, m.knocked
}
