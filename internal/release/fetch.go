package release

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// Fetch opens what lies at a URL. The caller closes it. Reading ends with an
// error when ctx ends.
type Fetch func(ctx context.Context, url string) (io.ReadCloser, error)

// NewFetch returns a Fetch for https, http and file URLs. A nil client means
// http.DefaultClient. What is fetched is held against a signed hash, so that
// plain http costs privacy and not integrity.
func NewFetch(client *http.Client) Fetch {
	if client == nil {
		client = http.DefaultClient
	}
	return func(ctx context.Context, address string) (io.ReadCloser, error) {
		u, err := url.Parse(address)
		if err != nil || !fetchable(u) {
			return nil, fmt.Errorf("fetch %q: must begin with https://, http:// or file:///", address)
		}
		if u.Scheme == "file" {
			f, err := os.Open(u.Path)
			if err != nil {
				return nil, fmt.Errorf("fetch %s: %w", address, err)
			}
			return f, nil
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", address, err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err) // the client's error names the URL
		}
		if resp.StatusCode != http.StatusOK {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("fetch %s: server says %s", address, resp.Status)
		}
		return resp.Body, nil
	}
}

func fetchable(u *url.URL) bool {
	switch u.Scheme {
	case "http", "https":
		return u.Host != ""
	case "file":
		return (u.Host == "" || u.Host == "localhost") && u.Path != ""
	}
	return false
}
