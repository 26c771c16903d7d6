package sites

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// watchEvery is how often it is looked whether a site is lost.
const watchEvery = 2 * time.Second

// By is who says in the audit that a site is lost.
const By = "(cluster)"

// Watcher notes when a site is lost, and when it is back, and since when nodes are gone.
type Watcher struct {
	m    *Map
	mine func() bool
	lost *prometheus.GaugeVec
	// shown are the sites that the metric has.
	shown map[string]bool
}

// Watcher returns what notes losses. Mine says whether this node is the one that does so;
// the others only show them. Metrics may be nil.
func (m *Map) Watcher(mine func() bool, metrics prometheus.Registerer) (*Watcher, error) {
	w := &Watcher{m: m, mine: mine, shown: map[string]bool{}, lost: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "carillon_site_lost", Help: "Whether all nodes of a site are gone and have not left in order.",
	}, []string{"site"})}
	if metrics != nil {
		if err := metrics.Register(w.lost); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Run looks again and again, until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	for backoff.Sleep(ctx, backoff.Jittered(watchEvery)) {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.m.log.Debug("whether a site is lost is not known, trying again", zap.Error(err))
		}
	}
	return nil
}

// place is what is known of one site.
type place struct {
	live bool
	gone []job.NodeID
}

// Look looks once. Run calls it; it is not called at the same time.
func (w *Watcher) Look(ctx context.Context) error {
	db := w.m.db
	members, err := store.ListAll[etcdkv.Member](ctx, db, "list nodes", db.Keys.Members())
	if err != nil {
		return err
	}
	known, err := store.ListAll[etcdkv.KnownNode](ctx, db, "list known nodes", db.Keys.KnownNodes())
	if err != nil {
		return err
	}
	noted, err := store.ListAll[etcdkv.LostSite](ctx, db, "list lost sites", db.Keys.LostSites())
	if err != nil {
		return err
	}
	all := map[string]*place{}
	at := func(site string) *place {
		if all[site] == nil {
			all[site] = &place{}
		}
		return all[site]
	}
	live := map[job.NodeID]bool{}
	for i := range members {
		live[members[i].Node] = true
		at(members[i].Site).live = true
	}
	var away []etcdkv.KnownNode // of which it was not noticed yet
	for i := range known {
		if n := &known[i]; !live[n.Node] {
			p := at(n.Site)
			p.gone = append(p.gone, n.Node)
			if n.GoneSince.IsZero() {
				away = append(away, *n)
			}
		}
	}
	delete(all, "") // what says no site is none
	w.show(all)
	if !w.mine() {
		return nil
	}
	var errs []error
	for i := range away {
		errs = append(errs, w.gone(ctx, away[i]))
	}
	for site, p := range all {
		if !p.live && len(p.gone) > 0 && !slices.ContainsFunc(noted, func(l etcdkv.LostSite) bool { return l.Site == site }) {
			errs = append(errs, w.note(ctx, site, p.gone))
		}
	}
	for _, l := range noted {
		if p := all[l.Site]; p == nil || p.live {
			errs = append(errs, w.back(ctx, &l, p != nil))
		}
	}
	return errors.Join(errs...)
}

func (w *Watcher) show(all map[string]*place) {
	for site := range w.shown {
		if all[site] == nil {
			w.lost.DeleteLabelValues(site)
			delete(w.shown, site)
		}
	}
	for site, p := range all {
		v := 0.0
		if !p.live && len(p.gone) > 0 {
			v = 1
		}
		w.lost.WithLabelValues(site).Set(v)
		w.shown[site] = true
	}
}

// gone notes since when a node is not live, unless it has come back or was forgotten meanwhile.
func (w *Watcher) gone(ctx context.Context, n etcdkv.KnownNode) error {
	n.GoneSince = w.m.db.Now().UTC()
	text, err := etcdkv.Encode(&n)
	if err != nil {
		return err
	}
	key := w.m.db.Keys.KnownNode(n.Node)
	_, err = w.m.db.Do(ctx, "note that a node is gone", []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(w.m.db.Keys.Member(n.Node)), "=", 0), clientv3.Compare(clientv3.CreateRevision(key), ">", 0),
	}, []clientv3.Op{clientv3.OpPut(key, text)})
	return err
}

// note notes that a site is lost, once.
func (w *Watcher) note(ctx context.Context, site string, nodes []job.NodeID) error {
	slices.Sort(nodes)
	key := w.m.db.Keys.LostSite(site)
	text, err := etcdkv.Encode(etcdkv.LostSite{Schema: etcdkv.Schema, Site: site, Since: w.m.db.Now().UTC(), Nodes: nodes})
	if err != nil {
		return err
	}
	op, err := w.m.audit.Op(w.m.audit.Record(ctx, "site.lost", site, api.Order{By: By}))
	if err != nil {
		return err
	}
	resp, err := w.m.db.Do(ctx, "note a lost site", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, []clientv3.Op{clientv3.OpPut(key, text), op})
	if err == nil && resp.Succeeded {
		w.m.log.Error("a site is lost: none of its nodes is live, and they have not left in order", zap.String("site", site), zap.Any("nodes", nodes))
	}
	return err
}

// back notes that a site is lost no more: a node of it is live, or all were forgotten.
func (w *Watcher) back(ctx context.Context, l *etcdkv.LostSite, live bool) error {
	action := "site.back"
	if !live {
		action = "site.forgotten"
	}
	key := w.m.db.Keys.LostSite(l.Site)
	op, err := w.m.audit.Op(w.m.audit.Record(ctx, action, l.Site, api.Order{By: By}))
	if err != nil {
		return err
	}
	resp, err := w.m.db.Do(ctx, "note that a site is back", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), ">", 0)}, []clientv3.Op{clientv3.OpDelete(key), op})
	if err == nil && resp.Succeeded {
		w.m.log.Warn("a site is lost no more", zap.String("site", l.Site), zap.Bool("live", live), zap.Duration("after", w.m.db.Now().Sub(l.Since)))
	}
	return err
}
