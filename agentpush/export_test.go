package agentpush

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/job"
)

// Grace is how long after its time an open offer may still be answered.
const Grace = grace

// Lost is how many reports were given up.
func (h *Hub) Lost() int {
	reg := prometheus.NewRegistry()
	reg.MustRegister(h.met.lost)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		return -1
	}
	return int(families[0].GetMetric()[0].GetCounter().GetValue())
}

// SweepAt does what the hub does from time to time, as if it were later.
func (h *Hub) SweepAt(t time.Time) { h.sweeper.once(t.UnixNano(), true) }

// TextBytes bounds the texts that wait for one minion; HeldTexts is how many bytes
// wait for all, HeldOutput the same of output.
const TextBytes = textBytes

func (h *Hub) HeldTexts() int { return int(h.services.push.frames.texts.budget.held.Load()) }

func (h *Hub) HeldOutput() int { return int(h.outputs.budget.held.Load()) }

// Uncontrollable returns who gets no orders of those that a target admits.
func (h *Hub) Uncontrollable(t job.Target) []job.Uncontrollable {
	_, away := h.Reach(t)
	return away
}
