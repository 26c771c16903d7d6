package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// notifyScenario is the name of the scenario that has jobs fail and recover while nodes and
// minions die, and receivers of alerts die and hang, and looks at what these were told.
const notifyScenario = "notify"

const (
	alertSpace = "alerted"
	alertJobs  = 8
	// alertSecret is the file with the secret by which messages are signed.
	alertSecret = "signing"
)

// alertReceivers are the receivers, and how long their notifiers wait for more to tell.
func alertReceivers() map[string]time.Duration {
	return map[string]time.Duration{"steady": 0, "dying": 0, "hanging": 0, "grouped": 2 * time.Second}
}

// killTwo ends two schedulers with SIGKILL at once, and starts them again: what was being
// sent is sent by the one that is left.
func killTwo(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	all := c.running()
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	away := between(rnd, awayMin, awayMax)
	for _, p := range all[:2] {
		c.event("kill %s, back in %v", p.name, away)
		c.takeovers.lose(p.name, causeKill)
		if _, err := p.stop(syscall.SIGKILL); err != nil {
			return err
		}
		c.takeovers.struck(p.name)
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return errors.Join(all[0].start(), all[1].start())
}

// receiverDies has a receiver refuse connections for a while, and break those that it has.
func receiverDies(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	r := c.receivers[[]string{"dying", "grouped"}[rnd.IntN(2)]]
	away := between(rnd, time.Second, 6*time.Second)
	c.event("receiver %s dies, back in %v", r.name, away)
	if err := r.server.Close(); err != nil {
		return err
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return until(ctx, r.listen)
}

// receiverHangs has a receiver read what it is told, and not answer.
func receiverHangs(ctx context.Context, c *cluster, rnd *rand.Rand) error {
	r := c.receivers[[]string{"hanging", "grouped"}[rnd.IntN(2)]]
	still := between(rnd, time.Second, 8*time.Second)
	c.event("receiver %s hangs for %v", r.name, still)
	release := make(chan struct{})
	r.hold(release)
	err := sleep(ctx, still)
	r.hold(nil)
	close(release)
	return err
}

func notifyFaults() []fault {
	return []fault{killScheduler, receiverDies, killTwo, drainScheduler, receiverHangs, standStill, killWorker, receiverHangs, killScheduler, receiverDies}
}

// receiver takes alerts, as a webhook does.
type receiver struct {
	name   string
	addr   string
	secret webhook.Secret
	server *http.Server // of those that listen one after the other, the last one

	mu   sync.Mutex // guards what follows
	rnd  *rand.Rand
	held chan struct{} // not nil: calls wait for it
	toldAlerts
}

// toldAlerts is what a receiver was told.
type toldAlerts struct {
	calls int
	// taken are the alerts that it has said it took, under that message; seen those of
	// each message that it was sent, whatever it answered.
	taken  map[string]string
	seen   map[string][]job.Alert
	forged []string
}

func newReceiver(name string, secret webhook.Secret) (*receiver, error) {
	r := &receiver{
		name: name, addr: "127.0.0.1:0", secret: secret, rnd: rand.New(rand.NewPCG(1, 4)), //nolint:gosec // it has to be the same again
		toldAlerts: toldAlerts{taken: map[string]string{}, seen: map[string][]job.Alert{}},
	}
	return r, r.listen()
}

// listen has it take calls, at the address that it had before.
func (r *receiver) listen() error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", r.addr)
	if err != nil {
		return fmt.Errorf("receiver %s: %w", r.name, err)
	}
	r.addr = l.Addr().String()
	s := &http.Server{Handler: http.HandlerFunc(r.take), ReadHeaderTimeout: 10 * time.Second}
	r.server = s
	go func() { _ = s.Serve(l) }() // until it is closed
	return nil
}

func (r *receiver) hold(until chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = until
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return // whoever sent it has died
	}
	how, held := r.read(req.Header.Get("webhook-id"), webhook.Of(req.Header), body)
	if held != nil {
		select {
		case <-held:
		case <-req.Context().Done():
		}
		panic(http.ErrAbortHandler) // it was taken in, and never answered
	}
	switch how {
	case 0:
		w.WriteHeader(http.StatusServiceUnavailable)
	case 1:
		panic(http.ErrAbortHandler)
	}
}

