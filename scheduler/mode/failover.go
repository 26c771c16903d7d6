package mode

import "fmt"

// failover keeps the lock where it is until that node is lost.
func failover() Mode {
	return Mode{
		Name:   "failover",
		Words:  "the first choice (preferred site, then highest priority) holds the lock; a standby takes over when the holder is lost, and keeps it",
		Reads:  []string{"sites"},
		Holder: stay,
	}
}

// stay leaves the lock with its owner, or picks the first choice.
func stay(s *Situation) Verdict {
	if s.Owner != "" && !s.Failback {
		return Verdict{Holder: s.Owner, Reason: "it holds the lock and lives"}
	}
	best := healthy(s.ranked())
	if len(best) == 0 {
		return Verdict{Reason: "no node may"}
	}
	return Verdict{Holder: best[0].ID, Reason: fmt.Sprintf("it is the first choice of %d nodes", len(best))}
}
