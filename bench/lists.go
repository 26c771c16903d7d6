package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// lists measures how long the API takes to list all jobs, for who may do everything,
// and for who has a role in each namespace by its name, so that each job is decided
// about. Both ask over the local socket of a node of a closed cluster.
type lists struct{ namespaces, jobs, times int }

func (b lists) measure(ctx context.Context, e *env) error {
	f, err := startFarm(ctx, e, 1, nodeSettings{})
	if err != nil {
		return err
	}
	defer f.close()
	names := make([]string, b.namespaces)
	for i := range names {
		names[i] = namespaceOf(i)
		if err := (&jobsOf{namespace: names[i], count: b.jobs, expr: always("@yearly"), command: []string{noopTask}}).put(ctx, f.etcd.Client); err != nil {
			return err
		}
	}
	over := socketOf(f.specs[0].Dir)
	defer over.CloseIdleConnections()
	token, err := b.close(ctx, over, names)
	if err != nil {
		return err
	}
	var all, few []float64
	side := func(token string, into *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			ms, err := b.round(ctx, over, token)
			*into = append(*into, ms)
			return err
		}
	}
	if err := e.inTurns(ctx, side(token, &few), side("", &all)); err != nil {
		return err
	}
	note := fmt.Sprintf("the slowest of %d lists of %d jobs in %d namespaces, read to their end over the local socket", b.times, b.jobs*b.namespaces, b.namespaces)
	if err := e.report("api_list_jobs_ms_p99", "ms", few, note+", of a token with a role in each namespace"); err != nil {
		return err
	}
	if err := e.report("api_list_jobs_unfiltered_ms_p99", "ms", all, note+", of root"); err != nil {
		return err
	}
	if err := e.ratio("api_list_jobs_vs_unfiltered", few, all, "of the time without rights to look at"); err != nil {
		return err
	}
	return b.pages(ctx, e, over, token)
}

// pages measures a page of the list by words, of the API and of the page, and how large the
// latter is.
func (b lists) pages(ctx context.Context, e *env, over *http.Client, token string) error {
	const words = "q=-label:none+paused:no"
	var size []float64
	side := func(path string, into *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			var took []float64
			for range 4 * b.times {
				begin := time.Now()
				text, err := b.get(ctx, over, token, path)
				if err != nil {
					return err
				}
				took = append(took, float64(time.Since(begin).Microseconds())/1000)
				if strings.HasPrefix(path, "/jobs") {
					size = append(size, float64(len(text))/1000)
				}
			}
			slices.Sort(took)
			*into = append(*into, took[int(math.Ceil(0.99*float64(len(took))))-1])
			return nil
		}
	}
	if _, err := b.get(ctx, over, token, "/jobs"); err != nil { // the first has all jobs read
		return err
	}
	var api, page []float64
	if err := e.inTurns(ctx, side("/v1/jobs?limit=100&facets=true&"+words, &api), side("/jobs?"+words, &page)); err != nil {
		return err
	}
	note := fmt.Sprintf("the slowest of %d pages of 100 by words out of %d jobs, with facets, of a token with a role in each namespace", 4*b.times, b.jobs*b.namespaces)
	if err := e.report("api_page_jobs_ms_p99", "ms", api, note); err != nil {
		return err
	}
	if err := e.report("ui_jobs_ms_p99", "ms", page, note); err != nil {
		return err
	}
	return e.report("ui_jobs_kb", "kB", size, "of that page, before it is compressed")
}

// socketOf is a client that asks a node over its local socket.
func socketOf(dir string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "carillon.sock"))
	}}}
}

// close gives a token a role in namespaces, and closes the cluster.
func (b lists) close(ctx context.Context, c *http.Client, namespaces []string) (token string, err error) {
	list, err := json.Marshal(namespaces)
	if err != nil {
		return "", fmt.Errorf("namespaces: %w", err)
	}
	binding := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: lister}\nspec: {role: %s, subjects: [{kind: %s, name: lister}], namespaces: %s}\n",
		job.APIVersion, job.KindRoleBinding, rights.Viewer, rights.Token, list)
	if _, err := send(ctx, c, http.MethodPost, "/v1/apply", "application/yaml", binding); err != nil {
		return "", err
	}
	answer, err := send(ctx, c, http.MethodPost, "/v1/tokens", "application/json", `{"name":"lister","ttlSeconds":86400}`)
	if err != nil {
		return "", err
	}
	var made struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(answer, &made); err != nil || made.Text == "" {
		return "", fmt.Errorf("a token: %w: %s", err, answer)
	}
	_, err = send(ctx, c, http.MethodPut, "/v1/auth/state", "application/json", `{"state":"closed"}`)
	return made.Text, err
}

// send sends a request of which the answer is short.
func send(ctx context.Context, c *http.Client, method, path, kind, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	req.Header.Set("Content-Type", kind)
	res, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, text)
	}
	return text, err
}

// round lists all jobs a few times, and returns the 99th percentile of how long a list
// takes, in milliseconds.
func (b lists) round(ctx context.Context, c *http.Client, token string) (float64, error) {
	var took []float64
	for range b.times {
		begin := time.Now()
		count, err := b.list(ctx, c, token)
		if err != nil {
			return 0, err
		}
		if want := b.jobs * b.namespaces; count != want {
			return 0, fmt.Errorf("%d jobs are in the list, want %d", count, want)
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
	}
	slices.Sort(took)
	return took[int(math.Ceil(0.99*float64(len(took))))-1], nil
}

// list lists all jobs once, and returns how many there are.
func (b lists) list(ctx context.Context, c *http.Client, token string) (int, error) {
	text, err := b.get(ctx, c, token, "/v1/jobs")
	return strings.Count(string(text), `"generation":`), err
}

func (b lists) get(ctx context.Context, c *http.Client, token, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list jobs: %s: %w: %.200s", res.Status, err, text)
	}
	return text, nil
}
