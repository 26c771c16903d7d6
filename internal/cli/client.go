package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
)

const (
	// dialTimeout bounds the way to the server, requestTimeout an answer that
	// is not a stream.
	dialTimeout    = 5 * time.Second
	requestTimeout = 30 * time.Second
	// maxErrorBytes bounds what is read of an answer that is an error.
	maxErrorBytes = 1 << 20
)

// client speaks the HTTP API.
type client struct {
	base  *url.URL
	http  *http.Client
	agent string
}

// socketScheme begins the address of a node's local socket.
const socketScheme = "unix://"

// newClient returns a client of the server at address, a URL, HOST:PORT or
// unix:// and the path of a node's local socket.
func newClient(address, agent string) (*client, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	dial := dialer.DialContext
	if path, local := strings.CutPrefix(address, socketScheme); local {
		address = "http://localhost"
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("--server %q: want a URL such as %s", address, defaultServer)
	}
	return &client{base: base, agent: agent, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true,
		},
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// apiError is an answer that is an error.
type apiError struct {
	Status   int           `json:"status"`
	Title    string        `json:"title"`
	Detail   string        `json:"detail"`
	Problems []job.Problem `json:"errors"`
}

func (e *apiError) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return e.Title
	}
	return fmt.Sprintf("the server answered with status %d", e.Status)
}

// unreachableError is a server that does not answer.
type unreachableError struct {
	server string
	err    error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no answer from %s (%s); start a server with `carillon dev`, or say where one is with --server or %s",
		e.server, e.err, envServer)
}

func (e *unreachableError) Unwrap() error { return e.err }

// request is one call of the API.
type request struct {
	method string
	// path is relative to the server's address; its elements are not escaped.
	path  []string
	query url.Values
	body  []byte
	kind  string
	// holds, unless nil, gets from where on the order holds; zero: it is not told.
	holds *time.Time
}

// open sends r and returns the body of a good answer.
func (c *client) open(ctx context.Context, r request) (io.ReadCloser, error) {
	for i, element := range r.path {
		r.path[i] = url.PathEscape(element)
	}
	u := c.base.JoinPath(r.path...)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", c.agent)
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if res.StatusCode < 300 {
		if r.holds != nil {
			if at, err := time.Parse(time.RFC3339Nano, res.Header.Get("Carillon-Holds-From")); err == nil {
				*r.holds = at
			}
		}
		return res.Body, nil
	}
	defer res.Body.Close()
	return nil, c.refusal(res)
}

// lost is the error for a connection that failed. A deadline or a cancelled
// context is no fault of the server.
func (c *client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask %s: %w", c.base, context.Cause(ctx))
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the address is in our own message
	}
	return &unreachableError{server: c.base.String(), err: err}
}

// refusal reads an answer that is an error.
func (c *client) refusal(res *http.Response) error {
	e := &apiError{}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBytes))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(body, e) != nil {
		e.Detail = fmt.Sprintf("%s answered %s; is it a Carillon server?", c.base, res.Status)
	}
	e.Status = res.StatusCode
	return e
}

// errNoAnswer is a request that took too long.
var errNoAnswer = errors.New("no answer in " + requestTimeout.String())

// call sends r and decodes the answer into out, which may be nil.
func (c *client) call(ctx context.Context, r request, out any) error {
	within, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	body, err := c.open(within, r)
	if err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			return &unreachableError{server: c.base.String(), err: errNoAnswer}
		}
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return c.lost(ctx, err)
		}
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}

// send sends what somebody wants, as JSON, and decodes the answer into out,
// which may be nil.
func (c *client) send(ctx context.Context, method string, path []string, body, out any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.call(ctx, request{method: method, path: path, body: text, kind: "application/json"}, out)
}

func (c *client) get(ctx context.Context, out any, query url.Values, path ...string) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, out)
}

func jobPath(k job.Key, more ...string) []string {
	return append([]string{"v1", "namespaces", k.Namespace, "jobs", k.Name}, more...)
}

