package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Runs are the runs of jobs, under way and ended.
type Runs struct{ c *conn }

// List returns a page of runs, newest first.
func (r Runs) List(ctx context.Context, q api.RunQuery) (api.RunPage, error) {
	v := where("namespace", q.Namespace)
	set(v, "job", q.Job)
	set(v, "state", string(q.State))
	set(v, "q", q.Words)
	set(v, "cursor", q.Cursor)
	if q.Count {
		v.Set("count", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out api.RunPage
	err := r.c.get(ctx, &out, v, "runs")
	return out, err
}

// Get returns one run. A run that is not there is a job.ErrNotFound.
func (r Runs) Get(ctx context.Context, id job.RunID) (job.Run, error) {
	var out job.Run
	path, err := runPath(id)
	if err == nil {
		err = r.c.get(ctx, &out, nil, path...)
	}
	return out, err
}

func runPath(id job.RunID, more ...string) ([]string, error) {
	if job.CheckName(string(id)) != nil {
		return nil, fmt.Errorf("run %q: %w", id, job.ErrNotFound)
	}
	return append([]string{"runs", string(id)}, more...), nil
}

// Exec runs a command once on the minions that a target matches: manifest is that of
// a job, whose name is not used. file is what messages call it.
func (r Runs) Exec(ctx context.Context, file string, manifest []byte, req api.StartRequest) (api.Exec, error) {
	q := url.Values{"by": {req.By}}
	set(q, "file", file)
	for _, name := range slices.Sorted(maps.Keys(req.Params)) {
		q.Add("param", name+"="+req.Params[name])
	}
	if req.AllowMissing {
		q.Set("allowMissing", "true")
	}
	var out api.Exec
	err := r.c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "exec"}, body: manifest, kind: "application/yaml", query: q}, &out)
	return out, err
}

// Cancel has a run end, with the process trees of its commands.
func (r Runs) Cancel(ctx context.Context, id job.RunID, o api.Order) error {
	return r.order(ctx, id, "cancel", orderOf(o), nil)
}

// Promote has the rollout of a run go on from its canaries.
func (r Runs) Promote(ctx context.Context, id job.RunID, o api.Order) error {
	return r.order(ctx, id, "promote", orderOf(o), nil)
}

// Redo does a run again that has ended: on all of its minions, or on those where it
// ended as only says.
func (r Runs) Redo(ctx context.Context, id job.RunID, only []api.RedoPart, o api.Order) (api.Redo, error) {
	body := struct {
		Only []api.RedoPart `json:"only,omitempty"`
		order
	}{only, orderOf(o)}
	var out api.Redo
	err := r.order(ctx, id, "redo", body, &out)
	return out, err
}

func (r Runs) order(ctx context.Context, id job.RunID, verb string, body, out any) error {
	path, err := runPath(id, verb)
	if err != nil {
		return err
	}
	return r.c.send(ctx, http.MethodPost, full(path), body, out)
}

// lastLine is what the last line of a stream has that is not complete.
type lastLine struct {
	Error string `json:"error"`
}

func (l lastLine) failure() string { return l.Error }

// outputLine is one line of a stream of output.
type outputLine struct {
	api.OutputLine
	lastLine
}

// Output calls fn with each piece of what a run's tasks wrote: of one minion, or of
// all when that is empty. With follow it goes on until the run has ended.
func (r Runs) Output(ctx context.Context, id job.RunID, minion job.MinionID, follow bool, fn func(api.OutputLine)) error {
	q := url.Values{"follow": {strconv.FormatBool(follow)}}
	set(q, "minion", string(minion))
	return stream(ctx, r.c, id, "output", q, func(l outputLine) { fn(l.OutputLine) })
}

// resultLine is one line of a stream of results.
type resultLine struct {
	api.Result
	lastLine
}

// Results calls fn with what becomes of a run, until it has ended.
func (r Runs) Results(ctx context.Context, id job.RunID, fn func(api.Result)) error {
	return stream(ctx, r.c, id, "results", nil, func(l resultLine) { fn(l.Result) })
}

// stream calls fn with each line of a run's stream of that name.
func stream[T interface{ failure() string }](ctx context.Context, c *conn, id job.RunID, name string, query url.Values, fn func(T)) error {
	path, err := runPath(id, name)
	if err != nil {
		return err
	}
	body, err := c.open(ctx, request{method: http.MethodGet, path: full(path), query: query})
	if err != nil {
		return err
	}
	defer body.Close()
	for lines := json.NewDecoder(body); ; {
		var line T
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.lost(ctx, err)
		}
		if failure := line.failure(); failure != "" {
			return fmt.Errorf("%s of run %s: %s", name, id, failure)
		}
		fn(line)
	}
}
