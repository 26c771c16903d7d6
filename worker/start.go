package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/wal"
)

// startChunk bounds how many commands one message to the shim starts.
const startChunk = 32

// intent returns the record that says that the task is handed to the shim next.
func (e *entry) intent() *record {
	return &record{Kind: kindIntent, Task: &e.key, Instance: e.instance, Boot: e.boot}
}

// place gives the task a place if there is one, and nobody waits before it.
// The caller holds mu and journals the intent.
func (m *Minion) place(e *entry) bool {
	if m.active >= m.cfg.MaxRunning || m.waiting.len()+m.renewals.line.len() > 0 && !e.renewed || m.client == nil {
		return false
	}
	m.count(e)
	e.phase, e.instance, e.boot = phaseIntent, m.starter(e), m.boot
	return true
}

// starter names who starts the task: a shim, which outlives this process, or
// this process itself, where no other can find out what came of it. The caller
// holds mu.
func (m *Minion) starter(e *entry) string {
	if handled(e.order) {
		return HandlerPrefix + m.instance
	}
	return m.shimID
}

func (m *Minion) count(e *entry) {
	if !e.counted {
		e.counted = true
		m.active++
	}
}

// unplace frees the task's place.
func (m *Minion) unplace(e *entry) {
	if e.counted {
		e.counted = false
		m.active--
	}
}

// startLoop hands tasks to the shim.
func (m *Minion) startLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			m.handOver(context.WithoutCancel(ctx)) // whose intent is durable
			return
		case <-m.startWake:
		}
		if err := m.promote(); err != nil {
			m.fail(err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
				notify(m.startWake)
				continue
			}
		}
		m.handOver(ctx)
	}
}

// promote gives free places to waiting tasks, durably.
func (m *Minion) promote() error {
	m.mu.Lock()
	var batch wal.Batch
	var got []*entry
	var back []*job.Report
	var err error
	for !m.stopping && m.active < m.cfg.MaxRunning && m.client != nil && err == nil {
		e := m.first()
		if e == nil {
			break
		}
		if why := m.overdue(e); why != "" {
			if len(m.renewals.asked) >= m.cfg.MaxRunning-m.active {
				break // as many are on their way as there is room for
			}
			m.dropFirst()
			back = append(back, m.returned(e, why))
			continue
		}
		m.dropFirst()
		m.count(e)
		e.phase, e.instance, e.boot = phaseIntent, m.starter(e), m.boot
		got = append(got, e)
		batch, err = m.journal.add(e.intent())
	}
	m.mu.Unlock()
	m.settle(back)
	if err == nil {
		err = m.sync(batch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		for _, e := range got {
			e.phase = phaseAccepted
			m.unplace(e)
		}
		m.waiting.putBack(got...)
		return err
	}
	m.ready.push(got...)
	return nil
}

// handOver tells the shim to start what is ready.
func (m *Minion) handOver(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		client := m.client
		if client == nil || m.ready.len() == 0 {
			m.mu.Unlock()
			return
		}
		chunk := m.ready.take(startChunk)
		orders := make([]*job.Order, len(chunk))
		var back []*job.Report
		for i, e := range chunk {
			if why := m.overdue(e); why != "" && e.settling == nil {
				back = append(back, m.returned(e, why))
				continue // the order stays nil, as of what was cancelled meanwhile
			}
			orders[i] = e.order
		}
		m.mu.Unlock()
		m.settle(back)

		chunk, orders = m.handOverToHandlers(chunk, orders)
		chunk, orders = m.withTexts(chunk, orders)
		specs := make([]shim.Spec, len(chunk))
		var failures []*job.Report
		for i, e := range chunk {
			if orders[i] == nil {
				continue // cancelled meanwhile
			}
			var err error
			if specs[i], err = m.prepare(orders[i]); err != nil {
				specs[i].Key = ""
				now := time.Now().UTC()
				failures = append(failures, &job.Report{
					Task: e.key.id(m.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
					Reason: err.Error(), EndedAt: now, Spooled: true,
				})
			}
		}
		m.crash("intent")
		m.send(client, chunk, specs)
		m.crash("handed")
		if len(failures) > 0 {
			m.settle(failures)
		}
	}
}

// withTexts returns those tasks whose scripts are here; the others wait.
func (m *Minion) withTexts(chunk []*entry, orders []*job.Order) ([]*entry, []*job.Order) {
	var here []*entry
	var theirs []*job.Order
	for i, e := range chunk {
		if orders[i] != nil {
			if len(m.scripts.missing(orders[i])) > 0 {
				m.park(e, orders[i])
				continue
			}
		}
		here, theirs = append(here, e), append(theirs, orders[i])
	}
	return here, theirs
}

// handOverToHandlers starts what Go handlers run, and returns the rest.
func (m *Minion) handOverToHandlers(chunk []*entry, orders []*job.Order) ([]*entry, []*job.Order) {
	var ours, rest []*entry
	var oursOrders, restOrders []*job.Order
	for i, e := range chunk {
		if handled(orders[i]) {
			ours, oursOrders = append(ours, e), append(oursOrders, orders[i])
		} else {
			rest, restOrders = append(rest, e), append(restOrders, orders[i])
		}
	}
	if len(ours) > 0 {
		m.handle(ours, oursOrders)
	}
	return rest, restOrders
}

// send passes specs to the shim, without those whose tasks have ended.
func (m *Minion) send(client *shim.Client, chunk []*entry, specs []shim.Spec) {
	var out []shim.Spec
	m.mu.Lock()
	if m.client != client {
		// Another shim by now: nothing was handed over, so all are ready still.
		m.ready.putBack(chunk...)
		m.mu.Unlock()
		notify(m.startWake)
		return
	}
	for i, e := range chunk {
		if specs[i].Key == "" || e.settling != nil || e.final != nil {
			continue
		}
		e.phase, e.instance = phaseHanded, m.shimID
		out = append(out, specs[i])
	}
	m.mu.Unlock()
	if len(out) == 0 {
		return
	}
	if err := client.Start(out); err != nil {
		// What became of them is found out by the next attach.
		m.log.Warn("commands were not handed over", zap.Error(err))
	}
}
