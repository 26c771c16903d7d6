package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeControl answers with what a test sets; err is what every method returns.
type fakeControl struct {
	Control // what is not faked
	err     error
	holds   time.Time
	jobs    []api.Job
	runs    []job.Run
	chunks  []api.OutputLine
	outErr  error // after the chunks
	block   bool  // Output waits for its context
	changes chan api.Change

	mu sync.Mutex
	// mu guards all below. since is what the stream of changes was to go on from.
	since    string
	applied  []byte
	file     string
	dryRun   bool
	started  job.Key
	by       string
	jobQuery api.JobQuery
	runQuery api.RunQuery
	follow   bool
	minion   job.MinionID
	asked    []string
	refused  []string
	// refusedTo are the names of those who were refused that.
	refusedTo []string
	ended     chan struct{} // closed when a blocked Output ends
}

func (f *fakeControl) Apply(_ context.Context, file string, data []byte, dryRun bool) ([]api.ApplyResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.file, f.applied, f.dryRun = file, bytes.Clone(data), dryRun
	return []api.ApplyResult{{Kind: "Job", Namespace: "default", Name: "a", Action: api.ActionCreated}}, f.err
}

func (f *fakeControl) JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error) {
	jobs, err := f.Jobs(ctx, q)
	return api.JobPage{Jobs: jobs, Total: len(jobs), NextCursor: "next"}, err
}

func (f *fakeControl) Jobs(_ context.Context, q api.JobQuery) ([]api.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobQuery = q
	return f.jobs, f.err
}

func (f *fakeControl) Job(_ context.Context, key job.Key) (api.Job, error) {
	v := api.Job{Job: job.Job{Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}, Generation: 3}}
	return v, f.err
}

func (f *fakeControl) Delete(context.Context, job.Key) (time.Time, error) { return f.holds, f.err }

func (f *fakeControl) Pause(context.Context, api.Paused, time.Time, api.Order) (time.Time, error) {
	return f.holds, f.err
}

func (f *fakeControl) Resume(context.Context, api.Paused, api.Order) (time.Time, error) {
	return f.holds, f.err
}

var someFire = job.FireID{Job: job.UID{1}, At: 1_700_000_000_000_000_000, Trigger: job.TriggerManual}

func (f *fakeControl) Start(_ context.Context, key job.Key, req api.StartRequest) (job.FireID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started, f.by = key, req.By
	return someFire, f.err
}

func (f *fakeControl) Runs(_ context.Context, q api.RunQuery) (api.RunPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runQuery = q
	return api.RunPage{Runs: f.runs}, f.err
}

func (f *fakeControl) Run(_ context.Context, id job.RunID) (job.Run, error) {
	return job.Run{RunID: id, FireID: someFire}, f.err
}

func (f *fakeControl) Output(ctx context.Context, _ job.RunID, minion job.MinionID, follow bool, fn func(api.OutputLine) error) error {
	f.mu.Lock()
	f.minion, f.follow = minion, follow
	f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for _, c := range f.chunks {
		c.Minion = "web1"
		if err := fn(c); err != nil {
			return err
		}
	}
	if f.block {
		<-ctx.Done()
		close(f.ended)
		return ctx.Err()
	}
	return f.outErr
}

func (f *fakeControl) Nodes(context.Context) ([]api.Node, error)     { return nil, f.err }
func (f *fakeControl) Minions(context.Context) ([]api.Minion, error) { return nil, f.err }
func (f *fakeControl) Minion(_ context.Context, id job.MinionID) (api.MinionDetail, error) {
	return api.MinionDetail{Minion: api.Minion{Minion: job.Minion{ID: id}}}, f.err
}
func (f *fakeControl) Shards(context.Context) ([]api.Shard, error) { return nil, f.err }
func (f *fakeControl) Groups(_ context.Context, namespace string) ([]api.Group, error) {
	f.note("groups " + namespace)
	return nil, f.err
}

