package app

import (
	"errors"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// A text is read once while it is kept, is what its hash says, and those that were
// asked for last are kept.
func TestTextsAreKept(t *testing.T) {
	t.Parallel()
	client, keys, ctx := etcdtest.Start(t).Client(t), etcdkv.NewKeys(""), t.Context()
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	for _, text := range []string{a, b, c} {
		if _, err := client.Put(ctx, keys.Blob(job.ScriptSum(text)), text); err != nil {
			t.Fatal(err)
		}
	}
	x := newTexts(client, keys)
	x.limit = 100
	for _, text := range []string{a, b, a, c} { // b goes
		if got, err := x.Text(ctx, job.ScriptSum(text)); err != nil || got != text {
			t.Errorf("text %.1s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{a, b, c} {
		if _, err := client.Put(ctx, keys.Blob(job.ScriptSum(text)), "another text"); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{a, c} {
		if got, err := x.Text(ctx, job.ScriptSum(text)); err != nil || got != text {
			t.Errorf("kept text %.1s: %q, %v", text, got, err)
		}
	}
	if got, err := x.Text(ctx, job.ScriptSum(b)); err == nil || errors.Is(err, job.ErrNotFound) {
		t.Errorf("a text that is not what its hash says: %q, %v", got, err)
	}
	if _, err := x.Text(ctx, job.ScriptSum("none")); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("no text: %v", err)
	}
}