func (c *client) apply(ctx context.Context, file string, manifest []byte, dryRun bool) ([]control.ApplyResult, error) {
	var out struct{ Results []control.ApplyResult }
	if len(manifest) == 0 {
		manifest = []byte("\n") // the server says what an empty file lacks
	}
	err := c.call(ctx, request{
		method: http.MethodPost, path: []string{"v1", "apply"}, body: manifest, kind: "application/yaml",
		query: url.Values{"file": {file}, "dryRun": {strconv.FormatBool(dryRun)}},
	}, &out)
	return out.Results, err
}

func (c *client) jobs(ctx context.Context, namespace string, labels []string) ([]control.JobView, error) {
	var out struct{ Jobs []control.JobView }
	q := url.Values{"label": labels}
	set(q, "namespace", namespace)
	err := c.get(ctx, &out, q, "v1", "jobs")
	return out.Jobs, err
}

func (c *client) job(ctx context.Context, k job.Key) (control.JobView, error) {
	var out control.JobView
	err := c.get(ctx, &out, nil, jobPath(k)...)
	return out, err
}

// deleteJob returns from where on the deletion holds; zero: it is not told.
func (c *client) deleteJob(ctx context.Context, k job.Key) (holds time.Time, err error) {
	err = c.call(ctx, request{method: http.MethodDelete, path: jobPath(k), holds: &holds}, nil)
	return holds, err
}

// started is the answer to a start.
type started struct {
	RunID  job.RunID  `json:"runId"`
	FireID job.FireID `json:"fireId"`
}

func (c *client) start(ctx context.Context, k job.Key, by string, params map[string]string) (started, error) {
	body := struct {
		By     string            `json:"by"`
		Params map[string]string `json:"params,omitempty"`
	}{by, params}
	var out started
	err := c.send(ctx, http.MethodPost, jobPath(k, "run"), body, &out)
	return out, err
}

func (c *client) runs(ctx context.Context, q control.RunQuery) (control.RunPage, error) {
	v := url.Values{}
	set(v, "namespace", q.Namespace)
	set(v, "job", q.Job)
	set(v, "state", string(q.State))
	set(v, "cursor", q.Cursor)
	if q.Count {
		v.Set("count", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out control.RunPage
	err := c.get(ctx, &out, v, "v1", "runs")
	return out, err
}

func (c *client) run(ctx context.Context, id job.RunID) (job.Run, error) {
	var out job.Run
	path, err := runPath(id)
	if err == nil {
		err = c.get(ctx, &out, nil, path...)
	}
	return out, err
}

func runPath(id job.RunID, more ...string) ([]string, error) {
	if job.CheckName(string(id)) != nil {
		return nil, fmt.Errorf("run %q: %w", id, job.ErrNotFound)
	}
	return append([]string{"v1", "runs", string(id)}, more...), nil
}

// lastLine is what the last line of a stream has that is not complete.
type lastLine struct {
	Error string `json:"error"`
}

func (l lastLine) failure() string { return l.Error }

// follow calls fn with each line of a run's stream of that name.
func follow[T interface{ failure() string }](ctx context.Context, c *client, id job.RunID, name string, query url.Values, fn func(T)) error {
	path, err := runPath(id, name)
	if err != nil {
		return err
	}
	body, err := c.open(ctx, request{method: http.MethodGet, path: path, query: query})
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

// outputLine is one line of a stream of output.
type outputLine struct {
	Minion job.MinionID `json:"minion"`
	Stream int          `json:"stream"`
	Data   []byte       `json:"data"`
	// LeftOut, unless 0, says that so many bytes are missing before Data.
	LeftOut int64 `json:"leftOut"`
	lastLine
}

// output calls fn with each piece of what a run's tasks wrote.
func (c *client) output(ctx context.Context, id job.RunID, minion job.MinionID, toEnd bool, fn func(outputLine)) error {
	q := url.Values{"follow": {strconv.FormatBool(toEnd)}}
	set(q, "minion", string(minion))
	return follow(ctx, c, id, "output", q, fn)
}

// resultLine is one line of a stream of results.
type resultLine struct {
	control.Result
	lastLine
}

// results calls fn with what becomes of a run, until it has ended.
func (c *client) results(ctx context.Context, id job.RunID, fn func(control.Result)) error {
	return follow(ctx, c, id, "results", nil, func(l resultLine) { fn(l.Result) })
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}
