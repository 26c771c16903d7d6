package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/facts"
)

const (
	// factsEvery is how often facts are found out anew.
	factsEvery = 5 * time.Minute
	// factsWithin bounds how long all programs of the facts directory may take
	// together, and so how long they can hold up the first session.
	factsWithin = 20 * time.Second
)

// hostFacts is what the minion tells of its host.
type hostFacts struct {
	*base
	groups  *groups
	signing *signing
	// memory is set before run.
	memory *memory
	// wake asks for the facts to be found out anew, changed tells that they are others.
	wake, changed chan struct{}

	mu sync.Mutex
	// mu guards the following. known are replaced, and never changed; edition counts
	// that.
	known   map[string]string
	edition uint64
}

// RefreshFacts has the minion find out its facts anew, soon.
func (m *Minion) RefreshFacts() { notify(m.facts.wake) }

// copiedFact is since when a minion knows that its data directory is an older copy.
const copiedFact = "dataCopied"

// run keeps the facts up to date. It closes known once they are there for
// the first time: a minion that told its own first would be passed over by
// targets that ask for those that were added.
func (hf *hostFacts) run(ctx context.Context, known chan<- struct{}) {
	hf.find(ctx)
	close(known)
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-hf.wake:
		}
		hf.find(ctx)
	}
}

// find finds the facts out, and has the session tell what has changed.
func (hf *hostFacts) find(ctx context.Context) {
	found := facts.Host()
	found["cgroup"] = "none"
	if hf.groups.tree != nil {
		found["cgroup"] = "v2"
	}
	if says := hf.signing.says(); says != "" {
		found[job.FactUnsignedOrders] = says
	}
	if m := hf.memory; m != nil && m.Why == agentpb.GapCopy {
		found[copiedFact] = m.Since.Format(time.RFC3339)
	}
	for name := range hf.deps.Handlers {
		found[job.FactHandler+name] = "" // what they take is not told
	}
	if hf.deps.Facts != nil {
		maps.Copy(found, hf.deps.Facts())
	}
	dir := facts.Dir{Path: hf.cfg.FactsDir, Reserved: maps.Clone(found)}
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
	found = agentpb.FitFacts(found, own, hf.cfg.Labels)
	hf.mu.Lock()
	defer hf.mu.Unlock()
	if maps.Equal(hf.known, found) {
		return
	}
	if err != nil && hf.known[facts.ErrorFact] != found[facts.ErrorFact] {
		hf.log.Warn("facts cannot be used", zap.String("directory", hf.cfg.FactsDir), zap.Error(err))
	}
	hf.known = found // a new map each time: messages hold the former one
	hf.edition++
	notify(hf.changed)
}

// now returns what is to be told of the host, and its edition.
func (hf *hostFacts) now() (*agentpb.Inventory, uint64) {
	hf.mu.Lock()
	defer hf.mu.Unlock()
	return &agentpb.Inventory{Labels: hf.cfg.Labels, Facts: hf.known}, hf.edition
}

// tellInventory sends the inventory, if the node does not have the present one.
func (s *session) tellInventory() error {
	inv, edition := s.of.facts.now()
	if edition == s.edition {
		return nil
	}
	s.edition = edition
	return s.stream.Send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Inventory{Inventory: inv}})
}