// read notes what a call tells, and returns how to answer it.
func (r *receiver) read(id string, signed webhook.Signed, body []byte) (how int, held chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	var call struct {
		Data struct{ Alerts []job.Alert }
	}
	if err := errors.Join(r.secret.Verify(signed, body, time.Now()), json.Unmarshal(body, &call)); err != nil {
		r.forged = append(r.forged, r.name+": "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return 2, nil
	}
	if was, ok := r.seen[id]; ok && !sameAlerts(was, call.Data.Alerts) {
		r.forged = append(r.forged, fmt.Sprintf("%s: message %s told %d alerts, and later others", r.name, id, len(was)))
	}
	r.seen[id] = call.Data.Alerts
	if r.held != nil {
		return 2, r.held
	}
	// The steady one takes all: it shows that the others hold up nobody else.
	if how = r.rnd.IntN(20); how > 1 || r.name == "steady" {
		for i := range call.Data.Alerts {
			r.taken[call.Data.Alerts[i].ID] = id
		}
		how = 2
	}
	return how, nil
}

func sameAlerts(a, b []job.Alert) bool {
	return slices.EqualFunc(a, b, func(x, y job.Alert) bool { return x.ID == y.ID })
}

// notifyResult is what a run of the scenario showed.
type notifyResult struct {
	options                       options
	runs, owed, taken, calls      int
	disturbances                  int
	lost, doubled, untrue, forged []string
	stuck                         []string
	dir                           string // empty when it is removed
}

func (r *notifyResult) good() bool {
	return r.owed > 0 && r.taken > 0 && len(r.lost)+len(r.doubled)+len(r.untrue)+len(r.forged)+len(r.stuck) == 0
}

func (r *notifyResult) print(w io.Writer) {
	for _, kind := range []struct {
		name string
		list []string
	}{{"lost", r.lost}, {"doubled", r.doubled}, {"untrue", r.untrue}, {"forged", r.forged}, {"stuck", r.stuck}} {
		for _, what := range kind.list[:min(shown, len(kind.list))] {
			fmt.Fprintf(w, "%s: %s\n", kind.name, what)
		}
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d disturbances=%d runs=%d alerts=%d receivers=%d taken=%d calls=%d lost=%d doubled=%d untrue=%d forged=%d stuck=%d\n",
		notifyScenario, r.options.seed, r.options.load, r.disturbances, r.runs, r.owed, len(alertReceivers()), r.taken, r.calls, len(r.lost), len(r.doubled), len(r.untrue), len(r.forged), len(r.stuck))
}

// runNotify runs the scenario. The error tells what kept it from coming to a verdict.
func runNotify(parent context.Context, o options, out io.Writer) (*notifyResult, error) {
	res := &notifyResult{options: o}
	dir, err := withCluster(parent, o, out, func(ctx context.Context, cancel context.CancelCauseFunc, c *cluster) (bool, error) {
		c.api.nodes = c.api.nodes[:schedulerCount]
		secret, err := c.signAlerts()
		if err != nil {
			return false, err
		}
		if err := c.start(ctx); err != nil {
			return false, err
		}
		stop, err := c.watchTakeovers(ctx, cancel)
		if err != nil {
			return false, err
		}
		defer stop()
		c.receivers = map[string]*receiver{}
		for name := range alertReceivers() {
			r, err := newReceiver(name, secret)
			if err != nil {
				return false, err
			}
			defer func() { _ = r.server.Close() }()
			c.receivers[name] = r
		}
		if err := res.play(ctx, c); err != nil {
			return false, err
		}
		return res.good(), leave(c)
	})
	res.dir = dir
	return res, err
}

// signAlerts lays down the secret of the receivers where each node finds it.
func (c *cluster) signAlerts() (webhook.Secret, error) {
	secret, err := webhook.NewSecret()
	for _, p := range c.schedulers {
		dir := filepath.Join(c.dir, p.name, "notify-secrets", alertSpace)
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, alertSecret), []byte(secret.Text()), 0o600))
	}
	if err != nil {
		return secret, fmt.Errorf("the receivers' secret: %w", err)
	}
	return secret, nil
}

// play has jobs fail and recover while the cluster is disturbed, and judges what was told.
func (r *notifyResult) play(ctx context.Context, c *cluster) error {
	for name, wait := range alertReceivers() {
		if _, err := c.api.apply(ctx, alertManifest(name, c.receivers[name].addr, wait)); err != nil {
			return fmt.Errorf("apply the notifiers: %w", err)
		}
	}
	if _, err := c.api.apply(ctx, waverManifest(true)); err != nil {
		return fmt.Errorf("apply the jobs: %w", err)
	}
	s := scenarios()[notifyScenario]
	var err error
	if r.options.once {
		r.disturbances, err = disturbOnce(ctx, c, s.each, r.options.seed)
	} else {
		r.disturbances, err = disturb(ctx, c, s.disturb, r.options.seed, r.options.length)
	}
	if err != nil {
		return err
	}
	err = until(ctx, func() error {
		if _, err := c.api.apply(ctx, waverManifest(false)); err != nil {
			return err
		}
		open, err := c.api.open(ctx)
		if err == nil && len(open) > 0 {
			err = fmt.Errorf("%d runs are open", len(open))
		}
		return err
	})
	var runs []job.Run
	if err == nil {
		c.event("the jobs are disabled")
		runs, err = c.api.runsIn(ctx, alertSpace)
	}
	owed := owedAlerts(runs)
	if err == nil {
		c.event("%d runs have %d alerts", len(runs), len(owed))
		err = until(ctx, func() error { return r.untold(ctx, c, owed) })
	}
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errHangs):
		r.stuck = append(r.stuck, err.Error())
	case err != nil:
		return err
	}
	r.runs, r.owed = len(runs), len(owed)
	for _, name := range sorted(c.receivers) {
		one := c.receivers[name]
		one.mu.Lock()
		r.judge(name, owed, &one.toldAlerts)
		one.mu.Unlock()
	}
	return nil
}

