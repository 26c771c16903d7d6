package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/carillon-cron/carillon/api"
)

// conn is the way to the server.
type conn struct {
	base  *url.URL
	http  *http.Client
	agent string
	token string
	by    string
}

// request is one call of the API.
type request struct {
	method string
	// path is relative to the server's address; its elements are not escaped.
	path  []string
	query url.Values
	body  []byte
	// stream, unless nil, is the body in place of that: it can be sent once only.
	stream io.Reader
	kind   string
	// holds, unless nil, gets from where on the order holds; zero: it is not told.
	holds *time.Time
}

// A request that comes too soon (429) is sent again when the server says, if that is at
// most maxPause from now, and so many times.
const (
	maxPause  = 10 * time.Second
	maxPauses = 5
)

// open sends r and returns the body of a good answer. It waits where the server wants
// that.
func (c *conn) open(ctx context.Context, r request) (io.ReadCloser, error) {
	for pauses := 0; ; pauses++ {
		body, err := c.openOnce(ctx, r)
		refused, ok := err.(*Error) //nolint:errorlint // it is not wrapped
		if !ok || refused.Status != http.StatusTooManyRequests || refused.RetryAfter <= 0 || refused.RetryAfter > maxPause || pauses == maxPauses || r.stream != nil {
			return body, err
		}
		// All whom the server has sent away come back at some time of their own.
		wait := refused.RetryAfter + rand.N(refused.RetryAfter/4+1)
		if until, ok := ctx.Deadline(); ok && time.Until(until) < wait {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, c.lost(ctx, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (c *conn) openOnce(ctx context.Context, r request) (io.ReadCloser, error) {
	path := make([]string, len(r.path))
	for i, element := range r.path {
		path[i] = url.PathEscape(element)
	}
	u := c.base.JoinPath(path...)
	u.RawQuery = r.query.Encode()
	var sent io.Reader = bytes.NewReader(r.body)
	if r.stream != nil {
		sent = r.stream
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), sent)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.by != "" {
		req.Header.Set(api.ByHeader, c.by)
	}
	if why, _ := ctx.Value(reasonKey{}).(string); why != "" {
		req.Header.Set(api.ReasonHeader, headerText(why))
	}
	if g, _ := ctx.Value(generationKey{}).(int64); g > 0 {
		req.Header.Set("If-Match", strconv.Quote(strconv.FormatInt(g, 10)))
	}
	if key, _ := ctx.Value(startKey{}).(string); key != "" {
		req.Header.Set(api.KeyHeader, headerText(key))
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if res.StatusCode < 300 {
		if r.holds != nil {
			if at, err := time.Parse(time.RFC3339Nano, res.Header.Get(api.HoldsFromHeader)); err == nil {
				*r.holds = at
			}
		}
		return res.Body, nil
	}
	defer res.Body.Close()
	return nil, c.refusal(res)
}

type reasonKey struct{}

// headerText is a text without what a header cannot hold.
func headerText(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
}

// Because returns a context of requests that are made for a reason, which is kept in
// the audit. It is for those that take no [api.Order].
func Because(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, reasonKey{}, reason)
}

type generationKey struct{}

// IfGeneration returns a context of changes of one job that are made only while it has
// this generation; else they are refused, and the error is a conflict.
func IfGeneration(ctx context.Context, generation int64) context.Context {
	return context.WithValue(ctx, generationKey{}, generation)
}

type startKey struct{}

// Once returns a context of a start that has a name of the caller's own: sent again within
// an hour it starts nothing, and has the same answer.
func Once(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, startKey{}, name)
}

// errNoAnswer is a request that took too long.
var errNoAnswer = errors.New("no answer in " + RequestTimeout.String())

// call sends r and decodes the answer into out, which may be nil.
func (c *conn) call(ctx context.Context, r request, out any) error {
	within, cancel := context.WithTimeoutCause(ctx, RequestTimeout, errNoAnswer)
	defer cancel()
	body, err := c.open(within, r)
	if err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			return &UnreachableError{Server: c.base.String(), Err: errNoAnswer}
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

// send posts body as JSON, or sends it by another method, and decodes the answer into
// out, which may be nil.
func (c *conn) send(ctx context.Context, method string, path []string, body, out any) error {
	text, err := encode(body)
	if err != nil {
		return err
	}
	return c.call(ctx, request{method: method, path: path, body: text, kind: "application/json"}, out)
}

// post posts an order that has no answer.
func (c *conn) post(ctx context.Context, o any, path ...string) error {
	return c.send(ctx, http.MethodPost, append([]string{"v1"}, path...), o, nil)
}

// get asks for what is under a path of the API.
func (c *conn) get(ctx context.Context, out any, query url.Values, path ...string) error {
	return c.call(ctx, request{method: http.MethodGet, path: append([]string{"v1"}, path...), query: query}, out)
}

// remove deletes what is under a path of the API.
func (c *conn) remove(ctx context.Context, path ...string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: append([]string{"v1"}, path...)}, nil)
}

// where returns a query with one value; none when that is empty.
func where(name, value string) url.Values {
	q := url.Values{}
	set(q, name, value)
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// order is what an operator asks for, as it is sent.
type order struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func orderOf(o api.Order) order { return order{By: o.By, Reason: o.Reason} }

func encode(body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return text, nil
}
