package worker

import (
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/wal"
)

// settle makes final reports durable, then tells them, and has the shim forget
// the commands.
func (m *Minion) settle(reports []*job.Report) {
	if len(reports) == 0 {
		return
	}
	var batch wal.Batch
	var err error
	entries := make([]*entry, 0, len(reports))
	m.mu.Lock()
	for _, r := range reports {
		e := m.journal.settle(r)
		if e == nil {
			continue
		}
		if n := outputSize(r); n > 0 && m.spooled+n > spoolBytes {
			withoutOutput(r)
		}
		entries = append(entries, e)
		var b wal.Batch
		if b, err = m.journal.add(&record{Kind: kindEnded, Report: r}); err != nil {
			break
		}
		batch = b
	}
	m.mu.Unlock()
	if err == nil {
		err = m.sync(batch)
	}
	m.crash("ended")
	m.mu.Lock()
	client := m.client
	// The shim may forget only what is durable here: that it does not know a
	// key means that it never started it. It is told before anybody else: what is
	// given back may be ordered again, and handed over, as soon as it is told.
	var keys []string
	for _, r := range reports {
		key := keyOf(r.Task)
		if e := m.journal.live[key]; e == nil || e.final != nil || e.settling != nil && err == nil {
			keys = append(keys, key.String())
		}
	}
	m.mu.Unlock()
	m.forget(client, keys)
	m.mu.Lock()
	m.commit(entries, err)
	m.mu.Unlock()
	m.crash("told")
	if err != nil {
		m.fail(err)
	}
}

// withoutOutput drops the output that a report carries; its file has it.
func withoutOutput(r *job.Report) {
	for _, o := range []*job.Output{&r.Stdout, &r.Stderr} {
		*o = job.Output{Bytes: o.Bytes, Truncated: o.Bytes > 0}
	}
}

// commit ends what settle has made durable. The caller holds mu. After an
// error the reports are tried again later.
func (m *Minion) commit(entries []*entry, err error) {
	for _, e := range entries {
		if err != nil {
			if diskFull(err) {
				withoutOutput(e.settling) // rather less output than no result
			}
			m.unsettled = append(m.unsettled, e.settling)
			e.settling = nil
			continue
		}
		m.texts.leave(e)
		if e.settling.Returned {
			m.journal.giveBack(e)
			m.unplace(e)
			m.metrics.tasks.WithLabelValues("returned").Inc()
			m.out.answer(e.settling)
			continue
		}
		m.journal.end(e)
		m.unplace(e)
		m.spooled += outputSize(e.final)
		m.metrics.tasks.WithLabelValues(string(e.final.State)).Inc()
		m.out.tell(e)
	}
	notify(m.startWake)
}

func (m *Minion) forget(client *shim.Client, keys []string) {
	if client == nil || len(keys) == 0 {
		return
	}
	if err := client.Forget(keys); err != nil {
		m.log.Debug("shim was not told to forget", zap.Error(err))
	}
}

// acked drops reports that a node has made durable. The record of it is not
// waited for: without it the report is sent once more.
func (m *Minion) acked(ack *agentpb.Ack) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UnixNano()
	for _, t := range ack.GetTasks() {
		id, err := agentpb.ToTask(t, m.cfg.ID)
		if err != nil {
			m.log.Warn("acknowledgement cannot be read", zap.Error(err))
			continue
		}
		key := keyOf(id)
		e := m.journal.live[key]
		if e == nil || e.final == nil {
			continue
		}
		m.spooled -= outputSize(e.final)
		m.journal.ack(key, now)
		if _, err := m.journal.add(&record{Kind: kindAcked, Task: &key, At: now}); err != nil {
			m.log.Warn("acknowledgement not journaled", zap.Error(err))
		}
	}
}
