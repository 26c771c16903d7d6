package worker

import (
	"context"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/worker/facts"
)

const (
	// factsEvery is how often facts are found out anew.
	factsEvery = 5 * time.Minute
	// factsWithin bounds how long all programs of the facts directory may take
	// together, and so how long they can hold up the first session.
	factsWithin = 20 * time.Second
)

// RefreshFacts has the minion find out its facts anew, soon.
func (m *Minion) RefreshFacts() { notify(m.factsWake) }

// factsLoop keeps the facts up to date. It closes known once they are there for
// the first time: a minion that told its own first would be passed over by
// targets that ask for those that were added.
func (m *Minion) factsLoop(ctx context.Context, known chan<- struct{}) {
	m.findFacts(ctx)
	close(known)
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.factsWake:
		}
		m.findFacts(ctx)
	}
}

// findFacts finds the facts out, and has the session tell what has changed.
func (m *Minion) findFacts(ctx context.Context) {
	found := facts.Host()
	found["cgroup"] = "none"
	if m.groups.tree != nil {
		found["cgroup"] = "v2"
	}
	if m.deps.Facts != nil {
		maps.Copy(found, m.deps.Facts())
	}
	dir := facts.Dir{Path: m.cfg.FactsDir, Reserved: maps.Clone(found)}
	limited, cancel := context.WithTimeout(ctx, factsWithin)
	defer cancel()
	added, err := dir.Read(limited)
	if ctx.Err() != nil {
		return // programs were ended because the minion stops
	}
	own := maps.Clone(found)
	maps.Copy(found, added)
	if err != nil {
		found[facts.ErrorFact] = facts.Text(err.Error())
	}
	found = agentpb.FitFacts(found, own, m.cfg.Labels)
	m.mu.Lock()
	defer m.mu.Unlock()
	if maps.Equal(m.facts, found) {
		return
	}
	if err != nil && m.facts[facts.ErrorFact] != found[facts.ErrorFact] {
		m.log.Warn("facts cannot be used", zap.String("directory", m.cfg.FactsDir), zap.Error(err))
	}
	m.facts = found // a new map each time: messages hold the former one
	m.factsEdition++
	notify(m.out.wake)
}

// inventory returns what is to be told of the host, and its edition.
func (m *Minion) inventory() (*agentpb.Inventory, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &agentpb.Inventory{Labels: m.cfg.Labels, Facts: m.facts}, m.factsEdition
}

// tellInventory sends the inventory, if the node does not have the present one.
func (s *session) tellInventory() error {
	inv, edition := s.m.inventory()
	if edition == s.edition {
		return nil
	}
	s.edition = edition
	return s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Inventory{Inventory: inv}})
}
