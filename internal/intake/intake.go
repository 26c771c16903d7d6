package intake

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// Plans is the API; see client.Plans.
type Plans interface {
	Send(ctx context.Context, namespace string, format plan.Format, text io.Reader) (api.PlanReceipt, error)
	Report(ctx context.Context, namespace string, format plan.Format, query []byte) (io.ReadCloser, error)
	Get(ctx context.Context, namespace, upstream, id string) (api.Plan, error)
}

// Config says where plans come from: a directory, a listener, or both. Namespace must be set.
type Config struct {
	Namespace string
	// Dir is the directory that is watched; empty: none.
	Dir string
	// Reports: what becomes of a plan from the directory is written beside it.
	Reports bool
	// Listener takes documents over TCP; nil: none does. Who may reach it may send plans.
	Listener net.Listener
	// Every is how often is looked at the directory, and ReportEvery at what has become of a
	// plan. Zero: 1 s and 5 s.
	Every       time.Duration
	ReportEvery time.Duration
}

// Deps is what an Intake works with. Plans and Log must be set.
type Deps struct {
	Plans Plans
	// Log takes a line about what happens.
	Log func(line string)
}

// Intake takes plans. Use New.
type Intake struct {
	cfg   Config
	plans Plans
	log   func(line string)
	// files are those that are to be sent again, reports those of plans that have not ended:
	// of the goroutine that looks at the directory.
	files   map[string]*retry
	reports map[string]*reporting
}

// New returns an Intake.
func New(cfg Config, deps Deps) (*Intake, error) {
	if cfg.Namespace == "" || cfg.Dir == "" && cfg.Listener == nil || deps.Plans == nil || deps.Log == nil {
		return nil, errors.New("intake: Namespace, Dir or Listener, Plans and Log must be set")
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	if cfg.ReportEvery <= 0 {
		cfg.ReportEvery = 5 * time.Second
	}
	log := func(line string) { deps.Log(oneLine(line)) }
	return &Intake{cfg: cfg, plans: deps.Plans, log: log, files: map[string]*retry{}, reports: map[string]*reporting{}}, nil
}

// oneLine escapes what is no character to be seen: errors have names of files in them as well,
// and who gives a file its name adds no line to the log.
func oneLine(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Run takes plans until ctx ends, or the directory or the listener fails.
func (t *Intake) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	if t.cfg.Listener != nil {
		wg.Go(func() { cancel(t.serve(ctx)) })
	}
	if t.cfg.Dir != "" {
		wg.Go(func() { cancel(t.watch(ctx)) })
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// send sends a plan.
func (t *Intake) send(ctx context.Context, format plan.Format, text io.Reader) plan.Receipt {
	r, err := t.plans.Send(ctx, t.cfg.Namespace, format, text)
	if err != nil {
		return refusal(err)
	}
	return plan.Receipt{
		Accepted: true, Recognised: r.Recognised, Amends: r.Amends, Upstream: r.Upstream, Plan: r.ID, UID: r.UID, Digest: r.Digest, Count: r.Tasks,
	}
}

// refusal is the receipt of what was not accepted. Only what the API has an answer to is wrong
// for good.
func refusal(err error) plan.Receipt {
	e, ok := errors.AsType[*client.Error](err)
	if ok && len(e.Problems) > 0 {
		return plan.Refused(e.Problems...)
	}
	r := plan.Refused(job.Problem{Message: err.Error()})
	r.Again = !ok || e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests || e.Status == http.StatusUnauthorized || e.Status == http.StatusRequestTimeout
	return r
}

// report writes the answer to a query.
func (t *Intake) report(ctx context.Context, format plan.Format, query []byte, to io.Writer) error {
	body, err := t.plans.Report(ctx, t.cfg.Namespace, format, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(to, body); err != nil {
		return fmt.Errorf("read a report: %w", err)
	}
	return nil
}

// question is the query that asks for all of a plan.
func question(format plan.Format, upstream, id string) ([]byte, error) {
	q := struct {
		XMLName  xml.Name `json:"-" xml:"query"`
		Upstream string   `json:"upstream" xml:"upstream,attr"`
		Plan     string   `json:"plan" xml:"plan,attr"`
		Tasks    bool     `json:"tasks" xml:"tasks,attr"`
	}{Upstream: upstream, Plan: id, Tasks: true}
	if format == plan.XML {
		return xml.Marshal(q)
	}
	return json.Marshal(map[string]any{"query": q})
}
