package agenttest

import (
	"context"
	"sync"
)

// Swarm is many fake minions in one process.
type Swarm struct {
	minions []*Minion
}

// NewSwarm returns count minions that do nothing until Run; config is called
// with the place of each, from 0.
func NewSwarm(count int, config func(i int) Config) *Swarm {
	s := &Swarm{minions: make([]*Minion, count)}
	for i := range s.minions {
		s.minions[i] = New(config(i))
	}
	return s
}

// Run keeps a session open for each minion until ctx is done, and returns when
// all have ended.
func (s *Swarm) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, m := range s.minions {
		running.Go(func() { _ = m.Run(ctx) }) // it always returns nil
	}
	running.Wait()
	return nil
}

// Connected returns how many of them a node has welcomed.
func (s *Swarm) Connected() int {
	n := 0
	for _, m := range s.minions {
		if m.Connected() {
			n++
		}
	}
	return n
}

// Executed returns how many tasks they have run; none counts twice.
func (s *Swarm) Executed() int {
	n := 0
	for _, m := range s.minions {
		n += m.Executed()
	}
	return n
}

// LastError returns why a session ended of one that is not connected, nil when
// all are.
func (s *Swarm) LastError() error {
	for _, m := range s.minions {
		if err := m.LastError(); err != nil && !m.Connected() {
			return err
		}
	}
	return nil
}