func (f *fakeControl) Group(_ context.Context, key job.Key) (api.Group, error) {
	return api.Group{Group: job.Group{Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}, Shard: job.FirstGroupShard}}, f.err
}

func (f *fakeControl) DeleteGroup(_ context.Context, key job.Key) error {
	return f.note("delete " + key.String())
}

func (f *fakeControl) DrainNode(_ context.Context, node job.NodeID, o api.Order) error {
	return f.note("drain " + string(node) + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) Sites(context.Context) ([]api.Site, error) { return nil, f.err }

func (f *fakeControl) DrainSite(_ context.Context, site string, o api.Order) error {
	f.note(fmt.Sprintf("drain site %s by %s for %s", site, o.By, o.Reason))
	return f.err
}

func (f *fakeControl) UndrainSite(_ context.Context, site string, o api.Order) error {
	f.note(fmt.Sprintf("undrain site %s by %s for %s", site, o.By, o.Reason))
	return f.err
}

func (f *fakeControl) UndrainNode(_ context.Context, node job.NodeID, o api.Order) error {
	return f.note("undrain " + string(node) + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) MoveShard(_ context.Context, ref string, node job.NodeID, o api.Order) error {
	return f.note("move " + ref + " to " + string(node) + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) HoldShard(_ context.Context, ref string, o api.Order) error {
	return f.note("hold " + ref + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) ReleaseShard(_ context.Context, ref string, o api.Order) error {
	return f.note("release " + ref + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) FailbackShard(_ context.Context, ref string, o api.Order) error {
	return f.note("failback " + ref + " " + o.By + " " + o.Reason)
}

func (f *fakeControl) Backup(_ context.Context, w io.Writer) error {
	f.note("backup")
	if f.err != nil {
		return f.err
	}
	_, err := io.WriteString(w, "CARILLON-BACKUP")
	return err
}

func (f *fakeControl) Standby(context.Context) (api.Standby, error) {
	return api.Standby{Role: api.RoleAlone, Epoch: 2}, f.note("standby")
}

func (f *fakeControl) FollowActive(_ context.Context, req api.FollowRequest) (api.Followed, error) {
	return api.Followed{From: req.From, Epoch: 2}, f.note(fmt.Sprintf("follow %s by %q shows %q dry %v replace %v for %s", req.From, req.CA, req.Token, req.DryRun, req.Replace, req.Reason))
}

func (f *fakeControl) StopFollowing(_ context.Context, o api.Order) error {
	return f.note("stop following " + o.Reason)
}

func (f *fakeControl) PromoteCluster(_ context.Context, req api.PromoteRequest) (api.Promotion, error) {
	return api.Promotion{Epoch: 3}, f.note(fmt.Sprintf("promote cluster dry %v planned %v lost %s accept after %s for %s", req.DryRun, req.Planned, req.LostAt.UTC().Format(time.RFC3339), req.AcceptAfter, req.Reason))
}

func (f *fakeControl) Mirror(_ context.Context, req api.MirrorRequest, w io.Writer) error {
	if err := f.note(fmt.Sprintf("mirror %s %d %d", req.Cluster, req.Epoch, req.After)); err != nil {
		return err
	}
	_, err := io.WriteString(w, "h")
	return err
}

func (f *fakeControl) HandOver(_ context.Context, o api.Order) (api.HandedOver, error) {
	return api.HandedOver{ID: "x", Epoch: 2}, f.note("hand over " + o.Reason)
}

func (f *fakeControl) Overtaken(_ context.Context, req api.OvertakenRequest) (api.Standby, error) {
	return api.Standby{Role: api.RoleOvertaken}, f.note(fmt.Sprintf("overtaken %s %d %d %s", req.Cluster, req.Epoch, req.Revision, req.Site))
}

func (f *fakeControl) Recover(_ context.Context, req api.RecoverRequest) (api.Recovery, error) {
	f.note(fmt.Sprintf("recover dry %v unknown %v lost %s adopt %v by %s for %s", req.DryRun, req.AcceptUnknown, req.LostAt.UTC().Format(time.RFC3339), req.Adopt, req.By, req.Reason))
	return api.Recovery{Epoch: 2, Ran: 3, Done: true}, f.err
}

func (f *fakeControl) Audit(_ context.Context, q api.AuditQuery) (api.AuditPage, error) {
	f.note(fmt.Sprintf("audit %d since %s by %q action %q object %q after %q", q.Limit, q.Since.Format(time.RFC3339), q.By, q.Action, q.Object, q.After))
	return api.AuditPage{}, f.err
}

func (f *fakeControl) AuditFeed(_ context.Context, after int64, since time.Time) (api.AuditFeed, error) {
	return api.AuditFeed{}, f.note(fmt.Sprintf("audit after %d since %s", after, since.Format(time.RFC3339)))
}

func (f *fakeControl) Refused(ctx context.Context, action, object, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusedTo = append(f.refusedTo, caller.Of(ctx, caller.RequestOf(ctx).By))
	f.refused = append(f.refused, action+" "+object+": "+why)
}

func (f *fakeControl) VerifyAudit(_ context.Context, segment int64, hash string) (api.AuditVerdict, error) {
	return api.AuditVerdict{}, f.note(fmt.Sprint("verify ", segment, " ", hash))
}

// note keeps what was asked for, and returns the test's error.
func (f *fakeControl) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
	return f.err
}

func (f *fakeControl) OpenLockSession(context.Context, string, time.Duration) (api.LockSession, error) {
	return api.LockSession{Session: "s", TTL: 5}, f.note("open lock session")
}

func (f *fakeControl) RenewLockSession(_ context.Context, s string, key job.Key, place string) (api.LockRenewal, error) {
	return api.LockRenewal{TTL: 5, Held: true}, f.note("renew " + s + " " + key.String() + " " + place)
}

func (f *fakeControl) CloseLockSession(_ context.Context, s string) error {
	return f.note("close " + s)
}

func (f *fakeControl) AcquireLock(_ context.Context, key job.Key, r api.LockRequest) (api.LockAnswer, error) {
	return api.LockAnswer{Held: true, Token: job.Token{Epoch: 1, Revision: 2}}, f.note("acquire " + key.String() + " " + r.Place)
}

func (f *fakeControl) ReleaseLock(_ context.Context, key job.Key, r api.LockRequest) error {
	return f.note("release " + key.String() + " " + r.Place)
}

func (f *fakeControl) Locks(context.Context, string) ([]api.Lock, error) { return nil, f.err }

func (f *fakeControl) Lock(_ context.Context, key job.Key) (api.Lock, error) {
	return api.Lock{Namespace: key.Namespace, Name: key.Name}, f.err
}

func (f *fakeControl) BreakLock(_ context.Context, key job.Key, token job.Token, o api.Order) error {
	return f.note("break " + key.String() + " " + token.String() + " by " + o.By)
}

func (f *fakeControl) Doctor(context.Context) ([]api.Check, error) { return nil, f.err }
func (f *fakeControl) Version() api.Version                        { return api.Version{Version: "1.2.3"} }
func (f *fakeControl) Changes(_ context.Context, since string) <-chan api.Change {
	f.mu.Lock()
	f.since = since
	f.mu.Unlock()
	return f.changes
}

// panickingControl panics in Jobs.
type panickingControl struct{ fakeControl }

func (*panickingControl) Jobs(context.Context, api.JobQuery) ([]api.Job, error) {
	panic("a bug")
}

// serve starts the API on a port of its own.
func serve(t *testing.T, cfg Config, deps Deps) *httptest.Server {
	t.Helper()
	if deps.Gatherer == nil {
		reg := prometheus.NewRegistry()
		deps.Gatherer, deps.Registerer = reg, reg
	}
	a, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	documents.Store(s, a.doc)
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

// ask sends a request and returns the answer with its body.
func ask(t *testing.T, s *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	isDeclared(t, s, resp, b)
	return resp, string(b)
}

// decoded reads JSON.
func decoded[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return v
}
