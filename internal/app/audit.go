package app

import (
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/configs"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/audit/export"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/job"
)

// openExports opens what audit records are exported to. It is closed by who runs it.
func (n *Node) openExports() error {
	cfg := &n.cfg.Audit
	add := func(name string, sink export.Sink) {
		n.exports = append(n.exports, export.New(export.Config{Name: name}, export.Deps{
			Chain: &chain.Reader{Client: n.client, Keys: n.keys}, Sink: sink, Records: audit.RecordsOf, Seal: audit.SealOf, Logger: n.log,
		}))
	}
	if cfg.File != "" {
		sink, err := export.OpenFile(cfg.File, filepath.Join(n.cfg.DataDir, "audit-file.json"))
		if err != nil {
			return err
		}
		n.onClose(func() { _ = sink.Close() })
		add(cfg.File, sink)
	}
	if cfg.Syslog != "" {
		at, err := configs.ParseSyslog(cfg.Syslog)
		if err != nil {
			return err
		}
		sink, err := export.OpenSyslog(at.Network, at.Address, filepath.Join(n.cfg.DataDir, "audit-syslog.json"), n.cfg.Node)
		if err != nil {
			return err
		}
		add(cfg.Syslog, sink)
	}
	return nil
}

// newSealer returns what seals audit records, on one node at a time.
func (n *Node) newSealer(metrics prometheus.Registerer) (*chain.Sealer, error) {
	return chain.New(chain.Config{
		Keys: n.keys, Node: job.NodeID(n.cfg.Node), Epoch: n.meta.Epoch, Keep: n.cfg.Audit.Keep, MaxBytes: n.cfg.Audit.MaxBytes,
	}, chain.Deps{Client: n.client, Mine: func() bool { return n.looksAfter(0) }, Now: n.now, Logger: n.log, Metrics: metrics})
}
