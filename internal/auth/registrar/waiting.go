package registrar

import (
	"net/netip"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// waiting counts the places that the addresses have among the requests that wait
// for an operator.
type waiting struct {
	prefix string
	log    *zap.Logger

	mu sync.Mutex
	// mu guards what follows.

	of    map[job.MinionID][]string // the addresses of a request's keys
	count map[string]int
}

func newWaiting(prefix string, log *zap.Logger) *waiting {
	return &waiting{prefix: prefix, log: log, of: map[job.MinionID][]string{}, count: map[string]int{}}
}

// places returns how many places an address has.
func (w *waiting) places(address string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count[address]
}

// set notes a request as it is now; one without keys is gone.
func (w *waiting) set(id job.MinionID, rec *etcdkv.JoinRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.of[id] {
		if w.count[a]--; w.count[a] == 0 {
			delete(w.count, a)
		}
	}
	delete(w.of, id)
	if rec == nil {
		return
	}
	for _, k := range rec.Keys {
		a := addressOf(k.From)
		w.of[id] = append(w.of[id], a)
		w.count[a]++
	}
}

// apply follows what is stored.
func (w *waiting) apply(b etcdkv.Batch) error {
	seen := map[job.MinionID]bool{}
	for _, e := range b.Events {
		id := job.MinionID(strings.TrimPrefix(e.Key, w.prefix))
		if e.Value == nil {
			w.set(id, nil)
			continue
		}
		rec, err := etcdkv.Decode[etcdkv.JoinRequest](e.Key, e.Value)
		if err != nil {
			w.log.Warn("a request to join cannot be read; it counts for no address", zap.Error(err))
			continue
		}
		seen[id] = true
		w.set(id, &rec)
	}
	if !b.Relist {
		return nil
	}
	w.mu.Lock()
	var gone []job.MinionID
	for id := range w.of {
		if !seen[id] {
			gone = append(gone, id)
		}
	}
	w.mu.Unlock()
	for _, id := range gone {
		w.set(id, nil)
	}
	return nil
}

// addressOf returns the address of a host and port: an IPv6 network of 64 bits
// counts as one.
func addressOf(from string) string {
	ap, err := netip.ParseAddrPort(from)
	if err != nil {
		return from
	}
	ip := ap.Addr().Unmap().WithZone("")
	if !ip.Is6() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}
