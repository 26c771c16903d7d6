package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// A file that a node has exported is compared as a whole: segments of before a restore
// are told, with the records that only the file has.
func TestExportedFileIsComparedAsAWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"at":"2026-11-01T10:00:00Z","by":"ada","action":"job.create","object":"job a","segment":1}
{"segment":1,"sha256":"h1"}
{"at":"2026-11-01T11:00:00Z","by":"ada","action":"job.create","object":"job b","segment":2}
{"segment":2,"sha256":"h2"}
{"at":"2026-11-01T12:00:00Z","by":"eve","action":"token.create","object":"token t","segment":3}
{"segment":3,"sha256":"h3"}
{"segment":1,"restored":"a backup was restored"}
{"at":"2026-11-01T11:00:00Z","by":"ada","action":"job.create","object":"job b","segment":2}
{"segment":2,"sha256":"other2"}
{"at":"2026-11-01T13:00:00Z","acti`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := readExported(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.last().SHA256 != "other2" {
		t.Errorf("the last segment is %v", f.last())
	}
	at := func(h int) time.Time { return time.Date(2026, 11, 1, h, 0, 0, 0, time.UTC) }
	feeds := []api.AuditFeed{
		{Seals: []api.AuditSeal{{Segment: 1, SHA256: "h1"}}, Last: 1, Records: []api.AuditRecord{{At: at(10), By: "ada", Action: "job.create", Object: "job a", Segment: 1}}},
		{Seals: []api.AuditSeal{{Segment: 2, SHA256: "other2"}}, Last: 2, Records: []api.AuditRecord{{At: at(11), By: "ada", Action: "job.create", Object: "job b", Segment: 2}}},
		{Last: 2},
	}
	got, err := f.compare(t.Context(), 1, func(_ context.Context, after int64, _ time.Time) (api.AuditFeed, error) { return feeds[after], nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"segment 2 of " + path + " is another one in the cluster",
		"segment 3 of " + path + " is not in the cluster; only the file has: 2026-11-01T12:00:00Z eve token.create token t",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
