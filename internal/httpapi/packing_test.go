package httpapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// TestAnswersArePackedAndTagged: what is long is compressed for who takes it, and what a
// client has is not sent again.
func TestAnswersArePackedAndTagged(t *testing.T) {
	t.Parallel()
	f := &fakeControl{jobs: make([]api.Job, 50)}
	for i := range f.jobs {
		f.jobs[i].Metadata = job.Metadata{Namespace: "ops", Name: "a-job-with-a-name"}
	}
	s := serve(t, Config{}, Deps{Control: f})
	plain, text := ask(t, s, "GET", "/v1/jobs", "", "Accept-Encoding", "identity")
	if plain.Header.Get("Content-Encoding") != "" || !strings.Contains(text, "a-job-with-a-name") {
		t.Fatalf("plain: %v %.100s", plain.Header, text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	packed, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Body.Close()
	b, err := io.ReadAll(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	small := string(b)
	if packed.Header.Get("Content-Encoding") != "gzip" || len(small) > len(text)/4 || packed.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("packed: %v, %d bytes of %d", packed.Header, len(small), len(text))
	}
	z, err := gzip.NewReader(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != text {
		t.Errorf("it is not the same: %v", err)
	}
	tag := plain.Header.Get("ETag")
	if tag == "" || packed.Header.Get("ETag") != tag {
		t.Errorf("tags %q and %q", tag, packed.Header.Get("ETag"))
	}
	for _, one := range []string{tag, "W/" + tag, `"x", ` + tag} {
		if resp, body := ask(t, s, "GET", "/v1/jobs", "", "If-None-Match", one); resp.StatusCode != http.StatusNotModified || body != "" || resp.Header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d %.80s", one, resp.StatusCode, body)
		}
	}
	f.mu.Lock()
	f.jobs = f.jobs[:49]
	f.mu.Unlock()
	if resp, _ := ask(t, s, "GET", "/v1/jobs", "", "If-None-Match", tag); resp.StatusCode != http.StatusOK || resp.Header.Get("ETag") == tag {
		t.Errorf("after a change: %d", resp.StatusCode)
	}
	if resp, body := ask(t, s, "GET", "/v1/namespaces/ops/jobs/one", ""); !strings.HasPrefix(resp.Header.Get("ETag"), `"3-`) {
		t.Errorf("one job: %s %s", resp.Header.Get("ETag"), body)
	}
}

// TestIfMatch is read from tags, and what is none matches nothing.
func TestIfMatch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "*": 0, `"3"`: 3, `"12-abcdef"`: 12, `W/"4-00"`: 4, `"x"`: -1, `"0"`: -1, `"3", "4"`: -1} {
		r, err := http.NewRequest(http.MethodPost, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-Match", text)
		if got := generation(r); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
