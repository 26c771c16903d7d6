package release

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// served is a Fetch that always gives the same bytes, and counts.
func served(b []byte, count *int) Fetch {
	return func(context.Context, string) (io.ReadCloser, error) {
		*count++
		return io.NopCloser(bytes.NewReader(b)), nil
	}
}

func install(t testing.TB) *Installation {
	t.Helper()
	in, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func stateOf(t testing.TB, in *Installation) State {
	t.Helper()
	s, err := in.State()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bring stages a manifest, tries and confirms it.
func bring(t testing.TB, in *Installation, m Manifest, program string) {
	t.Helper()
	fetched := 0
	if err := in.Stage(t.Context(), served([]byte(program), &fetched), verified(t, m, stateOf(t, in).Floor)); err != nil {
		t.Fatal(err)
	}
	p, err := in.beginTrial()
	if err := errors.Join(err, in.flip(p.Release), in.confirm(), in.prune()); err != nil {
		t.Fatal(err)
	}
}

func releaseOf(n Number, program string) Manifest {
	return manifestOf(n, artifactOf([]byte(program), "https://example.org/worker"))
}

// What is not exactly what was signed gets no final name and changes no state.
func TestStageRefusesOtherBytes(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	for name, c := range map[string]struct {
		body io.Reader
		want error
	}{
		"short":       {strings.NewReader("progra"), ErrMismatch},
		"long":        {strings.NewReader("program and more"), ErrMismatch},
		"endless":     {endless{}, ErrMismatch},
		"other":       {strings.NewReader("PROGRAM"), ErrMismatch},
		"broken off":  {io.MultiReader(strings.NewReader("prog"), iotest.ErrReader(broken)), broken},
		"whole, then": {io.MultiReader(strings.NewReader("program"), iotest.ErrReader(broken)), broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t)
			fetch := func(context.Context, string) (io.ReadCloser, error) { return io.NopCloser(c.body), nil }
			if err := in.Stage(t.Context(), fetch, verified(t, releaseOf(5, "program"), Floor{})); !errors.Is(err, c.want) {
				t.Errorf("error = %v, want %v", err, c.want)
			}
			if s := stateOf(t, in); s.Staged.Release != 0 {
				t.Errorf("state = %+v", s)
			}
			left, err := os.ReadDir(in.path("versions"))
			if err != nil || len(left) != 0 {
				t.Errorf("left on disk: %v, %v", left, err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestStageStopsWithContext(t *testing.T) {
	t.Parallel()
	in := install(t)
	ctx, cancel := context.WithCancel(t.Context())
	fetch := func(context.Context, string) (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(strings.NewReader("program")), nil
	}
	if err := in.Stage(ctx, fetch, verified(t, releaseOf(5, "program"), Floor{})); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestStage(t *testing.T) {
	t.Parallel()
	in := install(t)
	fetched := 0
	if err := in.Stage(t.Context(), served(nil, &fetched), Verified{}); !errors.Is(err, ErrSignature) {
		t.Errorf("unverified: error = %v", err)
	}
	other := releaseOf(5, "program")
	other.Artifacts = map[Platform]Artifact{"plan9/mips": other.Artifacts[here()]}
	if err := in.Stage(t.Context(), served(nil, &fetched), verified(t, other, Floor{})); !errors.Is(err, ErrNoArtifact) {
		t.Errorf("other platform: error = %v", err)
	}
	// What a killed process has left is removed.
	if err := os.WriteFile(in.path("versions", partial+"old"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := verified(t, releaseOf(5, "program"), Floor{})
	for range 2 { // the second time nothing is fetched
		if err := in.Stage(t.Context(), served([]byte("program"), &fetched), v); err != nil {
			t.Fatal(err)
		}
	}
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
	if _, err := os.Stat(in.path("versions", partial+"old")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old download is there: %v", err)
	}
	info, err := os.Stat(in.worker(5))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode = %v, %v", info, err)
	}
	if s := stateOf(t, in); s.Staged.Release != 5 || s.Floor.Release != 0 || s.Current.Release != 0 {
		t.Errorf("state = %+v", s)
	}
	// A damaged file of the same release is replaced.
	if err := os.WriteFile(in.worker(5), []byte("damaged"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := in.Stage(t.Context(), served([]byte("program"), &fetched), v); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(in.worker(5)); err != nil || string(b) != "program" {
		t.Errorf("program = %q, %v", b, err)
	}
	// Only what is newer takes its place.
	if err := in.Stage(t.Context(), served([]byte("older"), &fetched), verified(t, releaseOf(4, "older"), Floor{})); !errors.Is(err, ErrOlder) {
		t.Errorf("older than what is staged: error = %v", err)
	}
}

// The floor rises with each confirmed release; only a rollback entry that is newer goes back.
func TestFloor(t *testing.T) {
	t.Parallel()
	in := install(t)
	fetched := 0
	for n := Number(1); n <= 3; n++ {
		m := releaseOf(n, "program "+string(rune('0'+n)))
		m.Minimum = n - 1
		bring(t, in, m, "program "+string(rune('0'+n)))
	}
	if s := stateOf(t, in); s.Floor != (Floor{Release: 3, Minimum: 2}) || s.Current.Release != 3 || s.Previous.Release != 2 {
		t.Fatalf("state = %+v", s)
	}
	// Only the current and the one before are kept.
	if _, err := os.Stat(in.versionDir(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("release 1 is there: %v", err)
	}
	for n, want := range map[Number]error{2: ErrOlder, 3: ErrInstalled} {
		err := in.Stage(t.Context(), served([]byte("program 2"), &fetched), verified(t, releaseOf(n, "program "+string(rune('0'+n))), Floor{}))
		if !errors.Is(err, want) {
			t.Errorf("release %d: error = %v, want %v", n, err, want)
		}
	}
	back := func(entry, to Number) Manifest {
		m := releaseOf(entry, "program "+string(rune('0'+to)))
		m.RollbackTo = to
		return m
	}
	for entry, to := range map[Number]Number{3: 2, 4: 1} { // no newer than the floor; below the minimum
		if err := in.Stage(t.Context(), served(nil, &fetched), verified(t, back(entry, to), Floor{})); !errors.Is(err, ErrOlder) {
			t.Errorf("entry %d back to %d: error = %v", entry, to, err)
		}
	}
	if fetched != 0 {
		t.Errorf("fetched %d times for what is refused", fetched)
	}
	bring(t, in, back(4, 2), "not fetched: it is on disk")
	s := stateOf(t, in)
	if s.Current.Release != 2 || s.Current.Manifest != 4 || s.Floor != (Floor{Release: 4, Minimum: 2}) || s.Previous.Release != 3 {
		t.Errorf("state = %+v", s)
	}
	if to, err := os.Readlink(in.path("current")); err != nil || to != filepath.Join("versions", "2") {
		t.Errorf("current -> %s, %v", to, err)
	}
	// What it went back from does not come again by the old manifest.
	if err := in.Stage(t.Context(), served([]byte("program 3"), &fetched), verified(t, releaseOf(3, "program 3"), Floor{})); !errors.Is(err, ErrOlder) {
		t.Errorf("release 3 again: error = %v", err)
	}
}

// A failure is final; a trial that was cut short may be repeated a few times.
func TestFailures(t *testing.T) {
	t.Parallel()
	in := install(t)
	fetched := 0
	stage := func() error {
		return in.Stage(t.Context(), served([]byte("program"), &fetched), verified(t, releaseOf(5, "program"), Floor{}))
	}
	trial := func(interrupted bool) {
		t.Helper()
		_, err := in.beginTrial()
		if err := errors.Join(err, in.fail("it broke", interrupted, now)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range MaxInterrupted {
		if err := stage(); err != nil {
			t.Fatalf("after %d interruptions: %v", i, err)
		}
		trial(true)
	}
	if err := stage(); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("after %d interruptions: %v", MaxInterrupted, err)
	}
	forget := in.update(func(s *State) error { s.forget(5); return nil })
	if err := errors.Join(forget, stage()); err != nil {
		t.Fatal(err)
	}
	trial(false)
	if err := stage(); !errors.Is(err, ErrFailed) {
		t.Errorf("after a failure: %v", err)
	}
	if s := stateOf(t, in); len(s.Failures) != 1 || s.Floor.Release != 0 || s.Trial.Release != 0 {
		t.Errorf("state = %+v", s)
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	in := install(t)
	if err := os.WriteFile(in.path("state.json"), []byte(`{"floor":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(in.Dir()); err == nil || !strings.Contains(err.Error(), "state.json") {
		t.Errorf("error = %v", err)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/worker" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "program")
	}))
	defer server.Close()
	secure := httptest.NewTLSServer(server.Config.Handler)
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(file, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		server.URL + "/worker": "", secure.URL + "/worker": "", "file://" + file: "", "file://localhost" + file: "",
		server.URL + "/other": "404", "file://" + file + "-not": "no such file", "ftp://x/y": "must begin", "file://elsewhere/x": "must begin", "worker": "must begin",
	} {
		body, err := NewFetch(secure.Client())(t.Context(), url)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error = %v, want %q", url, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		b, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(b) != "program" {
			t.Errorf("%s: %q, %v", url, b, err)
		}
	}
}