// untold returns what somebody still waits for.
func (r *notifyResult) untold(ctx context.Context, c *cluster, owed map[string]job.Alert) error {
	var list struct{ Notifiers []api.Notifier }
	if err := c.api.ask(ctx, http.MethodGet, "/v1/notifiers?namespace="+alertSpace, nil, &list); err != nil {
		return err
	}
	for i := range list.Notifiers {
		n := &list.Notifiers[i]
		one := c.receivers[n.Name]
		one.mu.Lock()
		left := 0
		for id := range owed {
			if one.taken[id] == "" {
				left++
			}
		}
		one.mu.Unlock()
		if n.Waiting+left > 0 {
			return fmt.Errorf("%d alerts wait for %s, which lacks %d: %s", n.Waiting, n.Name, left, n.Error)
		}
	}
	return nil
}

// judge says what is wrong with what a receiver was told.
func (r *notifyResult) judge(name string, owed map[string]job.Alert, t *toldAlerts) {
	r.calls += t.calls
	r.taken += len(t.taken)
	r.forged = append(r.forged, t.forged...)
	for _, id := range sorted(owed) {
		if t.taken[id] == "" {
			a := owed[id]
			r.lost = append(r.lost, fmt.Sprintf("%s was not told that %s %s, by run %s", name, a.Job, a.Event, a.Run))
		}
	}
	under := map[string]string{}
	for _, message := range sorted(t.seen) {
		for _, a := range t.seen[message] {
			if was, ok := under[a.ID]; ok {
				r.doubled = append(r.doubled, fmt.Sprintf("%s was told %s in messages %s and %s", name, a.ID, was, message))
			}
			under[a.ID] = message
			switch _, ok := owed[a.ID]; {
			case a.ID != job.AlertID(a.Run, a.Event):
				r.untrue = append(r.untrue, fmt.Sprintf("%s was told of run %s and %s as %s", name, a.Run, a.Event, a.ID))
			case !ok:
				r.untrue = append(r.untrue, fmt.Sprintf("%s was told that %s %s by run %s (%s), which the records do not say", name, a.Job, a.Event, a.Run, a.State))
			}
		}
	}
}

// owedAlerts are the alerts that records make, by their ids: the first failure, one of
// another kind than the last, and the recovery. Of a job one run goes on at a time, so
// that they ended in the order in which they started.
func owedAlerts(runs []job.Run) map[string]job.Alert {
	of := map[job.UID][]*job.Run{}
	for i := range runs {
		if r := &runs[i]; r.State.Final() && r.State != job.StateSkipped {
			of[r.FireID.Job] = append(of[r.FireID.Job], r)
		}
	}
	out := map[string]job.Alert{}
	for _, all := range of {
		slices.SortFunc(all, func(a, b *job.Run) int {
			return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.FireID.At, b.FireID.At))
		})
		var trouble job.AlertEvent
		for _, run := range all {
			event, other := map[job.State]job.AlertEvent{
				job.StateSucceeded: job.AlertRecovered, job.StateIndeterminate: job.AlertIndeterminate, job.StateMissed: job.AlertMissed,
			}[run.State]
			if !other {
				event = job.AlertFailed
			}
			if event == trouble || event.Good() && trouble == "" {
				continue
			}
			trouble = event
			if event.Good() {
				trouble = ""
			}
			id := job.AlertID(run.RunID, event)
			out[id] = job.Alert{ID: id, Event: event, Job: run.Key(), Run: run.RunID}
		}
	}
	return out
}

// alertManifest describes a notifier. It tells nothing twice by itself.
func alertManifest(name, addr string, wait time.Duration) []byte {
	spec := map[string]any{
		"on":          []job.AlertEvent{job.AlertFailed, job.AlertRecovered, job.AlertMissed, job.AlertIndeterminate},
		"remindAfter": job.MaxRemindAfter.String(), "maxPerHour": job.MaxMaxPerHour,
		"webhook": map[string]any{"url": "http://" + addr + "/hook", "secretFile": alertSecret},
	}
	if wait > 0 {
		spec["groupFor"] = wait.String()
	}
	return asManifest(job.KindNotifier, name, spec)
}

// waverManifest describes the jobs. As often as not they fail.
func waverManifest(enabled bool) []byte {
	var out []byte
	for i := range alertJobs {
		out = append(append(out, asManifest(job.KindJob, "waver-"+strconv.Itoa(i), map[string]any{
			"schedule": "@every 2s", "enabled": enabled, "overlap": job.OverlapSkip, "misfire": job.MisfireAll,
			"command": []string{"sh", "-c", "case $(date +%3N) in *[13579]) exit 3;; esac"},
		})...), "\n---\n"...)
	}
	return out
}

func asManifest(kind, name string, spec map[string]any) []byte {
	b, err := json.Marshal(map[string]any{
		"apiVersion": job.APIVersion, "kind": kind, "metadata": map[string]any{"namespace": alertSpace, "name": name}, "spec": spec,
	})
	if err != nil {
		panic(err) // of texts only
	}
	return b
}
