package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// apiClient asks the nodes; any one that answers will do.
type apiClient struct {
	nodes []string // base URLs
	http  *http.Client
	// must is how many of the nodes have to be ready.
	must int
}

// newAPI asks nodes whoever they are: what is looked at is what they do.
func newAPI() *apiClient {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	return &apiClient{http: &http.Client{Timeout: 20 * time.Second, Transport: tr}, must: schedulerCount}
}

// watch has nodes be reached by a dialer of one's own; so many must be ready.
func (a *apiClient) watch(dial func(context.Context, string, string) (net.Conn, error), must int) {
	a.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DialContext: dial}
	a.must = must
}

// ask sends a request to one node after another until one answers it.
func (a *apiClient) ask(ctx context.Context, method, path string, body []byte, out any) error {
	var errs []error
	for _, node := range a.nodes {
		err := a.askNode(ctx, node, method, path, body, out)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a *apiClient) askNode(ctx context.Context, node, method, path string, body []byte, out any) error {
	_, err := a.askFor(ctx, node, method, path, body, out)
	return err
}

// refusedError is an answer that is no success.
type refusedError struct {
	what   string
	status int
}

func (e *refusedError) Error() string { return e.what }

// askFor is askNode, and returns the answer's header.
func (a *apiClient) askFor(ctx context.Context, node, method, path string, body []byte, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, node+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, "/plans") {
		req.Header.Set("Content-Type", "application/json") // plans come in several forms
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 {
		return nil, &refusedError{fmt.Sprintf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(text)), res.StatusCode}
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return res.Header, nil
}

// ready returns why a node is not ready.
func (a *apiClient) ready(ctx context.Context) error {
	for _, node := range a.nodes[:a.must] {
		if err := a.askNode(ctx, node, http.MethodGet, "/readyz", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// apply applies a manifest, and returns what that did.
func (a *apiClient) apply(ctx context.Context, manifest []byte) ([]api.ApplyResult, error) {
	var out struct{ Results []api.ApplyResult }
	err := a.ask(ctx, http.MethodPost, "/v1/apply?file=fault", manifest, &out)
	return out.Results, err
}

// backfills returns how many backfills go on.
func (a *apiClient) backfills(ctx context.Context) (int, error) {
	var out struct{ Backfills []api.Backfill }
	err := a.ask(ctx, http.MethodGet, "/v1/backfills", nil, &out)
	n := 0
	for i := range out.Backfills {
		if out.Backfills[i].EndedAt.IsZero() { // those that have ended are listed, too
			n++
		}
	}
	return n, err
}

func (a *apiClient) jobs(ctx context.Context) ([]api.Job, error) {
	var out struct{ Jobs []api.Job }
	err := a.ask(ctx, http.MethodGet, "/v1/jobs", nil, &out)
	return out.Jobs, err
}

func (a *apiClient) minions(ctx context.Context) ([]api.Minion, error) {
	var out struct{ Minions []api.Minion }
	err := a.ask(ctx, http.MethodGet, "/v1/minions", nil, &out)
	return out.Minions, err
}

func (a *apiClient) shards(ctx context.Context) ([]api.Shard, error) {
	var out struct{ Shards []api.Shard }
	err := a.ask(ctx, http.MethodGet, "/v1/shards", nil, &out)
	return out.Shards, err
}

// open returns runs that have not ended, of each state some if there are any. That
// not all are known is an error.
func (a *apiClient) open(ctx context.Context) ([]job.Run, error) {
	var open []job.Run
	for _, state := range job.States() {
		if state.Final() {
			continue
		}
		var page api.RunPage
		if err := a.ask(ctx, http.MethodGet, fmt.Sprintf("/v1/runs?limit=%d&state=%s", api.MaxRunLimit, state), nil, &page); err != nil {
			return nil, err
		}
		if gap := page.Gap(); gap != "" {
			return nil, errors.New(gap)
		}
		open = append(open, page.Runs...)
	}
	return open, nil
}

// runs returns all runs, one record each. That not all are known is an error.
func (a *apiClient) runs(ctx context.Context) ([]job.Run, error) { return a.runsIn(ctx, "") }

// run returns one run.
func (a *apiClient) run(ctx context.Context, id job.RunID) (run job.Run, err error) {
	err = a.ask(ctx, http.MethodGet, "/v1/runs/"+string(id), nil, &run)
	return run, err
}

// runsIn returns the runs of a namespace, one record each; empty: of all.
func (a *apiClient) runsIn(ctx context.Context, namespace string) ([]job.Run, error) {
	var all []job.Run
	seen := map[job.RunID]int{}
	for cursor := ""; ; {
		var page api.RunPage
		path := fmt.Sprintf("/v1/runs?limit=%d&namespace=%s&cursor=%s", api.MaxRunLimit, namespace, url.QueryEscape(cursor))
		if err := a.ask(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		if gap := page.Gap(); gap != "" {
			return nil, errors.New(gap)
		}
		for _, r := range page.Runs {
			if i, ok := seen[r.RunID]; !ok {
				seen[r.RunID] = len(all)
				all = append(all, r)
			} else if !all[i].State.Final() {
				all[i] = r // it ended between two pages
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// joinToken makes a token by which so many minions join.
func (a *apiClient) joinToken(ctx context.Context, uses int) (string, error) {
	var token api.JoinToken
	err := a.ask(ctx, http.MethodPost, "/v1/minion-tokens", fmt.Appendf(nil, `{"uses": %d}`, uses), &token)
	return token.Text, err
}
