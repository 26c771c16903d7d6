package bucket

import (
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/testkit/s3test"
)

// What is kept comes back as it was; lists have all pages, and nothing of other prefixes.
func TestBucketKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	store := s3test.New(t, "backups")
	cfg := Config{CA: store.CA, Env: store.Env()}
	b, err := Open("s3://backups/of/one", cfg)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(b *Bucket, name, text string) {
		t.Helper()
		f, err := b.Temp()
		if err != nil {
			t.Fatal(err)
		}
		if st, err := f.Stat(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
		if err := b.Keep(t.Context(), f, name); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(f.Name()); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", f.Name(), err)
		}
	}
	names := []string{"a", "b", "c", "d", "e"}
	for _, n := range names {
		keep(b, n, "the text of "+n)
	}
	other, err := Open("s3://backups/of", cfg)
	if err != nil {
		t.Fatal(err)
	}
	keep(other, "one-x", "x")
	all, err := b.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range all {
		got = append(got, e.Name)
		if e.Bytes != int64(len("the text of a")) {
			t.Errorf("%+v", e)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("listed: %v", got)
	}
	if all, err := other.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("those above: %v, %v", all, err)
	}
	empty, err := Open("s3://backups/empty", cfg)
	if err != nil {
		t.Fatal(err)
	}
	keep(empty, "e", "")
	for want, at := range map[string]*Bucket{"the text": b, "": empty} {
		if begin, err := at.Begin(t.Context(), "e", len("the text")); err != nil || string(begin) != want {
			t.Errorf("begins with %q, want %q: %v", begin, want, err)
		}
	}
	in, err := Read(t.Context(), b.Path("c"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(in); err != nil || string(text) != "the text of c" {
		t.Errorf("%q, %v", text, err)
	}
	_ = in.Close()
	if err := b.Remove(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), b.Path("c"), cfg); err == nil || !strings.Contains(err.Error(), "s3://backups/of/one/c") {
		t.Errorf("removed: %v", err)
	}
	env := maps.Clone(cfg.Env)
	env["AWS_SECRET_ACCESS_KEY"] = "another"
	cfg.Env = env
	if b, err = Open("s3://backups", cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := b.List(t.Context()); err == nil {
		t.Error("another secret lists")
	}
	var _ backup.Place = b
}

// What cannot be meant is refused before anything is asked.
func TestPlacesThatCannotBe(t *testing.T) {
	t.Parallel()
	for at, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"s3://":         {Config{Endpoint: "https://s3.example.org"}, "names no bucket"},
		"s3://backups":  {Config{Endpoint: "s3.example.org"}, "no URL of a host"},
		"s3://backups/": {Config{Endpoint: "http://s3.example.org"}, "in the clear"},
		"s3://b":        {Config{Endpoint: "https://s3.example.org", CA: "/nowhere"}, "authority of the store"},
	} {
		if _, err := Open(at, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := Open("s3://backups/x", Config{Endpoint: "http://127.0.0.1:9000", Env: map[string]string{"AWS_ACCESS_KEY_ID": "x"}}); err != nil {
		t.Error(err)
	}
}
